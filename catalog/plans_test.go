package catalog_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
	said := r.tell(r.alice, told{title: "Tale", language: "en", said: "once upon a time"})
	story := recording.NewID()
	shown, hidden := r.ready(r.alice, story), r.ready(r.alice, story)
	for _, id := range []uuid.UUID{shown, hidden} {
		r.analyse(id, about("Anna", "Bert"))
	}
	must(t, r.DeleteRecording(ctx, r.alice, hidden))
	anna, bert := r.entity(r.alice, "anna"), r.entity(r.alice, "bert")
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
		"transcript":  func() error { _, err := c.Transcript(ctx, r.alice, said); return err },
		"analysis":    func() error { _, err := c.Analysis(ctx, r.alice, said); return err },
		"corrections": func() error { _, err := c.Corrections(ctx, r.alice, said); return err },
		"correct": func() error {
			_, err := c.CorrectTranscript(ctx, r.alice, said, recording.CorrectionChange{StartMs: 0, EndMs: 400, Text: new(string), Version: 1})
			return err
		},
		"retitle": func() error {
			title := "Story"
			_, err := c.PatchRecording(ctx, r.alice, said, recording.RecordingPatch{Title: &title})
			return err
		},
		"search": func() error {
			_, err := c.Search(ctx, r.alice, recording.Search{Query: `tael "once upon" st`, Limit: 10, Topic: "none", From: &r.clock})
			return err
		},
		"search merged": func() error {
			_, err := c.Search(ctx, r.alice, recording.Search{Query: "test", Limit: 10, Entity: "Anna"})
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
		"purge shown": func() error { return c.MarkPurged(ctx, recording.PurgeJob{RecordingID: hidden}) },
		"analyse again": func() error {
			return (&rig{Catalog: c, pool: pool}).tryAnalyse(ctx, shown, about("Anna", "Bert"))
		},
		"entity": func() error { _, err := c.Entity(ctx, r.alice, anna); return err },
		"merge":  func() error { _, err := c.MergeEntities(ctx, r.alice, anna, bert); return err },
		"rename": func() error { _, err := c.RenameEntity(ctx, r.alice, anna, "Ann"); return err },
		"split":  func() error { _, err := c.SplitEntity(ctx, r.alice, anna, bert); return err },
		"drain": func() error {
			_, err := c.DrainGraph(ctx, 5, func(_ context.Context, rows []recording.GraphRow) ([]recording.GraphRefusal, error) {
				return []recording.GraphRefusal{{Ref: rows[0].GraphRef}}, nil
			})
			return err
		},
		"users of graph":      func() error { _, err := c.GraphRows(ctx, recording.GraphUser, uuid.Nil, 2); return err },
		"stories of graph":    func() error { _, err := c.GraphRows(ctx, recording.GraphStory, uuid.Nil, 2); return err },
		"entities of graph":   func() error { _, err := c.GraphRows(ctx, recording.GraphEntity, uuid.Nil, 2); return err },
		"recordings of graph": func() error { _, err := c.GraphRows(ctx, recording.GraphRecording, uuid.Nil, 2); return err },
		"rows of graph": func() error {
			_, err := c.GraphRowsOf(ctx, []recording.GraphRef{{Kind: recording.GraphUser, ID: r.alice}, {Kind: recording.GraphRecording, ID: shown}, {Kind: recording.GraphEntity, ID: anna}})
			return err
		},
		"graph backlog":       func() error { _, err := c.GraphBacklog(ctx); return err },
		"watermark":           func() error { _, err := c.GraphWatermark(ctx); return err },
		"stories":             func() error { _, err := c.Stories(ctx, r.alice, page); return err },
		"story":               func() error { _, err := c.Story(ctx, r.alice, story); return err },
		"recordings of story": func() error { _, err := c.StoryRecordings(ctx, r.alice, story, page); return err },
		"change story":        func() error { _, err := c.PatchStory(ctx, r.alice, story, "Story"); return err },
		"put into story": func() error {
			_, err := c.PatchRecording(ctx, r.alice, said, recording.RecordingPatch{StoryID: &story})
			return err
		},
		"delete story": func() error { return c.DeleteStory(ctx, r.alice, story) },
		"mark purged":  func() error { return c.MarkPurged(ctx, recording.PurgeJob{RecordingID: done.RecordingID}) },
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

// TestSearchPlan: whether a document matches is seen in the index, with the owner, the
// shelf and the tags, and no document is read for it.
func TestSearchPlan(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.tell(r.alice, told{title: "Tale", language: "en", said: "once upon a time"})
	config := r.pool.Config().Copy()
	config.MaxConns = 1
	var plans []string
	config.ConnConfig.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { plans = append(plans, n.Message) }
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET client_min_messages = log`, pgx.QueryExecModeSimpleProtocol)
		return err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(pool.Close)
	c, err := catalog.New(catalog.Options{Pool: pool})
	must(t, err)
	for range 7 { // after some the server plans for any arguments
		plans = nil
		_, err := c.Search(t.Context(), r.alice, recording.Search{Query: `time "once upon"`, Limit: 10, Topic: "none"})
		must(t, err)
		all := strings.Join(plans, "\n")
		i := strings.Index(all, "Bitmap Index Scan on search_documents_words")
		if i < 0 || strings.Contains(all, "Seq Scan") {
			t.Fatalf("plans:\n%s", all)
		}
		cond, _, _ := strings.Cut(all[i:], ")))")
		for _, column := range []string{"owner_id =", "shelf =", "tags @>", "words @@"} {
			if !strings.Contains(cond, column) {
				t.Fatalf("the index is not asked for %s:\n%s", column, all[i:])
			}
		}
	}
}
