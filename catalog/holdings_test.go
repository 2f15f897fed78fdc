package catalog_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/recording"
)

// TestHoldings follows what is in storage through the lives of uploads.
func TestHoldings(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	since := time.Now().Add(time.Hour) // nothing changes any more
	const kept, orphan, unknown = recording.HoldingKept, recording.HoldingOrphan, recording.HoldingUnknown
	check := func(what string, u recording.Upload, want map[string]recording.Holding) {
		t.Helper()
		folder := "recordings/" + u.RecordingID.String()
		entries := map[string]recording.StoredEntry{
			"original":        {Kind: recording.StoredObject, Key: u.ObjectKey},
			"stray":           {Kind: recording.StoredObject, Key: folder + "/aac-x.m4a"},
			"artifact":        {Kind: recording.StoredObject, Key: folder + "/aac.m4a"},
			"parts":           {Kind: recording.StoredParts, UploadID: u.ID},
			"multipart":       {Kind: recording.StoredMultipart, Key: u.ObjectKey, MultipartID: "m-" + u.ID.String()},
			"other multipart": {Kind: recording.StoredMultipart, Key: u.ObjectKey, MultipartID: "other"},
		}
		names, list := []string{}, []recording.StoredEntry{}
		for name, e := range entries {
			names, list = append(names, name), append(list, e)
		}
		got, err := r.Holdings(ctx, list, since)
		must(t, err)
		all := map[string]recording.Holding{}
		for i, name := range names {
			all[name] = got[i]
		}
		if diff := cmp.Diff(want, all); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	every := func(h recording.Holding) map[string]recording.Holding {
		return map[string]recording.Holding{"original": h, "stray": h, "artifact": h, "parts": h, "multipart": h, "other multipart": h}
	}
	except := func(h recording.Holding, others map[string]recording.Holding) map[string]recording.Holding {
		m := every(h)
		for name, other := range others {
			m[name] = other
		}
		return m
	}
	withMultipart := func(u recording.Upload) recording.Upload {
		_, err := r.pool.Exec(ctx, `UPDATE uploads SET multipart_id = 'm-' || id WHERE id = $1`, u.ID)
		must(t, err)
		return u
	}
	type holdings = map[string]recording.Holding

	// Its writer may have begun a multipart upload or put the object, and be about to
	// say so.
	open := r.create(r.alice)
	check("begun", open, every(kept))
	check("with a multipart upload", withMultipart(open), except(kept, holdings{"other multipart": orphan}))
	must(t, r.TerminateUpload(ctx, r.alice, open.ID))
	toPurge := holdings{"stray": orphan, "artifact": orphan, "other multipart": orphan}
	check("terminated", open, except(kept, toPurge))
	must(t, r.MarkPurged(ctx, recording.PurgeJob{RecordingID: open.RecordingID}))
	check("terminated and purged", open, every(orphan))

	done := withMultipart(r.receive(r.alice))
	check("received", done, except(kept, holdings{"other multipart": orphan}))
	must(t, r.CompleteStage(ctx, done.RecordingID, recording.StageStore, recording.StageResult{Next: recording.StageVerify}))
	check("not verified yet", done, except(kept, holdings{"other multipart": orphan}))
	must(t, r.CompleteStage(ctx, done.RecordingID, recording.StageVerify, recording.StageResult{Artifacts: []recording.Artifact{{
		Kind: recording.ArtifactAAC, ObjectKey: "recordings/" + done.RecordingID.String() + "/aac.m4a", SHA256: make([]byte, 32),
	}}}))
	check("ready", done, except(orphan, holdings{"original": kept, "artifact": kept}))
	must(t, r.DeleteRecording(ctx, r.alice, done.RecordingID))
	check("deleted", done, except(kept, holdings{"stray": orphan, "other multipart": orphan}))
	must(t, r.MarkPurged(ctx, recording.PurgeJob{RecordingID: done.RecordingID}))
	check("purged", done, every(orphan))

	lost := withMultipart(r.receive(r.alice))
	must(t, r.FailRecording(ctx, lost.RecordingID, recording.StageStore, recording.ReasonStorage, "lost"))
	check("lost at the store", lost, holdings{
		"original": kept, "parts": kept, "multipart": kept, "stray": orphan, "artifact": orphan, "other multipart": orphan,
	})
	failed := r.create(r.alice)
	must(t, r.FailUpload(ctx, failed.ID, 0, recording.ReasonStorage, "lost"))
	check("failed before its end", failed, except(kept, holdings{"stray": orphan, "artifact": orphan}))
	must(t, r.MarkPurged(ctx, recording.PurgeJob{RecordingID: failed.RecordingID}))
	check("failed and purged", failed, every(orphan))
	since = time.Now().Add(-time.Hour)
	check("failed and purged just now", failed, every(kept))

	check("never heard of", recording.Upload{ID: recording.NewID(), RecordingID: recording.NewID()}, every(unknown))
	got, err := r.Holdings(ctx, []recording.StoredEntry{
		{Kind: recording.StoredObject, Key: "x"}, {Kind: recording.StoredTemp, Key: "tmp/x"},
		{Kind: recording.StoredObject, Key: "recordings/x/y"}, {Kind: recording.StoredParts, UploadID: uuid.Nil},
	}, since)
	must(t, err)
	if diff := cmp.Diff([]recording.Holding{unknown, orphan, unknown, unknown}, got); diff != "" {
		t.Error(diff)
	}
}

// TestHoldingsOfPartials follows what a concatenation leaves in storage.
func TestHoldingsOfPartials(t *testing.T) {
	t.Parallel()
	since := time.Now().Add(time.Hour)
	r := newRig(t)
	ctx := t.Context()
	partial := func() recording.Upload {
		length := int64(10)
		id := recording.NewID()
		u, _, err := r.CreateUpload(ctx, recording.NewUpload{
			UploadID: id, OwnerID: r.alice, Partial: true, Length: &length, ObjectKey: "uploads/" + id.String() + "/partial",
			Metadata: map[string]string{}, ExpiresAt: r.clock.Add(time.Hour),
		})
		must(t, err)
		return u
	}
	check := func(what string, u recording.Upload, want recording.Holding) {
		t.Helper()
		got, err := r.Holdings(ctx, []recording.StoredEntry{
			{Kind: recording.StoredObject, Key: u.ObjectKey}, {Kind: recording.StoredObject, Key: u.ObjectKey + "-3"},
			{Kind: recording.StoredParts, UploadID: u.ID}, {Kind: recording.StoredMultipart, Key: u.ObjectKey, MultipartID: "m"},
		}, since)
		must(t, err)
		if diff := cmp.Diff([]recording.Holding{want, want, want, want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	single, lost, joined := partial(), partial(), partial()
	check("begun", single, recording.HoldingKept)
	must(t, r.TerminateUpload(ctx, r.alice, single.ID))
	check("terminated", single, recording.HoldingOrphan)

	join := func(p recording.Upload) recording.Upload {
		_, err := r.pool.Exec(ctx, `UPDATE uploads SET state = 'received', committed_offset = length WHERE id = $1`, p.ID)
		must(t, err)
		check("received", p, recording.HoldingKept)
		id := recording.NewID()
		u, _, err := r.JoinUploads(ctx, recording.NewUpload{
			UploadID: recording.NewID(), RecordingID: id, OwnerID: r.alice, ObjectKey: "recordings/" + id.String() + "/original",
			Metadata: map[string]string{}, ExpiresAt: r.clock.Add(time.Hour), PartialIDs: []uuid.UUID{p.ID},
		}, func([]recording.Upload) (recording.Receipt, error) {
			return *r.receipt(recording.Upload{RecordingID: id, OwnerID: r.alice}), nil
		})
		must(t, err)
		check("joined", p, recording.HoldingKept)
		return u
	}
	final := join(lost)
	must(t, r.FailRecording(ctx, final.RecordingID, recording.StageStore, recording.ReasonStorage, "lost"))
	check("of a final upload that failed", lost, recording.HoldingKept)
	must(t, r.DeleteRecording(ctx, r.alice, final.RecordingID))
	check("of one that was deleted", lost, recording.HoldingKept)
	must(t, r.MarkPurged(ctx, recording.PurgeJob{RecordingID: final.RecordingID}))
	check("of one that was purged", lost, recording.HoldingOrphan)

	final = join(joined)
	must(t, r.CompleteStage(ctx, final.RecordingID, recording.StageStore, recording.StageResult{Next: recording.StageVerify}))
	check("stored", joined, recording.HoldingKept)
	must(t, r.CompleteStage(ctx, final.RecordingID, recording.StageVerify, recording.StageResult{}))
	check("verified", joined, recording.HoldingOrphan)
}
