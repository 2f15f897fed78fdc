package catalog_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/recording"
)

// partial makes a partial upload of ten bytes; some are missing unless it is whole.
func (r *rig) partial(owner uuid.UUID, whole bool) recording.Upload {
	r.t.Helper()
	ctx := r.t.Context()
	length, id := int64(10), recording.NewID()
	u, _, err := r.CreateUpload(ctx, recording.NewUpload{
		UploadID: id, OwnerID: owner, Length: &length, Partial: true, Metadata: map[string]string{},
		ObjectKey: "uploads/" + id.String() + "/partial", ExpiresAt: r.clock.Add(time.Hour),
	})
	must(r.t, err)
	u, _, err = r.AcquireUpload(ctx, u.ID, recording.Claim{Write: true})
	must(r.t, err)
	if whole {
		must(r.t, r.send(u, 10))
	} else {
		must(r.t, r.send(u, 5))
	}
	return u
}

// send commits bytes from the upload's offset to another.
func (r *rig) send(u recording.Upload, to int64) error {
	return r.CommitChunk(r.t.Context(), recording.Chunk{
		UploadID: u.ID, Epoch: u.Epoch, From: u.Offset, To: to, Parts: []recording.Part{{Number: 1, Size: to, Ref: "1-1"}},
		CloseWrite: true, ExpiresAt: r.clock.Add(time.Hour),
	})
}

var errNotReady = errors.New("a partial upload is not received, or joined")

// join makes a final upload of them.
func (r *rig) join(ctx context.Context, owner uuid.UUID, partials ...recording.Upload) (recording.Upload, bool, error) {
	ids := make([]uuid.UUID, len(partials))
	for i, p := range partials {
		ids[i] = p.ID
	}
	id := recording.NewID()
	n := recording.NewUpload{
		UploadID: recording.NewID(), RecordingID: id, OwnerID: owner, PartialIDs: ids, Metadata: map[string]string{},
		ObjectKey: "recordings/" + id.String() + "/original", ExpiresAt: r.clock.Add(time.Hour),
	}
	return r.JoinUploads(ctx, n, func(partials []recording.Upload) (recording.Receipt, error) {
		receipt := *r.receipt(recording.Upload{OwnerID: owner, RecordingID: id})
		receipt.SizeBytes, receipt.SHA256 = 0, nil
		for i, p := range partials {
			if p.ID != ids[i] || !p.Partial || p.State != recording.UploadReceived || p.FinalID != uuid.Nil || p.Offset != *p.Length {
				return recording.Receipt{}, errNotReady
			}
			receipt.SizeBytes += p.Offset
		}
		return receipt, nil
	})
}

// uploadStates returns the states of uploads.
func (r *rig) uploadStates(list ...recording.Upload) (states []recording.UploadState) {
	r.t.Helper()
	for _, u := range list {
		got, err := r.FindUpload(r.t.Context(), u.OwnerID, u.ID)
		must(r.t, err)
		states = append(states, got.State)
	}
	return states
}

func TestJoin(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	bob, err := r.EnsureUser(ctx, "dev:bob")
	must(t, err)
	c, a, b := r.partial(r.alice, true), r.partial(r.alice, true), r.partial(r.alice, false)
	if n := r.count(`SELECT (SELECT count(*) FROM recordings) + (SELECT count(*) FROM events) + (SELECT count(*) FROM river_job)`); n != 0 {
		t.Errorf("partial uploads made %d recordings, events and jobs", n)
	}
	if _, _, err := r.join(ctx, r.alice, a, b, c); !errors.Is(err, errNotReady) {
		t.Errorf("one unfinished: %v", err)
	}
	b, _, err = r.AcquireUpload(ctx, b.ID, recording.Claim{Write: true, Offset: 5})
	must(t, err)
	must(t, r.send(b, 10))
	foreign := r.partial(bob, true)
	for name, list := range map[string][]recording.Upload{"somebody else's": {a, foreign}, "unknown": {a, {ID: recording.NewID()}}} {
		if _, _, err := r.join(ctx, r.alice, list...); recording.CodeOf(err) != recording.CodeNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := r.count(`SELECT count(*) FROM recordings`); n != 0 {
		t.Errorf("%d recordings of failed attempts", n)
	}

	final, created, err := r.join(ctx, r.alice, a, b, c)
	must(t, err)
	if !created || final.State != recording.UploadReceived || final.Offset != 30 || *final.Length != 30 {
		t.Errorf("created %v: %+v", created, final)
	}
	again, created, err := r.join(ctx, r.alice, a, b, c)
	must(t, err)
	if created || again.ID != final.ID || again.RecordingID != final.RecordingID {
		t.Errorf("again: created %v, %s", created, again.ID)
	}
	for _, list := range [][]recording.Upload{{a, c, b}, {a, b}, {a}} {
		if _, _, err := r.join(ctx, r.alice, list...); !errors.Is(err, errNotReady) {
			t.Errorf("joined otherwise before: %v", err)
		}
	}
	if err := r.TerminateUpload(ctx, r.alice, a.ID); recording.CodeOf(err) != recording.CodeConflict {
		t.Errorf("terminating a joined upload: %v", err)
	}

	work, err := r.Work(ctx, final.RecordingID)
	must(t, err)
	var order []uuid.UUID
	for _, p := range work.Upload.Partials {
		order = append(order, p.ID)
		if len(p.Parts) != 1 || p.FinalID != final.ID {
			t.Errorf("partial upload %+v", p)
		}
	}
	if diff := cmp.Diff([]uuid.UUID{a.ID, b.ID, c.ID}, order); diff != "" {
		t.Error(diff)
	}
	must(t, r.CompleteStage(ctx, final.RecordingID, recording.StageStore, recording.StageResult{Next: recording.StageVerify, SHA256: make([]byte, 32)}))
	if diff := cmp.Diff([]recording.UploadState{"stored", "joined", "joined", "joined"}, r.uploadStates(final, a, b, c)); diff != "" {
		t.Error(diff)
	}
	rec, err := r.Recording(ctx, r.alice, final.RecordingID)
	must(t, err)
	if len(rec.SHA256) != 32 {
		t.Errorf("digest %x", rec.SHA256)
	}
	must(t, r.CompleteStage(ctx, final.RecordingID, recording.StageVerify, recording.StageResult{Next: recording.StageProbe}))
	if n := r.count(`SELECT count(*) FROM upload_parts WHERE upload_id <> $1`, foreign.ID); n != 0 {
		t.Errorf("%d parts are left", n)
	}
	must(t, r.DeleteRecording(ctx, r.alice, final.RecordingID))
	if diff := cmp.Diff([]recording.UploadState{"terminated", "terminated", "terminated"}, r.uploadStates(a, b, c)); diff != "" {
		t.Error(diff)
	}
	p, err := r.Purgeable(ctx, recording.PurgeJob{RecordingID: final.RecordingID})
	must(t, err)
	if want := []string{final.ObjectKey, a.ObjectKey, b.ObjectKey, c.ObjectKey}; !cmp.Equal(want, p.Keys) || len(p.Upload.Partials) != 3 {
		t.Errorf("purgeable: %v", p.Keys)
	}
}

// TestLostFinal: bytes of a final upload are lost, and its partial ones go with it,
// so that a client knows what to send again. They come back with the bytes.
func TestLostFinal(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	for _, tt := range []struct {
		stage           recording.Stage
		final, partials recording.UploadState
	}{{recording.StageStore, recording.UploadReceived, recording.UploadReceived}, {recording.StageVerify, recording.UploadStored, recording.UploadJoined}} {
		a, b := r.partial(r.alice, true), r.partial(r.alice, true)
		final, _, err := r.join(ctx, r.alice, b, a)
		must(t, err)
		if tt.stage == recording.StageVerify {
			must(t, r.CompleteStage(ctx, final.RecordingID, recording.StageStore, recording.StageResult{Next: recording.StageVerify, SHA256: make([]byte, 32)}))
		}
		must(t, r.FailRecording(ctx, final.RecordingID, tt.stage, recording.ReasonStorage, "lost"))
		if diff := cmp.Diff([]recording.UploadState{"failed", "failed", "failed"}, r.uploadStates(final, a, b)); diff != "" {
			t.Error(diff)
		}
		if _, _, err := r.join(ctx, r.alice, b, a); !errors.Is(err, errNotReady) {
			t.Errorf("joined again: %v", err)
		}
		_, err = r.RetryRecording(ctx, r.alice, final.RecordingID)
		must(t, err)
		if diff := cmp.Diff([]recording.UploadState{tt.final, tt.partials, tt.partials}, r.uploadStates(final, a, b)); diff != "" {
			t.Error(diff)
		}
	}
}

// TestPartialsExpire: complete or not, until they are joined.
func TestPartialsExpire(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	half, whole, joined := r.partial(r.alice, false), r.partial(r.alice, true), r.partial(r.alice, true)
	_, _, err := r.join(ctx, r.alice, joined)
	must(t, err)
	r.clock = r.clock.Add(2 * time.Hour)
	n, err := r.ExpireUploads(ctx, r.clock)
	must(t, err)
	if diff := cmp.Diff([]recording.UploadState{"expired", "expired", "received"}, r.uploadStates(half, whole, joined)); diff != "" || n != 2 {
		t.Errorf("%d expired: %s", n, diff)
	}
	for _, u := range []recording.Upload{half, whole} {
		job := recording.PurgeJob{UploadID: u.ID}
		p, err := r.Purgeable(ctx, job)
		must(t, err)
		if p.Upload.ID != u.ID || !p.DiscardParts || !slices.Equal(p.Keys, []string{u.ObjectKey}) {
			t.Errorf("purgeable: %+v", p)
		}
		if n := r.count(`SELECT count(*) FROM river_job WHERE kind = 'purge' AND args->>'uploadId' = $1`, u.ID.String()); n != 1 {
			t.Errorf("%d purge jobs", n)
		}
		must(t, r.MarkPurged(ctx, job))
	}
	if n := r.count(`SELECT count(*) FROM upload_parts`); n != 1 {
		t.Errorf("%d parts are left", n)
	}
	if _, err := r.Purgeable(ctx, recording.PurgeJob{UploadID: joined.ID}); recording.CodeOf(err) != recording.CodeNotFound {
		t.Errorf("a joined upload is purgeable: %v", err)
	}
}

// TestJoinRaces: everything that can happen to partial uploads happens at once.
// Whatever comes first wins: no deadlock, no upload in two recordings, and none
// that ended and was joined.
func TestJoinRaces(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	for range 40 {
		// Their order in the list is not that of their ids.
		a, b, c, half := r.partial(r.alice, true), r.partial(r.alice, true), r.partial(r.alice, true), r.partial(r.alice, false)
		half, _, err := r.AcquireUpload(ctx, half.ID, recording.Claim{Write: true, Offset: 5})
		must(t, err)
		var mu sync.Mutex
		finals := map[uuid.UUID]int{} // how often each was given
		join := func(list ...recording.Upload) func() error {
			return func() error {
				u, _, err := r.join(ctx, r.alice, list...)
				if err == nil {
					mu.Lock()
					defer mu.Unlock()
					finals[u.ID]++
				}
				return err
			}
		}
		deleteAny := func() error {
			list, err := r.Recordings(ctx, r.alice, recording.Page{Limit: 1})
			if err != nil || len(list) == 0 {
				return err
			}
			return r.DeleteRecording(ctx, r.alice, list[0].ID)
		}
		store := func() error {
			list, err := r.Recordings(ctx, r.alice, recording.Page{Limit: 1})
			if err != nil || len(list) == 0 {
				return err
			}
			return r.CompleteStage(ctx, list[0].ID, recording.StageStore, recording.StageResult{Next: recording.StageVerify, SHA256: make([]byte, 32)})
		}
		actions := []func() error{
			join(c, a, b), join(c, a, b), join(c, a, b), join(b, a), join(half, b),
			func() error { return r.TerminateUpload(ctx, r.alice, a.ID) },
			func() error { return r.send(half, 10) },
			func() error { return r.FailUpload(ctx, half.ID, half.Epoch, recording.ReasonStorage, "lost") },
			func() error { _, err := r.ExpireUploads(ctx, r.clock.Add(2*time.Hour)); return err },
			deleteAny, deleteAny, store,
		}
		rand.Shuffle(len(actions), func(i, j int) { actions[i], actions[j] = actions[j], actions[i] })
		var wg sync.WaitGroup
		for _, act := range actions {
			wg.Go(func() {
				switch err := act(); recording.CodeOf(err) {
				case "", recording.CodeNotFound, recording.CodeConflict, recording.CodeTakenOver:
				default:
					if !errors.Is(err, errNotReady) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		// A list of a partial upload in two living finals would show here.
		for final := range finals {
			u, err := r.FindUpload(ctx, r.alice, final)
			must(t, err)
			want := []recording.UploadState{recording.UploadReceived}
			switch u.State {
			case recording.UploadStored:
				want[0] = recording.UploadJoined
			case recording.UploadTerminated:
				want[0] = recording.UploadTerminated
			}
			for _, id := range u.PartialIDs {
				p, err := r.FindUpload(ctx, r.alice, id)
				must(t, err)
				if p.FinalID != final || p.State != want[0] {
					t.Errorf("the final upload is %s, a partial one of it %s, joined to %s", u.State, p.State, p.FinalID)
				}
			}
		}
	}
	if n := r.count(`SELECT count(*) FROM uploads WHERE final_id IS NULL AND partial AND state NOT IN ('receiving', 'received', 'terminated', 'expired', 'failed')`); n != 0 {
		t.Errorf("%d partial uploads are joined to nothing", n)
	}
}

// TestJoinClientID: a clientId that names a living upload gives that one.
func TestJoinClientID(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	join := func(p recording.Upload) (recording.Upload, bool, error) {
		id := recording.NewID()
		n := recording.NewUpload{
			UploadID: recording.NewID(), RecordingID: id, OwnerID: r.alice, ClientID: "x", PartialIDs: []uuid.UUID{p.ID},
			Metadata: map[string]string{}, ObjectKey: "recordings/" + id.String() + "/original", ExpiresAt: r.clock.Add(time.Hour),
		}
		return r.JoinUploads(ctx, n, func([]recording.Upload) (recording.Receipt, error) {
			return *r.receipt(recording.Upload{OwnerID: r.alice, RecordingID: id}), nil
		})
	}
	a, b := r.partial(r.alice, true), r.partial(r.alice, true)
	first, created, err := join(a)
	must(t, err)
	if !created {
		t.Error("not created")
	}
	second, created, err := join(b)
	must(t, err)
	if created || second.ID != first.ID {
		t.Errorf("created %v", created)
	}
	if diff := cmp.Diff([]recording.UploadState{"received", "received"}, r.uploadStates(a, b)); diff != "" {
		t.Error(diff)
	}
	if u, err := r.FindUpload(ctx, r.alice, b.ID); err != nil || u.FinalID != uuid.Nil {
		t.Errorf("the other one was joined: %v, %v", u.FinalID, err)
	}
	must(t, r.DeleteRecording(ctx, r.alice, first.RecordingID))
	if third, created, err := join(b); err != nil || !created || third.ID == first.ID {
		t.Errorf("when the clientId is free again: %v, %v", created, err)
	}
}
