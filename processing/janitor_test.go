package processing

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/recording"
)

// age makes everything in the store two days old.
func (w *world) age() {
	w.t.Helper()
	old := time.Now().Add(-48 * time.Hour)
	err := filepath.WalkDir(w.root, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chtimes(path, old, old))
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) put(key string) {
	w.t.Helper()
	if _, err := w.store.Put(w.t.Context(), key, strings.NewReader("x")); err != nil {
		w.t.Fatal(err)
	}
}

func TestJanitor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(nil)
	ready := w.wait(w.upload(spoken(t, "mp3"), nil, nil), recording.StateReady)
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	waiting := w.upload([]byte("waits for its turn"), nil, nil) // two parts, a job
	early := "recordings/" + waiting.String() + "/original-7"   // of a writer that may still say so
	w.put(early)
	foreign := "recordings/" + recording.NewID().String() + "/original"
	w.put(foreign)
	foreignParts := w.parts(recording.NewID())
	before := w.stored()
	w.put("recordings/" + ready.ID.String() + "/aac-orphan.m4a")
	w.parts(w.work(ready.ID).Upload.ID)
	if err := os.WriteFile(filepath.Join(w.root, "tmp", "half"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.age()
	young := "recordings/" + ready.ID.String() + "/aac-young.m4a"
	w.put(young)

	j := NewJanitor(w.catalog, w.store, time.Now, slog.New(slog.DiscardHandler))
	res, err := j.RunOnce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(JanitorResult{Objects: 1, Parts: 1, Temps: 1, Unknown: 2}, res); diff != "" {
		t.Error(diff)
	}
	want := before
	want[recording.StoredObject] = append(want[recording.StoredObject], young)
	if !slices.Contains(want[recording.StoredParts], foreignParts.String()) {
		t.Errorf("before the janitor there were %v", want)
	}
	got := w.stored()
	for _, m := range []map[recording.StoredKind][]string{want, got} {
		for _, list := range m {
			slices.Sort(list)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, a := range ready.Artifacts {
		w.checkArtifact(a)
	}
}

// parts leaves parts of an upload in storage that the ledger knows nothing of.
func (w *world) parts(uploadID uuid.UUID) uuid.UUID {
	w.t.Helper()
	writer, err := w.store.NewWriter(w.t.Context(), recording.Upload{ID: uploadID, Epoch: 99})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := writer.Write([]byte("nobody's")); err != nil {
		w.t.Fatal(err)
	}
	if _, err := writer.Flush(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		w.t.Fatal(err)
	}
	return uploadID
}

// listing is a storage that lists what it is told to, calls after, and notes what
// is removed.
type listing struct {
	Objects
	entries []recording.StoredEntry
	after   func()
	broken  string // the key that can't be removed
	removed []recording.StoredEntry
}

func (l *listing) List(_ context.Context, fn func(recording.StoredEntry) error) error {
	for _, e := range l.entries {
		if err := fn(e); err != nil {
			return err
		}
	}
	if l.after != nil {
		l.after()
	}
	return nil
}

func (l *listing) Remove(_ context.Context, e recording.StoredEntry) error {
	if e.Key == l.broken {
		return errors.New("the storage refuses")
	}
	l.removed = append(l.removed, e)
	return nil
}

// What is recorded after it was listed, and before the janitor asks, is kept, as all
// is of a recording that changes meanwhile; and what can't be removed is in nothing
// else's way.
func TestJanitorAsksAfterListing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.upload([]byte("sound"), nil, nil)
	u := w.work(id).Upload
	folder := "recordings/" + id.String()
	old := time.Now().Add(-48 * time.Hour)
	object := func(name string) recording.StoredEntry {
		return recording.StoredEntry{Kind: recording.StoredObject, Key: folder + "/" + name, ModifiedAt: old}
	}
	multipart := recording.StoredEntry{Kind: recording.StoredMultipart, Key: u.ObjectKey, MultipartID: "m", ModifiedAt: old}
	l := &listing{Objects: w.store, broken: folder + "/broken", entries: []recording.StoredEntry{
		object("original"), object("broken"), object("aac"), object("stray"), multipart,
		{Kind: recording.StoredParts, UploadID: u.ID, ModifiedAt: old},
	}}
	l.after = func() {
		artifact := recording.Artifact{Kind: recording.ArtifactAAC, ObjectKey: folder + "/aac", SHA256: make([]byte, 32)}
		if err := w.catalog.CompleteStage(t.Context(), id, recording.StageStore, recording.StageResult{Artifacts: []recording.Artifact{artifact}}); err != nil {
			t.Fatal(err)
		}
	}
	j := NewJanitor(w.catalog, l, time.Now, slog.New(slog.DiscardHandler))
	if res, err := j.Sweep(t.Context()); err != nil || len(l.removed) != 0 {
		t.Errorf("in a sweep while the recording changed: %+v, %v", res, err)
	}
	l.after = nil
	res, err := j.Sweep(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the storage refuses") {
		t.Errorf("Sweep = %v", err)
	}
	if diff := cmp.Diff(JanitorResult{Objects: 1, Multiparts: 1, Parts: 1}, res); diff != "" {
		t.Error(diff)
	}
	want := []recording.StoredEntry{l.entries[3], l.entries[4], l.entries[5]}
	if diff := cmp.Diff(want, l.removed); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	// The same while it is young.
	l.entries[3].ModifiedAt, l.removed = time.Now(), nil
	l.entries = l.entries[3:4]
	if res, err := j.Sweep(t.Context()); err != nil || len(l.removed) != 0 {
		t.Error(res, err)
	}
}

// A recording whose job was taken out of the queue gets ready nevertheless.
func TestMissingJobComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.upload(spoken(t, "mp3"), nil, nil)
	if _, err := w.pool.Exec(t.Context(), "DELETE FROM river_job"); err != nil {
		t.Fatal(err)
	}
	w.start(nil) // whose janitor has its first round at once
	w.wait(id, recording.StateReady)
	want := []string{"completed 1", "completed 1", "completed 1", "completed 1"}
	for start := time.Now(); !cmp.Equal(want, w.jobs()); time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 30*time.Second {
			t.Fatalf("jobs: %v", w.jobs())
		}
	}
}

// However many replicas start, the storage is looked through once a day.
func TestSweepsOnceADay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	insert := func() {
		args, opts := sweepJob()
		if _, err := w.start(nil).client.Insert(t.Context(), args, opts); err != nil {
			t.Fatal(err)
		}
	}
	insert()
	for start := time.Now(); w.sweeps("completed") == 0; time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 30*time.Second {
			t.Fatal("no sweep")
		}
	}
	day := time.Now().UTC().Day()
	insert()
	if n := w.sweeps(""); n != 1 && time.Now().UTC().Day() == day {
		t.Errorf("%d sweeps on one day", n)
	}
}

func (w *world) sweeps(state string) int {
	w.t.Helper()
	var n int
	err := w.pool.QueryRow(w.t.Context(), "SELECT count(*) FROM river_job WHERE kind = 'sweep' AND state::text LIKE $1 || '%'", state).Scan(&n)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// An upload that nothing came for, and a recording that its owner deleted, leave
// nothing in storage.
func TestExpiryAndDeletionLeaveNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(nil)
	id := w.wait(w.upload(spoken(t, "mp3"), nil, nil), recording.StateReady).ID
	if err := w.catalog.DeleteRecording(t.Context(), w.owner, id); err != nil {
		t.Fatal(err)
	}
	length := int64(100)
	uploadID, stale := recording.NewID(), recording.NewID()
	_, _, err := w.catalog.CreateUpload(t.Context(), recording.NewUpload{
		UploadID: uploadID, RecordingID: stale, OwnerID: w.owner, Length: &length,
		ObjectKey: "recordings/" + stale.String() + "/original", Metadata: map[string]string{}, ExpiresAt: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.append(uploadID, 0, []byte("the beginning"), length, nil)
	j := NewJanitor(w.catalog, w.store, time.Now, s.log)
	if res, err := j.RunOnce(t.Context()); err != nil || res.ExpiredUploads > 1 { // the service's own janitor may have come first
		t.Fatal(res, err)
	}
	for start := time.Now(); len(w.stored()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 30*time.Second {
			t.Fatalf("left: %v", w.stored())
		}
	}
	w.wait(stale, recording.StateDeleted)
}

func TestWorkFoldersOfDeadProcessesAreRemoved(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	alive, err := openWorkDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	dead, err := openWorkDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dead.make(); err != nil {
		t.Fatal(err)
	}
	dead.lock.Close() // what the end of a process does
	third, err := openWorkDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir   *workDir
		there bool
	}{{alive, true}, {dead, false}, {third, true}} {
		if _, err := os.Stat(c.dir.path); (err == nil) != c.there {
			t.Errorf("%s: there %v", c.dir.path, err == nil)
		}
	}
	if err := errors.Join(alive.close(), third.close()); err != nil {
		t.Error(err)
	}
}

// The rows of parts, in which bytes may lie, go with every end of verify.
func TestRejectedKeepsNoParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(nil)
	id := w.upload(spoken(t, "m4a"), map[string]string{"sha256": strings.Repeat("0", 64)}, nil)
	w.wait(id, recording.StateRejected)
	var rows int
	if err := w.pool.QueryRow(t.Context(), `SELECT count(*) FROM upload_parts`).Scan(&rows); err != nil || rows != 0 {
		t.Errorf("%d rows of parts are left (%v)", rows, err)
	}
}
