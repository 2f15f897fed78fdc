package disk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/recording"
	"reprise/storage"
)

func newStore(t *testing.T, path string) *Store {
	t.Helper()
	s, err := New(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// row is an upload for a writer. Adopt says that the writer before ended cleanly.
func row(id uuid.UUID, epoch int64, parts []recording.Part, adopt bool) recording.Upload {
	return recording.Upload{ID: id, Epoch: epoch, Parts: parts, WriterOpen: !adopt}
}

// whole is an upload to assemble.
func whole(id uuid.UUID, key string, parts []recording.Part) recording.Upload {
	return recording.Upload{ID: id, ObjectKey: key, Parts: parts}
}

// faults fails one sync.
type faults struct {
	after atomic.Int64 // so many succeed before it
	err   error
}

func (f *faults) sync(file *os.File, dataOnly bool) error {
	if f.after.Add(-1) == -1 {
		return &os.PathError{Op: "fsync", Path: "file", Err: f.err}
	}
	return syncFile(file, dataOnly)
}

// failSync lets the sync after the next n fail with err.
func (s *Store) failSync(n int64, err error) {
	f := &faults{err: err}
	f.after.Store(n)
	s.sync = f.sync
}

// A failed fsync is not made good by a later one: the kernel has dropped what
// it could not write.
func TestWriterEndsAtFailedSync(t *testing.T) {
	t.Parallel()
	for step, what := range []string{"the part", "the upload's folder", "the folder of uploads"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newStore(t, t.TempDir())
			id := recording.NewID()
			w, err := s.NewWriter(t.Context(), row(id, 1, nil, false))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte("sound")); err != nil {
				t.Fatal(err)
			}
			s.failSync(int64(step), syscall.EIO)
			if flushed, err := w.Flush(t.Context()); flushed.Parts != nil || !errors.Is(err, syscall.EIO) || recording.CodeOf(err) != recording.CodeInternal {
				t.Errorf("Flush = %v, %v, want EIO", flushed, err)
			}
			for range 2 {
				if flushed, err := w.Flush(t.Context()); flushed.Parts != nil || !errors.Is(err, syscall.EIO) {
					t.Errorf("the next Flush = %v, %v, want EIO", flushed, err)
				}
				if n, err := w.Write([]byte("more")); n != 0 || !errors.Is(err, syscall.EIO) {
					t.Errorf("the next Write = %d, %v, want EIO", n, err)
				}
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
			w, err = s.NewWriter(t.Context(), row(id, 2, nil, false))
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if _, err := w.Write([]byte("sound")); err != nil {
				t.Error(err)
			}
			flushed, err := w.Flush(t.Context())
			if diff := cmp.Diff([]recording.Part{{Number: 1, Size: 5, Ref: "1-2"}}, flushed.Parts); diff != "" || err != nil {
				t.Errorf("Flush of the next writer: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// upload makes an upload of n parts and returns them with their bytes.
func upload(t *testing.T, s *Store, n int) (uuid.UUID, []recording.Part, []byte) {
	t.Helper()
	id := recording.NewID()
	var parts []recording.Part
	var content []byte
	for i := range n {
		w, err := s.NewWriter(t.Context(), row(id, int64(i+1), parts, false))
		if err != nil {
			t.Fatal(err)
		}
		p := bytes.Repeat([]byte{byte('a' + i)}, 1000)
		if _, err := w.Write(p); err != nil {
			t.Fatal(err)
		}
		flushed, err := w.Flush(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		parts, content = append(parts, flushed.Parts...), append(content, p...)
	}
	return id, parts, content
}

// As if the process died at each sync in turn: the next Assemble succeeds, and
// so does one after the parts are gone.
func TestAssembleAfterCrashAtEachSync(t *testing.T) {
	t.Parallel()
	for n := range 4 {
		t.Run(fmt.Sprint(n, " parts"), func(t *testing.T) {
			t.Parallel()
			for step := int64(0); ; step++ {
				s := newStore(t, t.TempDir())
				id, parts, content := upload(t, s, n)
				s.failSync(step, syscall.EIO)
				err := s.Assemble(t.Context(), whole(id, "a/b/object", parts))
				s.sync = syncFile
				if err == nil && step > 3 {
					break
				}
				// A sync of the folder that fails after the object is there is made
				// good by the look for an object that another call has made.
				if err != nil && !errors.Is(err, syscall.EIO) {
					t.Errorf("Assemble with sync %d failing = %v, want EIO", step, err)
				}
				if err := s.Assemble(t.Context(), whole(id, "a/b/object", parts)); err != nil {
					t.Fatalf("Assemble after sync %d failed: %v", step, err)
				}
				if err := s.DiscardParts(t.Context(), recording.Upload{ID: id}); err != nil {
					t.Fatal(err)
				}
				if err := s.Assemble(t.Context(), whole(id, "a/b/object", parts)); err != nil {
					t.Errorf("Assemble without parts: %v", err)
				}
				wantTree(t, s, map[string]string{"objects/a/b/object": string(content)})
			}
		})
	}
}

// wantTree compares the files below the root.
func wantTree(t *testing.T, s *Store, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(s.root.Name(), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(s.root.Name(), path)
		got[name] = string(content)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestPutReportsFailedSync(t *testing.T) {
	t.Parallel()
	// The file, then the folders objects/a and objects.
	for step, err := range []error{syscall.EIO, syscall.EDQUOT, syscall.ENOSPC} {
		s := newStore(t, t.TempDir())
		s.failSync(int64(step), err)
		_, got := s.Put(t.Context(), "a/object", strings.NewReader("sound"))
		if !errors.Is(got, err) || errors.Is(got, storage.ErrFull) != (err != syscall.EIO) {
			t.Errorf("Put with sync %d failing = %v, want %v", step, got, err)
		}
		if left, err := os.ReadDir(filepath.Join(s.root.Name(), tempDir)); len(left) != 0 || err != nil {
			t.Errorf("Put left %v, %v", left, err)
		}
	}
	s := newStore(t, t.TempDir())
	s.failSync(0, syscall.ENOSPC)
	if err := s.Check(t.Context()); recording.CodeOf(err) != recording.CodeStorageFull {
		t.Errorf("Check = %v, want %s", err, recording.CodeStorageFull)
	}
	wantTree(t, s, map[string]string{})
}

// A part shorter than what was committed is never made up for.
func TestShortPart(t *testing.T) {
	t.Parallel()
	s := newStore(t, t.TempDir())
	id, parts, _ := upload(t, s, 2)
	for _, part := range parts {
		name := filepath.Join(s.root.Name(), partPath(id, part.Ref))
		if err := os.Truncate(name, part.Size-1); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.NewWriter(t.Context(), row(id, 9, parts, true))
	for what, err := range map[string]error{
		"NewWriter":              err,
		"Assemble of one part":   s.Assemble(t.Context(), whole(id, "one", parts[:1])),
		"Assemble of both parts": s.Assemble(t.Context(), whole(id, "two", parts)),
	} {
		if !errors.Is(err, storage.ErrLost) {
			t.Errorf("%s = %v, want ErrLost", what, err)
		}
	}
}

func TestForeignRefs(t *testing.T) {
	t.Parallel()
	s := newStore(t, t.TempDir())
	id, parts, _ := upload(t, s, 1)
	for _, ref := range []string{"", "1", "2-1", "1-1/..", "../../objects/x", "1-01", "1-x", "etag"} {
		bad := recording.Part{Number: 1, Size: parts[0].Size, Ref: ref}
		if err := s.Assemble(t.Context(), whole(id, "object", []recording.Part{bad})); err == nil || errors.Is(err, storage.ErrLost) {
			t.Errorf("Assemble of ref %q = %v", ref, err)
		}
	}
}

// One epoch has one writer: a second one doesn't get at the first one's bytes.
func TestNameClash(t *testing.T) {
	t.Parallel()
	s := newStore(t, t.TempDir())
	id := recording.NewID()
	for i, want := range []error{nil, os.ErrExist} {
		w, err := s.NewWriter(t.Context(), row(id, 1, nil, false))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if _, err := w.Write([]byte("sound")); !errors.Is(err, want) {
			t.Errorf("Write of writer %d = %v, want %v", i, err, want)
		}
	}
}

// A part that a writer still has open is neither continued nor made an object.
func TestOpenPartIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := newStore(t, t.TempDir())
	id := recording.NewID()
	open, err := s.NewWriter(t.Context(), row(id, 1, nil, false))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if _, err := open.Write([]byte("sound")); err != nil {
		t.Fatal(err)
	}
	first, err := open.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	parts := first.Parts
	w, err := s.NewWriter(t.Context(), row(id, 2, parts, true))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Write([]byte("bite")); err != nil {
		t.Fatal(err)
	}
	second, err := w.Flush(t.Context())
	if diff := cmp.Diff([]recording.Part{{Number: 2, Size: 4, Ref: "2-2"}}, second.Parts); diff != "" || err != nil {
		t.Errorf("Flush: %v (-want +got):\n%s", err, diff)
	}
	if err := s.Assemble(t.Context(), whole(id, "object", parts)); err != nil {
		t.Fatal(err)
	}
	if _, err := open.Write([]byte("stale")); err != nil {
		t.Fatal(err)
	}
	wantTree(t, s, map[string]string{
		"objects/object":                  "sound",
		partPath(id, parts[0].Ref):        "soundstale",
		partPath(id, second.Parts[0].Ref): "bite",
	})
}

// What is not flushed doesn't keep a full disk full.
func TestCloseTakesBack(t *testing.T) {
	t.Parallel()
	s := newStore(t, t.TempDir())
	id, parts, content := upload(t, s, 1)
	for _, adopt := range []bool{true, false} {
		w, err := s.NewWriter(t.Context(), row(id, 2, parts, adopt))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("lost")); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		wantTree(t, s, map[string]string{partPath(id, parts[0].Ref): string(content)})
	}
}

func TestRemovedFolders(t *testing.T) {
	t.Parallel()
	s := newStore(t, t.TempDir())
	id, parts, _ := upload(t, s, 1)
	for _, dir := range []string{objectsDir, partsDir, tempDir} {
		if err := os.RemoveAll(filepath.Join(s.root.Name(), dir)); err != nil {
			t.Fatal(err)
		}
	}
	_, putErr := s.Put(t.Context(), "object", strings.NewReader("sound"))
	for what, err := range map[string]error{
		"Check": s.Check(t.Context()), "Put": putErr,
		"Assemble": s.Assemble(t.Context(), whole(id, "object", parts)),
	} {
		if err == nil {
			t.Errorf("%s succeeds without folders", what)
		}
	}
}
