package catalog_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"reprise/catalog"
	"reprise/recording"
)

// TestEveryQueryHasAnIndex runs what is asked often, or of every row, where the
// database reads a whole table only if it has no other way.
func TestEveryQueryHasAnIndex(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	done, open := r.receive(r.alice), r.create(r.alice)
	one, other := r.partial(r.alice, true), r.partial(r.alice, true)
	final, _, err := r.join(ctx, r.alice, other)
	must(t, err)
	cfg := r.pool.Config().Copy()
	cfg.ConnConfig.RuntimeParams["enable_seqscan"] = "off"
	cfg.MaxConns = 1 // its statistics are those of all; and no method needs a second connection while it has one
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	must(t, err)
	t.Cleanup(pool.Close)
	c, err := catalog.New(catalog.Options{Pool: pool})
	must(t, err)

	scans := func() []string {
		_, err := pool.Exec(ctx, `SELECT pg_stat_force_next_flush()`)
		must(t, err)
		rows, err := pool.Query(ctx, `SELECT relname || ' ' || seq_scan FROM pg_stat_user_tables ORDER BY 1`)
		must(t, err)
		list, err := pgx.CollectRows(rows, pgx.RowTo[string])
		must(t, err)
		return list
	}
	page := recording.Page{Limit: 10, Before: recording.NewID()}
	for name, run := range map[string]func() error{
		"recordings":    func() error { _, err := c.Recordings(ctx, r.alice, page); return err },
		"recording":     func() error { _, err := c.Recording(ctx, r.alice, done.RecordingID); return err },
		"uploads":       func() error { _, err := c.ResumableUploads(ctx, r.alice, page); return err },
		"upload":        func() error { _, err := c.FindUpload(ctx, r.alice, open.ID); return err },
		"client id":     func() error { _, err := c.FindUploadByClientID(ctx, r.alice, "none"); return err },
		"acquire":       func() error { _, _, err := c.AcquireUpload(ctx, open.ID, recording.Claim{}); return err },
		"events":        func() error { _, err := c.EventsSince(ctx, r.alice, nil, 0, 10); return err },
		"events of one": func() error { _, err := c.EventsSince(ctx, r.alice, []uuid.UUID{done.RecordingID}, 0, 10); return err },
		"work":          func() error { _, err := c.Work(ctx, done.RecordingID); return err },
		"holdings": func() error {
			_, err := c.Holdings(ctx, []recording.StoredEntry{
				{Kind: recording.StoredObject, Key: done.ObjectKey}, {Kind: recording.StoredParts, UploadID: done.ID},
				{Kind: recording.StoredMultipart, Key: done.ObjectKey, MultipartID: "m"},
				{Kind: recording.StoredObject, Key: one.ObjectKey}, {Kind: recording.StoredParts, UploadID: other.ID},
			}, time.Now())
			return err
		},
		"requeue": func() error { _, err := c.RequeueStages(ctx); return err },
		"fail": func() error {
			return c.FailRecording(ctx, recording.NewID(), recording.StageStore, recording.ReasonStorage, "lost")
		},
		"lose":       func() error { _, err := c.LoseOriginal(ctx, recording.NewID(), "lost"); return err },
		"expire":     func() error { _, err := c.ExpireUploads(ctx, r.clock); return err },
		"rescue":     func() error { _, err := c.RescueJobs(ctx); return err },
		"running":    func() error { _, err := c.RunningJobs(ctx, "reprise-dead"); return err },
		"count jobs": func() error { _, err := c.JobCounts(ctx); return err },
		"complete stage": func() error {
			return c.CompleteStage(ctx, done.RecordingID, recording.StageStore, recording.StageResult{Next: recording.StageVerify})
		},
		"work of joined": func() error { _, err := c.Work(ctx, final.RecordingID); return err },
		"join":           func() error { _, _, err := (&rig{Catalog: c, clock: r.clock}).join(ctx, r.alice, one); return err },
		"store joined": func() error {
			return c.CompleteStage(ctx, final.RecordingID, recording.StageStore, recording.StageResult{Next: recording.StageVerify})
		},
		"purgeable partial": func() error { _, err := c.Purgeable(ctx, recording.PurgeJob{UploadID: one.ID}); return err },
		"delete":            func() error { return c.DeleteRecording(ctx, r.alice, done.RecordingID) },
		"purgeable": func() error {
			_, err := c.Purgeable(ctx, recording.PurgeJob{RecordingID: done.RecordingID})
			return err
		},
		"mark purged": func() error { return c.MarkPurged(ctx, recording.PurgeJob{RecordingID: done.RecordingID}) },
	} {
		before := scans()
		if err := run(); recording.CodeOf(err) != recording.CodeNotFound { // they come in any order, deletion too
			must(t, err)
		}
		if diff := cmp.Diff(before, scans()); diff != "" {
			t.Errorf("%s reads a whole table:\n%s", name, diff)
		}
	}
}
