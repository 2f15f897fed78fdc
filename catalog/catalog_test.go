package catalog_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"reprise/catalog"
	"reprise/internal/pgtest"
	"reprise/recording"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rig is a catalog on a database of its own, with a clock that stands still.
type rig struct {
	*catalog.Catalog
	t     *testing.T
	pool  *pgxpool.Pool
	alice uuid.UUID
	clock time.Time
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, pool: pgtest.New(t), clock: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	var err error
	r.Catalog, err = catalog.New(catalog.Options{
		Pool: r.pool, Now: func() time.Time { return r.clock }, DeletedRetention: 24 * time.Hour,
	})
	must(t, err)
	r.alice, err = r.EnsureUser(t.Context(), "dev:alice")
	must(t, err)
	return r
}

// create makes an upload of ten bytes.
func (r *rig) create(owner uuid.UUID) recording.Upload {
	r.t.Helper()
	length := int64(10)
	id := recording.NewID()
	u, created, err := r.CreateUpload(r.t.Context(), recording.NewUpload{
		UploadID: recording.NewID(), RecordingID: id, OwnerID: owner, Length: &length,
		ObjectKey: "recordings/" + id.String() + "/original", Metadata: map[string]string{"title": "Test"},
		ExpiresAt: r.clock.Add(time.Hour), Recording: recording.Recording{Title: "Test"},
	})
	must(r.t, err)
	if !created {
		r.t.Fatal("not created")
	}
	return u
}

func (r *rig) receipt(u recording.Upload) *recording.Receipt {
	return &recording.Receipt{
		SizeBytes: 10, SHA256: make([]byte, 32),
		Job:   recording.StageJob{RecordingID: u.RecordingID, Stage: recording.StageStore},
		Event: recording.NewEvent(u.OwnerID, u.RecordingID, recording.EventUploadReceived, r.clock, nil),
	}
}

// receive makes an upload and sends its ten bytes.
func (r *rig) receive(owner uuid.UUID) recording.Upload {
	r.t.Helper()
	u := r.create(owner)
	u, ok, err := r.AcquireUpload(r.t.Context(), u.ID, recording.Claim{Write: true})
	must(r.t, err)
	if !ok {
		r.t.Fatal("not acquired")
	}
	must(r.t, r.CommitChunk(r.t.Context(), recording.Chunk{
		UploadID: u.ID, Epoch: u.Epoch, From: 0, To: 10, Parts: []recording.Part{{Number: 1, Size: 10, Ref: "1-1"}},
		CloseWrite: true, ExpiresAt: r.clock.Add(time.Hour), Receipt: r.receipt(u),
	}))
	return u
}

func (r *rig) count(sql string, args ...any) int {
	r.t.Helper()
	var n int
	must(r.t, r.pool.QueryRow(r.t.Context(), sql, args...).Scan(&n))
	return n
}

func TestMigrateTwiceAtOnce(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	_, err := pool.Exec(t.Context(), `DROP SCHEMA public CASCADE; CREATE SCHEMA public`)
	must(t, err)
	pool.Reset() // prepared statements and types of the old schema
	if err := catalog.CheckMigrated(t.Context(), pool, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("an empty database passes for migrated")
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := catalog.Migrate(t.Context(), pool, slog.New(slog.DiscardHandler)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var log bytes.Buffer
	must(t, catalog.CheckMigrated(t.Context(), pool, slog.New(slog.NewTextHandler(&log, nil))))
	if log.Len() > 0 {
		t.Errorf("an up-to-date database: %s", &log)
	}
	// During an upgrade an older program goes on, and says that it is one.
	_, err = pool.Exec(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`)
	must(t, err)
	must(t, catalog.CheckMigrated(t.Context(), pool, slog.New(slog.NewTextHandler(&log, nil))))
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "databaseVersion=9999") {
		t.Errorf("a newer database: %q", &log)
	}
}

func TestEpochs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	u := r.create(r.alice)

	first, ok, err := r.AcquireUpload(ctx, u.ID, recording.Claim{Write: true})
	must(t, err)
	if !ok || first.WriterOpen {
		t.Errorf("the first writer: acquired %v, WriterOpen %v", ok, first.WriterOpen)
	}
	second, ok, err := r.AcquireUpload(ctx, u.ID, recording.Claim{Write: true})
	must(t, err)
	if !ok || second.Epoch <= first.Epoch || !second.WriterOpen {
		t.Errorf("the second writer: acquired %v, epoch %d after %d, WriterOpen %v", ok, second.Epoch, first.Epoch, second.WriterOpen)
	}
	if _, ok, _ := r.AcquireUpload(ctx, u.ID, recording.Claim{Write: true, Offset: 3}); ok {
		t.Error("a claim at another offset was granted")
	}
	commit := func(epoch, from, to int64) error {
		return r.CommitChunk(ctx, recording.Chunk{
			UploadID: u.ID, Epoch: epoch, From: from, To: to,
			Parts: []recording.Part{{Number: 1, Size: to, Ref: fmt.Sprint(epoch)}}, ExpiresAt: r.clock.Add(time.Hour),
		})
	}
	if err := commit(first.Epoch, 0, 5); recording.CodeOf(err) != recording.CodeTakenOver {
		t.Errorf("a stale commit gave %v", err)
	}
	must(t, commit(second.Epoch, 0, 5))
	if err := commit(second.Epoch, 0, 5); recording.CodeOf(err) != recording.CodeTakenOver {
		t.Errorf("a commit from a former offset gave %v", err)
	}
	got, err := r.FindUpload(ctx, r.alice, u.ID)
	must(t, err)
	if diff := cmp.Diff([]recording.Part{{Number: 1, Size: 5, Ref: fmt.Sprint(second.Epoch)}}, got.Parts); diff != "" || got.Offset != 5 {
		t.Errorf("offset %d, parts %s", got.Offset, diff)
	}
}

// A crash may undo a Fast claim. Whoever has it can't commit then, not even while nobody
// else has come, and the next claim is of another epoch.
func TestForgottenClaim(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	u := r.create(r.alice)
	claim := recording.Claim{Write: true, Fast: true}
	forgotten, _, err := r.AcquireUpload(ctx, u.ID, claim)
	must(t, err)
	_, err = r.pool.Exec(ctx, `UPDATE uploads SET epoch = $2, writer_open = false, writer_epoch = 0, part_number = 0 WHERE id = $1`, u.ID, u.Epoch)
	must(t, err)
	commit := func(epoch int64) error {
		return r.CommitChunk(ctx, recording.Chunk{UploadID: u.ID, Epoch: epoch, To: 5, ExpiresAt: r.clock.Add(time.Hour)})
	}
	if err := commit(forgotten.Epoch); recording.CodeOf(err) != recording.CodeTakenOver {
		t.Errorf("a commit of a forgotten claim: %v", err)
	}
	next, ok, err := r.AcquireUpload(ctx, u.ID, claim)
	must(t, err)
	if !ok || next.Epoch <= forgotten.Epoch {
		t.Errorf("acquired %v, epoch %d after %d", ok, next.Epoch, forgotten.Epoch)
	}
	if err := commit(forgotten.Epoch); recording.CodeOf(err) != recording.CodeTakenOver {
		t.Errorf("a commit of a forgotten claim, after another: %v", err)
	}
	must(t, commit(next.Epoch))
	must(t, r.Settle(ctx))
}

// That a claim needn't wait for the disk is said of its own transaction only.
func TestFastClaimsEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	cfg := r.pool.Config().Copy()
	cfg.MaxConns, cfg.ConnConfig.RuntimeParams["synchronous_commit"] = 1, "on"
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	must(t, err)
	defer pool.Close()
	c, err := catalog.New(catalog.Options{Pool: pool, Now: func() time.Time { return r.clock }})
	must(t, err)
	_, acquired, err := c.AcquireUpload(ctx, r.create(r.alice).ID, recording.Claim{Fast: true})
	must(t, err)
	var commits string
	must(t, pool.QueryRow(ctx, `SHOW synchronous_commit`).Scan(&commits))
	if !acquired || commits != "on" {
		t.Errorf("acquired %v; commits on the same connection are now %s", acquired, commits)
	}
}

func TestOneChain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	u := r.receive(r.alice)
	media := &recording.Media{Codec: "flac", DurationMs: 1234}
	steps := []struct {
		stage recording.Stage
		res   recording.StageResult
	}{
		{recording.StageStore, recording.StageResult{Next: recording.StageVerify}},
		{recording.StageVerify, recording.StageResult{Next: recording.StageProbe}},
		{recording.StageProbe, recording.StageResult{Next: recording.StageTranscode, Media: media}},
		{recording.StageTranscode, recording.StageResult{
			Artifacts: []recording.Artifact{
				{Kind: recording.ArtifactAAC, ObjectKey: "a", ContentType: "audio/mp4", SizeBytes: 1, SHA256: make([]byte, 32)},
				{Kind: recording.ArtifactOpus, ObjectKey: "b", ContentType: "audio/ogg", SizeBytes: 2, SHA256: append(make([]byte, 31), 1)},
			},
			Silences: []recording.Silence{{StartMs: 1, EndMs: 2}},
		}},
	}
	for _, s := range steps {
		for range 2 { // done twice, as after a crash: the second time changes nothing
			must(t, r.CompleteStage(ctx, u.RecordingID, s.stage, s.res))
		}
		// A verdict of a stale worker is too late.
		must(t, r.FailRecording(ctx, u.RecordingID, s.stage, recording.ReasonInternal, "late"))
	}
	rec, err := r.Recording(ctx, r.alice, u.RecordingID)
	must(t, err)
	if rec.State != recording.StateReady || rec.Media.DurationMs != 1234 || len(rec.Silences) != 1 || rec.ReadyAt == nil {
		t.Errorf("recording is %+v", rec)
	}
	if diff := cmp.Diff(steps[3].res.Artifacts, rec.Artifacts); diff != "" {
		t.Error(diff)
	}
	if n := r.count(`SELECT count(*) FROM upload_parts`); n != 0 {
		t.Errorf("%d parts are left behind a verified object", n)
	}
	if n := r.count(`SELECT count(*) FROM river_job WHERE kind = 'stage'`); n != len(steps) {
		t.Errorf("%d jobs for %d stages", n, len(steps))
	}
	var types []string
	events, err := r.EventsSince(ctx, r.alice, nil, 0, 100)
	must(t, err)
	for i, e := range events {
		if e.Seq != int64(i+1) {
			t.Errorf("event %d has number %d", i+1, e.Seq)
		}
		types = append(types, string(e.Type))
	}
	if diff := cmp.Diff([]string{"upload.created", "upload.received", "processing.completed", "processing.completed",
		"processing.completed", "processing.completed", "recording.ready"}, types); diff != "" {
		t.Error(diff)
	}
}

func TestVerdictsAndRetry(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	u := r.receive(r.alice)
	must(t, r.CompleteStage(ctx, u.RecordingID, recording.StageStore, recording.StageResult{Next: recording.StageVerify}))
	if _, err := r.RetryRecording(ctx, r.alice, u.RecordingID); recording.CodeOf(err) != recording.CodeConflict {
		t.Errorf("retrying what has not failed gave %v", err)
	}
	must(t, r.FailRecording(ctx, u.RecordingID, recording.StageVerify, recording.ReasonStorage, "lost"))
	rec, err := r.RetryRecording(ctx, r.alice, u.RecordingID)
	must(t, err)
	if rec.State != recording.StateProcessing || rec.Reason != "" {
		t.Errorf("retried: %s %s", rec.State, rec.Reason)
	}
	must(t, r.RejectRecording(ctx, u.RecordingID, recording.StageVerify, recording.ReasonEmpty, "empty"))
	must(t, r.RejectRecording(ctx, u.RecordingID, recording.StageVerify, recording.ReasonTooLong, "again"))
	rec, err = r.Recording(ctx, r.alice, u.RecordingID)
	must(t, err)
	if rec.State != recording.StateRejected || rec.Reason != recording.ReasonEmpty {
		t.Errorf("rejected: %s %s", rec.State, rec.Reason)
	}
}

// TestEventOrder: many transactions at once; a reader that follows by number
// never sees a number before a smaller one.
func TestEventOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const writers, each = 6, 10
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				r.create(r.alice)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	var cursor int64
	for cursor < writers*each {
		list, err := r.EventsSince(t.Context(), r.alice, nil, cursor, 7)
		must(t, err)
		for _, e := range list {
			if e.Seq != cursor+1 {
				t.Fatalf("number %d after %d", e.Seq, cursor)
			}
			cursor = e.Seq
		}
	}
	<-done
}

func TestRescue(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	living, dead := r.receive(r.alice), r.receive(r.alice)
	last := r.receive(r.alice)
	must(t, r.CompleteStage(ctx, last.RecordingID, recording.StageStore, recording.StageResult{Next: recording.StageVerify}))
	must(t, r.CompleteStage(ctx, last.RecordingID, recording.StageVerify, recording.StageResult{Next: recording.StageProbe}))
	_, err := r.pool.Exec(ctx, `DELETE FROM river_job WHERE args->>'recordingId' = $1 AND args->>'stage' <> 'probe'`, last.RecordingID.String())
	must(t, err)
	run := func(u recording.Upload, worker string, attempt int) {
		_, err := r.pool.Exec(ctx, `UPDATE river_job SET state = 'running', attempt = $3, attempted_at = now(), attempted_by = ARRAY[$2]
			WHERE args->>'recordingId' = $1`, u.RecordingID.String(), worker, attempt)
		must(t, err)
	}
	run(living, "alive", 1)
	probing := r.receive(r.alice) // its worker has died in the third attempt: that gives it another
	must(t, r.CompleteStage(ctx, probing.RecordingID, recording.StageStore, recording.StageResult{Next: recording.StageProbe}))
	_, err = r.pool.Exec(ctx, `DELETE FROM river_job WHERE args->>'recordingId' = $1 AND args->>'stage' <> 'probe'`, probing.RecordingID.String())
	must(t, err)
	run(probing, "dead", catalog.StageAttempts)
	run(dead, "dead", catalog.StageAttempts) // storing is tried for ever
	run(last, "dead", 10)
	release, err := r.HoldWorkerLock(ctx, "alive")
	must(t, err)
	defer release()

	var wg sync.WaitGroup
	for range 3 { // replicas at once
		wg.Go(func() {
			if _, err := r.RescueJobs(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	state := func(u recording.Upload) (s string) {
		must(t, r.pool.QueryRow(ctx, `SELECT state FROM river_job WHERE args->>'recordingId' = $1`, u.RecordingID.String()).Scan(&s))
		return s
	}
	if diff := cmp.Diff([]string{"running", "available", "available", "discarded"}, []string{state(living), state(dead), state(probing), state(last)}); diff != "" {
		t.Error(diff)
	}
	rec, err := r.Recording(ctx, r.alice, last.RecordingID)
	must(t, err)
	if rec.State != recording.StateFailed {
		t.Errorf("the recording of a discarded job is %s", rec.State)
	}
	release()
	n, err := r.RescueJobs(ctx)
	must(t, err)
	if n != 1 || state(living) != "available" {
		t.Errorf("after its worker's end the job is %s, %d rescued", state(living), n)
	}
}

// TestWorkerLockComesBack: the database drops the lock's connection, as on a
// restart; the worker is alive and has its lock again soon.
func TestWorkerLockComesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	release, err := r.HoldWorkerLock(ctx, "phoenix")
	must(t, err)
	defer release()
	held := func() bool {
		return r.count(`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`) > 0
	}
	_, err = r.pool.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
	must(t, err)
	for range 200 {
		if held() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("the lock did not come back within 20 seconds")
}

func TestExpireAndPurge(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	bob, err := r.EnsureUser(ctx, "dev:bob")
	must(t, err)
	stale, other, done := r.create(r.alice), r.create(bob), r.receive(r.alice)
	if _, err := r.Purgeable(ctx, recording.PurgeJob{RecordingID: stale.RecordingID}); recording.CodeOf(err) != recording.CodeNotFound {
		t.Errorf("a living upload is purgeable: %v", err)
	}
	r.clock = r.clock.Add(2 * time.Hour)
	r.create(r.alice)
	n, err := r.ExpireUploads(ctx, r.clock)
	must(t, err)
	if n != 2 {
		t.Errorf("%d expired, want 2", n)
	}
	u, err := r.FindUpload(ctx, bob, other.ID)
	must(t, err)
	if u.State != recording.UploadExpired {
		t.Errorf("upload is %s", u.State)
	}
	p, err := r.Purgeable(ctx, recording.PurgeJob{RecordingID: stale.RecordingID})
	must(t, err)
	if p.Upload.ID != stale.ID || !p.DiscardParts {
		t.Errorf("purgeable: %+v", p)
	}
	must(t, r.MarkPurged(ctx, recording.PurgeJob{RecordingID: stale.RecordingID}))

	must(t, r.DeleteRecording(ctx, r.alice, done.RecordingID))
	if err := r.DeleteRecording(ctx, r.alice, done.RecordingID); recording.CodeOf(err) != recording.CodeNotFound {
		t.Errorf("deleting twice gave %v", err)
	}
	if n := r.count(`SELECT count(*) FROM river_job WHERE kind = 'purge' AND args->>'recordingId' = $1 AND scheduled_at = $2`,
		done.RecordingID.String(), r.clock.Add(24*time.Hour)); n != 1 {
		t.Error("the purge of a deleted recording is not scheduled after the retention period")
	}
	must(t, r.MarkPurged(ctx, recording.PurgeJob{RecordingID: done.RecordingID}))
}

// TestDeletedFreesClientID: after a recording is deleted its file can be uploaded
// again, and the old upload is gone.
func TestDeletedFreesClientID(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	length := int64(10)
	create := func() recording.Upload {
		u, _, err := r.CreateUpload(ctx, recording.NewUpload{
			UploadID: recording.NewID(), RecordingID: recording.NewID(), OwnerID: r.alice, ClientID: "file-1",
			Length: &length, Metadata: map[string]string{}, ExpiresAt: r.clock.Add(time.Hour),
		})
		must(t, err)
		return u
	}
	first := create()
	if again := create(); again.ID != first.ID {
		t.Fatal("the same client id gave another upload")
	}
	u, _, err := r.AcquireUpload(ctx, first.ID, recording.Claim{Write: true})
	must(t, err)
	must(t, r.CommitChunk(ctx, recording.Chunk{UploadID: u.ID, Epoch: u.Epoch, To: 10, ExpiresAt: r.clock.Add(time.Hour), Receipt: r.receipt(u)}))
	must(t, r.DeleteRecording(ctx, r.alice, first.RecordingID))
	if again := create(); again.ID == first.ID {
		t.Error("the client id still names the deleted recording's upload")
	}
	u, err = r.FindUpload(ctx, r.alice, first.ID)
	must(t, err)
	if !u.State.Gone() {
		t.Errorf("the deleted recording's upload is %s", u.State)
	}
}

// TestOwnership: every read and change of somebody else's answers as if it never
// was.
func TestOwnership(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	bob, err := r.EnsureUser(ctx, "dev:bob")
	must(t, err)
	u := r.receive(r.alice)
	title := "mine now"
	for name, call := range map[string]func() error{
		"Recording": func() error { _, err := r.Recording(ctx, bob, u.RecordingID); return err },
		"PatchRecording": func() error {
			_, err := r.PatchRecording(ctx, bob, u.RecordingID, recording.RecordingPatch{Title: &title})
			return err
		},
		"DeleteRecording": func() error { return r.DeleteRecording(ctx, bob, u.RecordingID) },
		"RetryRecording":  func() error { _, err := r.RetryRecording(ctx, bob, u.RecordingID); return err },
		"FindUpload":      func() error { _, err := r.FindUpload(ctx, bob, u.ID); return err },
		"TerminateUpload": func() error { return r.TerminateUpload(ctx, bob, u.ID) },
	} {
		if err := call(); recording.CodeOf(err) != recording.CodeNotFound {
			t.Errorf("%s gave %v", name, err)
		}
	}
	for name, call := range map[string]func() (int, error){
		"Recordings": func() (int, error) { l, err := r.Recordings(ctx, bob, recording.Page{Limit: 9}); return len(l), err },
		"ResumableUploads": func() (int, error) {
			l, err := r.ResumableUploads(ctx, bob, recording.Page{Limit: 9})
			return len(l), err
		},
		"EventsSince": func() (int, error) {
			l, err := r.EventsSince(ctx, bob, []uuid.UUID{u.RecordingID}, 0, 9)
			return len(l), err
		},
	} {
		if n, err := call(); n != 0 || err != nil {
			t.Errorf("%s gave %d, %v", name, n, err)
		}
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var want []uuid.UUID
	for range 5 {
		want = append([]uuid.UUID{r.create(r.alice).RecordingID}, want...)
	}
	var got []uuid.UUID
	for page := (recording.Page{Limit: 2}); ; {
		list, err := r.Recordings(t.Context(), r.alice, page)
		must(t, err)
		if len(list) == 0 {
			break
		}
		for _, rec := range list {
			got = append(got, rec.ID)
		}
		r.create(r.alice) // something new does not shift the pages
		page.Before = got[len(got)-1]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTickets(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	ticket, _, err := r.IssueTicket(ctx, r.alice, r.clock)
	must(t, err)
	got, err := r.RedeemTicket(ctx, ticket)
	must(t, err)
	if got.UserID != r.alice || got.Subject != "dev:alice" || !got.AuthTime.Equal(r.clock) {
		t.Errorf("the ticket is %v's", got)
	}
	if _, err := r.RedeemTicket(ctx, ticket); recording.CodeOf(err) != recording.CodeUnauthenticated {
		t.Errorf("redeemed twice: %v", err)
	}
	ticket, expires, err := r.IssueTicket(ctx, r.alice, time.Time{})
	must(t, err)
	r.clock = expires.Add(time.Second)
	if _, err := r.RedeemTicket(ctx, ticket); recording.CodeOf(err) != recording.CodeUnauthenticated {
		t.Errorf("redeemed after its time: %v", err)
	}
}

func TestRelay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	started, got, ended := make(chan struct{}), make(chan string, 10), make(chan error)
	go func() { ended <- r.Listen(ctx, func() { close(started) }, func(p string) { got <- p }) }()
	<-started
	must(t, r.Notify(ctx, "hello"))
	if p := <-got; p != "hello" {
		t.Errorf("got %q", p)
	}
	r.create(r.alice)
	if want := fmt.Sprintf(`{"owner":"%s","seq":1}`, r.alice); <-got != want {
		t.Errorf("a milestone did not send %s", want)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("Listen ended without an error")
	}
}

func TestUserRace(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ids := make(chan uuid.UUID)
	for range 8 {
		go func() {
			id, err := r.EnsureUser(t.Context(), "dev:twin")
			if err != nil {
				t.Error(err)
			}
			ids <- id
		}()
	}
	first := <-ids
	for range 7 {
		if id := <-ids; id != first {
			t.Errorf("ids %s and %s", first, id)
		}
	}
}

func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, err := r.pool.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	must(t, err)
	cfg := r.pool.Config().Copy()
	cfg.ConnConfig.Host = t.TempDir() // no server there
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	must(t, err)
	defer pool.Close()
	c, err := catalog.New(catalog.Options{Pool: pool})
	must(t, err)
	if _, err := c.Recordings(t.Context(), r.alice, recording.Page{Limit: 1}); recording.CodeOf(err) != recording.CodeUnavailable {
		t.Errorf("got %v", err)
	}
}
