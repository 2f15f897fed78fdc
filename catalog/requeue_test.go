package catalog_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

// lackingJobs returns what the catalog finds to lack a job.
func (r *rig) lackingJobs() (stages, purges []uuid.UUID) {
	r.t.Helper()
	stages, err := r.RecordingsWithoutJob(r.t.Context(), uuid.Nil, 100)
	must(r.t, err)
	purges, err = r.RecordingsWithoutPurge(r.t.Context(), uuid.Nil, 100)
	must(r.t, err)
	return stages, purges
}

// TestRequeueStages takes jobs out of the queue in every way, and wants each back
// once.
func TestRequeueStages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	jobs := func(u recording.Upload) int {
		return r.count(`SELECT count(*) FROM river_job WHERE kind = 'stage' AND args->>'recordingId' = $1
			AND state IN ('available', 'running', 'retryable', 'scheduled')`, u.RecordingID.String())
	}
	with := r.receive(r.alice)
	r.create(r.alice)
	if n, err := r.RequeueStages(ctx); n != 0 || err != nil {
		t.Fatalf("nothing was missing, and %d were requeued: %v", n, err)
	}
	for name, sql := range map[string]string{
		"deleted":          `DELETE FROM river_job WHERE args->>'recordingId' = $1`,
		"discarded":        `UPDATE river_job SET state = 'discarded', finalized_at = now() WHERE args->>'recordingId' = $1`,
		"cancelled":        `UPDATE river_job SET state = 'cancelled', finalized_at = now() WHERE args->>'recordingId' = $1`,
		"of another stage": `UPDATE river_job SET args = args || '{"stage": "probe"}' WHERE args->>'recordingId' = $1`,
	} {
		u := r.receive(r.alice)
		_, err := r.pool.Exec(ctx, sql, u.RecordingID.String())
		must(t, err)
		if stages, _ := r.lackingJobs(); len(stages) != 1 || stages[0] != u.RecordingID {
			t.Errorf("%s: missing are %v", name, stages)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := r.RequeueStages(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := r.count(`SELECT count(*) FROM river_job WHERE args = jsonb_build_object('recordingId', $1::text, 'stage', 'store')
			AND state = 'available' AND max_attempts > 1000`, u.RecordingID.String()); n != 1 {
			t.Errorf("%s: there are %d jobs for the stage", name, n)
		}
	}
	if n := jobs(with); n != 1 {
		t.Errorf("the recording that had its job has %d", n)
	}
	// At another stage, and where there is nothing to do.
	must(t, r.CompleteStage(ctx, with.RecordingID, recording.StageStore, recording.StageResult{Next: recording.StageVerify}))
	_, err := r.pool.Exec(ctx, `DELETE FROM river_job WHERE args->>'recordingId' = $1`, with.RecordingID.String())
	must(t, err)
	if done, err := r.RequeueStage(ctx, with.RecordingID); !done || err != nil {
		t.Errorf("requeue = %v, %v", done, err)
	}
	must(t, r.CompleteStage(ctx, with.RecordingID, recording.StageVerify, recording.StageResult{}))
	for _, id := range []uuid.UUID{with.RecordingID, recording.NewID()} {
		if done, err := r.RequeueStage(ctx, id); done || err != nil {
			t.Errorf("requeue with nothing to do = %v, %v", done, err)
		}
	}
}

func TestRequeuePurges(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	deleted, refused, failed, purged, lost := r.receive(r.alice), r.create(r.alice), r.create(r.alice), r.create(r.alice), r.receive(r.alice)
	r.receive(r.alice)
	must(t, r.DeleteRecording(ctx, r.alice, deleted.RecordingID))
	must(t, r.RefuseUpload(ctx, refused.ID, 0, recording.ReasonNotAudio, "no"))
	must(t, r.FailUpload(ctx, failed.ID, 0, recording.ReasonStorage, "lost"))
	must(t, r.TerminateUpload(ctx, r.alice, purged.ID))
	must(t, r.MarkPurged(ctx, recording.PurgeJob{RecordingID: purged.RecordingID}))
	must(t, r.FailRecording(ctx, lost.RecordingID, recording.StageStore, recording.ReasonStorage, "lost")) // its owner's to delete
	if n, err := r.RequeuePurges(ctx); n != 0 || err != nil {
		t.Fatalf("nothing was missing, and %d were requeued: %v", n, err)
	}
	_, err := r.pool.Exec(ctx, `DELETE FROM river_job WHERE kind = 'purge'`)
	must(t, err)
	if _, purges := r.lackingJobs(); len(purges) != 3 {
		t.Errorf("missing are %v", purges)
	}
	if n, err := r.RequeuePurges(ctx); n != 3 || err != nil {
		t.Errorf("%d were requeued: %v", n, err)
	}
	if n, err := r.RequeuePurges(ctx); n != 0 || err != nil {
		t.Errorf("%d were requeued again: %v", n, err)
	}
	if n := r.count(`SELECT count(*) FROM river_job WHERE kind = 'purge' AND args->>'recordingId' = $1 AND state = 'scheduled' AND scheduled_at = $2`,
		deleted.RecordingID.String(), r.clock.Add(24*time.Hour)); n != 1 {
		t.Error("the purge of the deleted recording is not due after the retention")
	}

	// A partial upload has its bytes in the ledger, perhaps.
	length := int64(10)
	partial, _, err := r.CreateUpload(ctx, recording.NewUpload{
		UploadID: recording.NewID(), OwnerID: r.alice, Partial: true, Length: &length, Metadata: map[string]string{}, ExpiresAt: r.clock.Add(time.Hour),
	})
	must(t, err)
	partial, _, err = r.AcquireUpload(ctx, partial.ID, recording.Claim{Write: true})
	must(t, err)
	must(t, r.CommitChunk(ctx, recording.Chunk{
		UploadID: partial.ID, Epoch: partial.Epoch, To: 4, Parts: []recording.Part{{Number: 1, Size: 4, Ref: "inline-1", Inline: []byte("RIFF")}},
		ExpiresAt: r.clock.Add(time.Hour),
	}))
	must(t, r.TerminateUpload(ctx, r.alice, partial.ID))
	_, err = r.pool.Exec(ctx, `DELETE FROM river_job WHERE args->>'uploadId' = $1`, partial.ID.String())
	must(t, err)
	for _, want := range []int{1, 0} {
		if n, err := r.RequeuePurges(ctx); n != want || err != nil {
			t.Errorf("%d purges of partial uploads were requeued, want %d: %v", n, want, err)
		}
	}
}
