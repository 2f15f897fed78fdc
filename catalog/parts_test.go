package catalog_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reprise/recording"
)

// TestObjectStorageColumns shows what a commit writes for an upload in object
// storage, and that a commit that is too late writes none of it.
func TestObjectStorageColumns(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	u := r.create(r.alice)
	acquire := func(offset int64) recording.Upload {
		t.Helper()
		got, ok, err := r.AcquireUpload(ctx, u.ID, recording.Claim{Write: true, Offset: offset})
		must(t, err)
		if !ok {
			t.Fatal("not acquired")
		}
		return got
	}
	commit := func(ch recording.Chunk) error {
		ch.UploadID, ch.ExpiresAt = u.ID, r.clock.Add(time.Hour)
		return r.CommitChunk(ctx, ch)
	}

	// Two tails of bytes in the ledger itself.
	stale := acquire(0)
	must(t, commit(recording.Chunk{Epoch: stale.Epoch, To: 4, CloseWrite: true, Parts: []recording.Part{
		{Number: 1, Size: 3, Ref: "inline-1", Inline: []byte("abc")},
		{Number: 2, Size: 1, Ref: "inline-1", Inline: []byte("d")},
	}}))
	inline, err := r.InlineParts(ctx, u.ID, []int{2, 1})
	must(t, err)
	if diff := cmp.Diff([][]byte{[]byte("abc"), []byte("d")}, inline); diff != "" {
		t.Error(diff)
	}

	// They are folded into a part, by a writer that has used one number and goes on.
	writer := acquire(4)
	if writer.PartNumber != 0 {
		t.Errorf("after a clean end without parts, numbers up to %d are taken", writer.PartNumber)
	}
	folded := recording.Part{Number: 3, Size: 6, Ref: "part-1"}
	chunk := recording.Chunk{
		Epoch: writer.Epoch, From: 4, To: 6, Parts: []recording.Part{folded}, Dropped: []int{1, 2},
		MultipartID: "mpu", PartNumber: 1 + recording.PartWindow, Segmented: true,
	}
	late := chunk
	late.Epoch, late.MultipartID = stale.Epoch, "another"
	if err := commit(late); recording.CodeOf(err) != recording.CodeTakenOver {
		t.Errorf("the stale commit gave %v", err)
	}
	must(t, commit(chunk))
	if _, err := r.InlineParts(ctx, u.ID, []int{1}); recording.CodeOf(err) != recording.CodeNotFound {
		t.Errorf("a dropped part gave %v", err)
	}

	// Its end was not clean: every number it may have used is taken.
	next := acquire(6)
	want := recording.Upload{MultipartID: "mpu", PartNumber: 1 + recording.PartWindow, Segmented: true, WriterOpen: true, Parts: []recording.Part{folded}}
	got := recording.Upload{MultipartID: next.MultipartID, PartNumber: next.PartNumber, Segmented: next.Segmented, WriterOpen: next.WriterOpen, Parts: next.Parts}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the next writer gets (-want +got):\n%s", diff)
	}
	after, err := r.FindUpload(ctx, r.alice, u.ID)
	must(t, err)
	if want := 1 + 2*recording.PartWindow; after.PartNumber != want {
		t.Errorf("numbers up to %d are taken, want %d", after.PartNumber, want)
	}
	must(t, commit(recording.Chunk{Epoch: next.Epoch, From: 6, To: 10, ObjectKey: "recordings/x/original-3", Receipt: r.receipt(u), CloseWrite: true,
		Parts: []recording.Part{{Number: 4, Size: 4, Ref: "object"}}}))
	rec, err := r.Recording(ctx, r.alice, u.RecordingID)
	must(t, err)
	if rec.ObjectKey != "recordings/x/original-3" {
		t.Errorf("the recording's object is %s", rec.ObjectKey)
	}
}

// TestFailUpload ends an upload whose bytes are lost.
func TestFailUpload(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	u := r.create(r.alice)
	w, _, err := r.AcquireUpload(ctx, u.ID, recording.Claim{Write: true})
	must(t, err)
	if err := r.FailUpload(ctx, u.ID, w.Epoch-1, recording.ReasonStorage, "lost"); recording.CodeOf(err) != recording.CodeTakenOver {
		t.Errorf("a stale writer's verdict gave %v", err)
	}
	must(t, r.FailUpload(ctx, u.ID, w.Epoch, recording.ReasonStorage, "lost"))
	got, err := r.FindUpload(ctx, r.alice, u.ID)
	must(t, err)
	rec, err := r.Recording(ctx, r.alice, u.RecordingID)
	must(t, err)
	if got.State != recording.UploadFailed || rec.State != recording.StateFailed || rec.Reason != recording.ReasonStorage {
		t.Errorf("upload %s, recording %s: %s", got.State, rec.State, rec.Reason)
	}
	if n := r.count(`SELECT count(*) FROM river_job WHERE kind = 'purge'`); n != 1 {
		t.Errorf("%d purge jobs", n)
	}
	if p, err := r.Purgeable(ctx, recording.PurgeJob{RecordingID: u.RecordingID}); err != nil || !p.DiscardParts || len(p.Keys) != 0 {
		t.Errorf("purgeable: %+v, %v", p, err)
	}
}
