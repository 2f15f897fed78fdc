package catalog_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"reprise/recording"
)

// state returns what a recording and its upload are, as "recording/upload".
func (r *rig) states(u recording.Upload) string {
	r.t.Helper()
	w, err := r.Work(r.t.Context(), u.RecordingID)
	must(r.t, err)
	return string(w.Recording.State) + "/" + string(w.Upload.State)
}

// TestLostBytes: where bytes are lost, nobody is told any more that the upload is
// complete, and it can be repeated or restored.
func TestLostBytes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	atStore, atVerify, internal := r.receive(r.alice), r.receive(r.alice), r.receive(r.alice)
	must(t, r.CompleteStage(ctx, atVerify.RecordingID, recording.StageStore, recording.StageResult{Next: recording.StageVerify}))
	must(t, r.FailRecording(ctx, atStore.RecordingID, recording.StageStore, recording.ReasonStorage, "lost"))
	must(t, r.FailRecording(ctx, atVerify.RecordingID, recording.StageStore, recording.ReasonStorage, "too late"))
	if got := r.states(atVerify); got != "processing/stored" {
		t.Errorf("after the failure of a stage that is done: %s", got)
	}
	must(t, r.FailRecording(ctx, atVerify.RecordingID, recording.StageVerify, recording.ReasonStorage, "lost"))
	must(t, r.FailRecording(ctx, internal.RecordingID, recording.StageStore, recording.ReasonInternal, "oops"))
	got := []string{r.states(atStore), r.states(atVerify), r.states(internal)}
	if diff := cmp.Diff([]string{"failed/failed", "failed/failed", "failed/received"}, got); diff != "" {
		t.Error(diff)
	}
	for _, u := range []recording.Upload{atStore, atVerify, internal} {
		_, err := r.RetryRecording(ctx, r.alice, u.RecordingID)
		must(t, err)
	}
	got = []string{r.states(atStore), r.states(atVerify), r.states(internal)}
	if diff := cmp.Diff([]string{"processing/received", "processing/stored", "processing/received"}, got); diff != "" {
		t.Errorf("tried again: %s", diff)
	}

	// One whose last byte never came has nothing to go on with.
	early := r.create(r.alice)
	must(t, r.FailUpload(ctx, early.ID, 0, recording.ReasonStorage, "lost"))
	if _, err := r.RetryRecording(ctx, r.alice, early.RecordingID); recording.CodeOf(err) != recording.CodeConflict {
		t.Errorf("retrying an incomplete upload gave %v", err)
	}
	// Nor one that was uploaded again meanwhile.
	first := r.receive(r.alice)
	named := func(u recording.Upload) error {
		_, err := r.pool.Exec(ctx, `UPDATE uploads SET client_id = 'phone-1' WHERE id = $1`, u.ID)
		return err
	}
	must(t, named(first))
	must(t, r.FailRecording(ctx, first.RecordingID, recording.StageStore, recording.ReasonStorage, "lost"))
	must(t, named(r.receive(r.alice)))
	if _, err := r.RetryRecording(ctx, r.alice, first.RecordingID); recording.CodeOf(err) != recording.CodeConflict {
		t.Errorf("retrying what was uploaded again gave %v", err)
	}
}

func TestLoseOriginal(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	open, received, ready, deleted := r.create(r.alice), r.receive(r.alice), r.receive(r.alice), r.receive(r.alice)
	must(t, r.CompleteStage(ctx, ready.RecordingID, recording.StageStore, recording.StageResult{}))
	must(t, r.DeleteRecording(ctx, r.alice, deleted.RecordingID))
	for _, tt := range []struct {
		u       recording.Upload
		changed bool
		want    string
	}{
		{open, false, "uploading/receiving"},
		{received, true, "failed/failed"},
		{received, false, "failed/failed"},
		{ready, true, "ready/failed"},
		{deleted, false, "deleted/terminated"},
	} {
		changed, err := r.LoseOriginal(ctx, tt.u.RecordingID, "lost")
		if err != nil || changed != tt.changed || r.states(tt.u) != tt.want {
			t.Errorf("changed %v, %v, and now %s; want %v and %s", changed, err, r.states(tt.u), tt.changed, tt.want)
		}
	}
	if n := r.count(`SELECT count(*) FROM events WHERE type = 'recording.failed'`); n != 1 {
		t.Errorf("%d milestones of failures", n)
	}
}
