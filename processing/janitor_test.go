package processing

import (
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
	ready := w.wait(w.upload(speech(t, "mp3"), nil, nil), recording.StateReady)
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.upload([]byte("waits for its turn"), nil, nil) // two parts, a job
	before := w.stored()
	w.put("recordings/" + recording.NewID().String() + "/aac-orphan.m4a")
	writer, err := w.store.NewWriter(t.Context(), recording.Upload{ID: recording.NewID(), Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Write([]byte("nobody's")); err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	if err := os.WriteFile(filepath.Join(w.root, "tmp", "half"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.age()
	young := "recordings/" + recording.NewID().String() + "/aac-young.m4a"
	w.put(young)

	j := NewJanitor(w.catalog, w.store, time.Now, slog.New(slog.DiscardHandler))
	res, err := j.RunOnce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(JanitorResult{Objects: 1, Parts: 1, Temps: 1}, res); diff != "" {
		t.Error(diff)
	}
	want := before
	want[recording.StoredObject] = append(want[recording.StoredObject], young)
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

// An upload that nothing came for, and a recording that its owner deleted, leave
// nothing in storage.
func TestExpiryAndDeletionLeaveNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(nil)
	id := w.wait(w.upload(speech(t, "mp3"), nil, nil), recording.StateReady).ID
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
