package fsck_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"reprise/fsck"
	"reprise/recording"
)

// brief is what tests compare of a problem.
func brief(problems []fsck.Problem) []fsck.Problem {
	var list []fsck.Problem
	for _, p := range problems {
		p.ModifiedAt = nil
		list = append(list, p)
	}
	return list
}

func diffProblems(want, got []fsck.Problem) string {
	less := func(a, b fsck.Problem) bool { return string(a.Kind)+a.Key < string(b.Kind)+b.Key }
	return cmp.Diff(want, brief(got), cmpopts.IgnoreUnexported(fsck.Problem{}), cmpopts.EquateEmpty(), cmpopts.SortSlices(less))
}

func bytes(n int64) *int64 { return &n }

// everything makes a recording in every state, all in order.
func (w *world) everything() {
	w.t.Helper()
	ctx := w.t.Context()
	w.create(false)
	w.receiving()
	w.received()
	w.ready()
	must(w.t, w.store.Assemble(ctx, w.received())) // as if the store stage were about to say so
	w.append(w.create(true), 5)
	w.append(w.create(true), int64(len(content)))
	must(w.t, w.catalog.DeleteRecording(ctx, w.owner, w.ready().RecordingID))
	must(w.t, w.catalog.TerminateUpload(ctx, w.owner, w.receiving().ID))
	refused := w.create(false)
	must(w.t, w.catalog.RefuseUpload(ctx, refused.ID, refused.Epoch, recording.ReasonNotAudio, "no"))
	w.join()
}

// join makes a final upload of a partial one, which waits for the store stage.
func (w *world) join() (partial, final recording.Upload) {
	w.t.Helper()
	partial = w.append(w.create(true), int64(len(content)))
	id := recording.NewID()
	final, _, err := w.catalog.JoinUploads(w.t.Context(), recording.NewUpload{
		UploadID: recording.NewID(), RecordingID: id, OwnerID: w.owner, ObjectKey: "recordings/" + id.String() + "/original",
		Metadata: map[string]string{}, ExpiresAt: time.Now().Add(time.Hour), PartialIDs: []uuid.UUID{partial.ID},
	}, func([]recording.Upload) (recording.Receipt, error) {
		return *w.receipt(recording.Upload{RecordingID: id}), nil
	})
	must(w.t, err)
	return partial, final
}

func TestClean(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.everything()
	problems, err := w.fsck(func(o *fsck.Options) { o.Verify = true })
	if diff := diffProblems(nil, problems); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

// TestProblems makes every kind of problem, beside things that are in order, and
// wants it to be found, to be repaired, and not to be found again.
func TestProblems(t *testing.T) {
	t.Parallel()
	size := int64(len(content))
	type problems = []fsck.Problem
	tests := map[string]struct {
		make   func(w *world) problems
		change func(*fsck.Options) // beside Repair
		left   bool                // it can't be repaired
		states string              // of recording and upload after the repair
	}{
		"original missing": {make: func(w *world) problems {
			u := w.ready()
			w.delete(u.ObjectKey)
			return problems{{Kind: fsck.OriginalMissing, RecordingID: u.RecordingID, UploadID: u.ID, Key: u.ObjectKey, WantBytes: &size}}
		}, states: "ready/failed"},
		"original short": {make: func(w *world) problems {
			u := w.ready()
			w.put(u.ObjectKey, "short")
			return problems{{Kind: fsck.OriginalSize, RecordingID: u.RecordingID, UploadID: u.ID, Key: u.ObjectKey, WantBytes: &size, SizeBytes: bytes(5)}}
		}, states: "ready/failed"},
		"original of other bytes": {make: func(w *world) problems {
			u := w.ready()
			w.put(u.ObjectKey, "sixteen bytes no")
			return problems{{Kind: fsck.OriginalDigest, RecordingID: u.RecordingID, UploadID: u.ID, Key: u.ObjectKey, WantBytes: &size, SizeBytes: &size}}
		}, change: func(o *fsck.Options) { o.Verify = true }, states: "ready/failed"},
		"artifact missing": {make: func(w *world) problems {
			u := w.ready()
			key := w.artifact(u)
			w.delete(key)
			return problems{{Kind: fsck.ArtifactMissing, RecordingID: u.RecordingID, UploadID: u.ID, Key: key, WantBytes: &size}}
		}, left: true /* until the stage has run */, states: "processing/stored"},
		"artifact short": {make: func(w *world) problems {
			u := w.ready()
			key := w.artifact(u)
			w.put(key, "short")
			return problems{{Kind: fsck.ArtifactSize, RecordingID: u.RecordingID, UploadID: u.ID, Key: key, WantBytes: &size, SizeBytes: bytes(5)}}
		}, left: true, states: "processing/stored"},
		"artifact of other bytes": {make: func(w *world) problems {
			u := w.ready()
			key := w.artifact(u)
			w.put(key, "sixteen bytes no")
			return problems{{Kind: fsck.ArtifactDigest, RecordingID: u.RecordingID, UploadID: u.ID, Key: key, WantBytes: &size, SizeBytes: &size}}
		}, change: func(o *fsck.Options) { o.Verify = true }, left: true, states: "processing/stored"},
		"parts of an unfinished upload": {make: func(w *world) problems {
			u := w.receiving()
			must(w.t, w.store.DiscardParts(w.t.Context(), u))
			return problems{{Kind: fsck.PartsLost, RecordingID: u.RecordingID, UploadID: u.ID, WantBytes: bytes(5)}}
		}, states: "failed/failed"},
		"a short part of a received upload": {make: func(w *world) problems {
			u := w.received()
			must(w.t, os.Truncate(filepath.Join(w.root, "parts", u.ID.String(), u.Parts[0].Ref), 3))
			return problems{{Kind: fsck.PartsLost, RecordingID: u.RecordingID, UploadID: u.ID, WantBytes: &size}}
		}, states: "failed/failed"},
		"parts of a partial upload": {make: func(w *world) problems {
			u := w.append(w.create(true), size)
			must(w.t, w.store.DiscardParts(w.t.Context(), u))
			return problems{{Kind: fsck.PartsLost, UploadID: u.ID, WantBytes: &size}}
		}},
		"parts of a joined upload": {make: func(w *world) problems {
			partial, final := w.join()
			must(w.t, w.store.DiscardParts(w.t.Context(), partial))
			return problems{{Kind: fsck.PartsLost, RecordingID: final.RecordingID, UploadID: final.ID, WantBytes: &size}}
		}, states: "failed/failed"},
		"job of a stage": {make: func(w *world) problems {
			u := w.received()
			w.exec(`DELETE FROM river_job WHERE args->>'recordingId' = $1`, u.RecordingID.String())
			return problems{{Kind: fsck.StageJobMissing, RecordingID: u.RecordingID}}
		}, states: "received/received"},
		"job of a purge": {make: func(w *world) problems {
			u := w.ready()
			must(w.t, w.catalog.DeleteRecording(w.t.Context(), w.owner, u.RecordingID))
			w.exec(`UPDATE river_job SET state = 'cancelled', finalized_at = now() WHERE kind = 'purge' AND args->>'recordingId' = $1`, u.RecordingID.String())
			return problems{{Kind: fsck.PurgeJobMissing, RecordingID: u.RecordingID}}
		}, states: "deleted/terminated"},
		"orphans": {make: func(w *world) problems {
			u := w.ready()
			key := "recordings/" + u.RecordingID.String() + "/aac-x.m4a"
			w.put(key, content)
			must(w.t, os.MkdirAll(filepath.Join(w.root, "parts", u.ID.String()), 0o700))
			must(w.t, os.WriteFile(filepath.Join(w.root, "parts", u.ID.String(), "9-9"), []byte("left"), 0o600))
			must(w.t, os.WriteFile(filepath.Join(w.root, "tmp", "half"), []byte("half"), 0o600))
			w.age()
			w.put("recordings/"+u.RecordingID.String()+"/young", content)
			return problems{
				{Kind: fsck.OrphanObject, Key: key, SizeBytes: &size},
				{Kind: fsck.OrphanParts, UploadID: u.ID, SizeBytes: bytes(4)},
				{Kind: fsck.OrphanTemp, Key: "tmp/half", SizeBytes: bytes(4)},
			}
		}, states: "ready/stored"},
		"unknown":                {make: (*world).unknown, left: true},
		"unknown, to be deleted": {make: (*world).unknown, change: func(o *fsck.Options) { o.DeleteUnknown = true }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ready()
			want := tt.make(w)
			options := func(repair bool) func(*fsck.Options) {
				return func(o *fsck.Options) {
					if o.Repair = repair; tt.change != nil {
						tt.change(o)
					}
				}
			}
			for range 2 { // the first changes nothing
				problems, err := w.fsck(options(false))
				if diff := diffProblems(want, problems); diff != "" || err != nil {
					t.Fatalf("%v (-want +got)\n%s", err, diff)
				}
			}
			problems, err := w.fsck(options(true))
			repaired := !tt.left || tt.states != ""
			for i := range want {
				want[i].Repaired = repaired
			}
			if diff := diffProblems(want, problems); diff != "" || err != nil {
				t.Fatalf("repair: %v (-want +got)\n%s", err, diff)
			}
			if id := want[0].RecordingID; id != uuid.Nil {
				if got := w.states(id); got != tt.states {
					t.Errorf("after the repair it is %s, want %s", got, tt.states)
				}
			}
			problems, err = w.fsck(options(false))
			if err != nil || len(problems) > 0 != tt.left {
				t.Errorf("after the repair: %v %+v", err, problems)
			}
		})
	}
}

// unknown leaves things of another installation.
func (w *world) unknown() []fsck.Problem {
	w.t.Helper()
	key := "recordings/" + uuid.NewString() + "/original"
	w.put(key, "other")
	writer, err := w.store.NewWriter(w.t.Context(), recording.Upload{ID: recording.NewID(), Epoch: 1})
	must(w.t, err)
	_, err = writer.Write([]byte("other"))
	must(w.t, err)
	_, err = writer.Flush(w.t.Context())
	must(w.t, err)
	must(w.t, writer.Close())
	w.age()
	list := []fsck.Problem{{Kind: fsck.UnknownObject, Key: key, SizeBytes: bytes(5)}}
	must(w.t, w.store.List(w.t.Context(), func(e recording.StoredEntry) error {
		if e.Kind == recording.StoredParts {
			list = append(list, fsck.Problem{Kind: fsck.UnknownParts, UploadID: e.UploadID, SizeBytes: bytes(5)})
		}
		return nil
	}))
	return list
}

func (w *world) states(recordingID uuid.UUID) string {
	w.t.Helper()
	work, err := w.catalog.Work(w.t.Context(), recordingID)
	must(w.t, err)
	return string(work.Recording.State) + "/" + string(work.Upload.State)
}

// The storage of somebody else is not a disaster.
func TestWrongStorage(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	var list []recording.Upload
	for range 12 {
		list = append(list, w.ready())
	}
	problems, err := w.fsck(func(o *fsck.Options) { o.Storage, o.Repair = other.store, true })
	if !errors.Is(err, fsck.ErrWrongStorage) || len(problems) > 0 {
		t.Errorf("%v, %+v", err, problems)
	}
	for _, u := range list {
		if got := w.states(u.RecordingID); got != "ready/stored" {
			t.Fatalf("a recording is %s", got)
		}
	}
	// With anything of it, it is.
	for _, u := range list[1:] {
		w.delete(u.ObjectKey)
	}
	if problems, err := w.fsck(nil); err != nil || len(problems) != 11 {
		t.Errorf("%v, %d problems", err, len(problems))
	}
}

// broken is a storage that fails.
type broken struct {
	fsck.Storage
	stat, list, remove error
}

func (b broken) Stat(ctx context.Context, key string) (recording.ObjectInfo, error) {
	if b.stat != nil {
		return recording.ObjectInfo{}, b.stat
	}
	return b.Storage.Stat(ctx, key)
}

func (b broken) List(ctx context.Context, fn func(recording.StoredEntry) error) error {
	if b.list != nil {
		return b.list
	}
	return b.Storage.List(ctx, fn)
}

func (b broken) Remove(ctx context.Context, e recording.StoredEntry) error {
	if b.remove != nil {
		return b.remove
	}
	return b.Storage.Remove(ctx, e)
}

// What can't be looked at is not called lost.
func TestStorageAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.ready()
	away := errors.New("the storage is away")
	for _, b := range []broken{{stat: away}, {list: away}} {
		b.Storage = w.store
		var l list
		sum, err := fsck.Run(t.Context(), fsck.Options{Ledger: w.catalog, Storage: b, Report: &l, Repair: true, OlderThan: time.Hour, Pause: 1})
		if !errors.Is(err, away) || len(l.problems) > 0 || sum.Complete || l.summary.Complete {
			t.Errorf("%v, %+v, %+v", err, l.problems, sum)
		}
	}
	// One orphan that can't be deleted is told, and the rest goes on.
	w.put("recordings/"+u.RecordingID.String()+"/a", "x")
	w.put("recordings/"+u.RecordingID.String()+"/b", "x")
	w.age()
	problems, err := w.fsck(func(o *fsck.Options) { o.Storage, o.Repair = broken{Storage: w.store, remove: away}, true })
	if err != nil || len(problems) != 2 || problems[0].Repaired || problems[1].RepairError != away.Error() {
		t.Errorf("%v, %+v", err, problems)
	}
	if got := w.states(u.RecordingID); got != "ready/stored" {
		t.Errorf("the recording is %s", got)
	}
}

// TestBusy runs it while uploads come, are processed and are deleted, and wants
// nothing of that to be a problem, whatever its age is taken for.
func TestBusy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := w.live(ctx); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	for range 15 {
		problems, err := w.fsck(func(o *fsck.Options) { o.Verify, o.OlderThan = true, -time.Hour })
		if err != nil {
			t.Error(err)
		}
		for _, p := range problems {
			t.Errorf("%+v", p)
		}
	}
	stop()
	wg.Wait()
}

// live lets one recording live: it is uploaded, processed, and sometimes deleted.
func (w *world) live(ctx context.Context) error {
	length := int64(len(content))
	id := recording.NewID()
	u, _, err := w.catalog.CreateUpload(ctx, recording.NewUpload{
		UploadID: recording.NewID(), RecordingID: id, OwnerID: w.owner, Length: &length,
		ObjectKey: "recordings/" + id.String() + "/original", Metadata: map[string]string{}, ExpiresAt: time.Now().Add(time.Hour),
	})
	if err != nil {
		return err
	}
	for to := int64(4); to <= length; to += 4 {
		if err := w.tryAppend(ctx, u, to); err != nil {
			return err
		}
		if u, err = w.catalog.UploadByID(ctx, u.ID); err != nil {
			return err
		}
	}
	if err := w.process(ctx, u); err != nil {
		return err
	}
	if id[15]%3 > 0 {
		return nil
	}
	return w.catalog.DeleteRecording(ctx, w.owner, id)
}
