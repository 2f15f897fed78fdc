package disk

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"reprise/recording"
	"reprise/storage"
)

// smallDisk returns a store on a file system of 1 MiB. Where nobody lets us
// mount one, the disk is full from the first sync on, which is how file systems
// with delayed allocation and quotas over a network say it.
func smallDisk(t *testing.T) *Store {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Logf("no mount (%v): a full disk is simulated", err)
		s := newStore(t, dir)
		s.sync = func(*os.File, bool) error { return syscall.ENOSPC }
		return s
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return newStore(t, dir)
}

// writeAll writes and flushes p as a part of a new upload.
func writeAll(ctx context.Context, w recording.PartWriter, p []byte) error {
	if _, err := w.Write(p); err != nil {
		return err
	}
	_, err := w.Flush(ctx)
	return err
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	s := smallDisk(t)
	w, err := s.NewWriter(t.Context(), row(recording.NewID(), 1, nil, false))
	if err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 2<<20)
	wantFull(t, "Write and Flush", writeAll(t.Context(), w, big))
	wantFull(t, "the next Write and Flush", writeAll(t.Context(), w, []byte("x")))
	wantFull(t, "Check", s.Check(t.Context()))
	if err := w.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	_, err = s.Put(t.Context(), "object", bytes.NewReader(big))
	wantFull(t, "Put", err)

	// Nothing keeps the disk full, and what fits goes well again.
	if left, err := filepath.Glob(filepath.Join(s.root.Name(), "*", "*", "*")); len(left) != 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
	s.sync = syncFile
	id, parts, _ := upload(t, s, 2)
	fill := make([]byte, 1<<20)
	for {
		if _, err := s.Put(t.Context(), "fill/"+recording.NewID().String(), bytes.NewReader(fill)); err == nil {
			break
		}
		fill = fill[:len(fill)-4096]
	}
	// The room that is left is not enough for the object beside its parts.
	if err := s.Assemble(t.Context(), whole(id, "object", parts)); err != nil {
		wantFull(t, "Assemble", err)
	}
	err = s.List(t.Context(), func(entry storage.Entry) error {
		if entry.Kind == recording.StoredObject {
			return s.Delete(t.Context(), entry.Key)
		}
		return nil
	})
	if err = errors.Join(err, s.Assemble(t.Context(), whole(id, "object", parts))); err != nil {
		t.Errorf("Assemble with room again: %v", err)
	}
}

func wantFull(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, storage.ErrFull) || !errors.Is(err, syscall.ENOSPC) || recording.CodeOf(err) != recording.CodeStorageFull {
		t.Errorf("%s = %v, want ErrFull", what, err)
	}
}

// A device that takes nothing, which every user can write to.
func TestFullDevice(t *testing.T) {
	t.Parallel()
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{store: newStore(t, t.TempDir()), part: recording.Part{Number: 1, Ref: "1-1"}, file: f, isNew: true}
	wantFull(t, "Write", writeAll(t.Context(), w, []byte("sound")))
	wantFull(t, "the next Write", writeAll(t.Context(), w, []byte("sound")))
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// Nothing may be written here.
func TestNoPermission(t *testing.T) {
	t.Parallel()
	s := newStore(t, t.TempDir())
	id, parts, _ := upload(t, s, 1)
	w, err := s.NewWriter(t.Context(), row(id, 2, parts, false))
	if err != nil {
		t.Fatal(err)
	}
	defer takePermission(t, s)()
	_, writeErr := w.Write([]byte("sound"))
	_, adoptErr := s.NewWriter(t.Context(), row(id, 2, parts, true))
	_, putErr := s.Put(t.Context(), "object", bytes.NewReader(nil))
	for what, err := range map[string]error{
		"Write": writeErr, "NewWriter": adoptErr, "Put": putErr,
		"Assemble": s.Assemble(t.Context(), whole(id, "object", parts)), "Check": s.Check(t.Context()),
		"DiscardParts": s.DiscardParts(t.Context(), recording.Upload{ID: id}),
	} {
		if !errors.Is(err, syscall.EACCES) || recording.CodeOf(err) != recording.CodeInternal {
			t.Errorf("%s = %v, want EACCES", what, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// takePermission makes the store's files inaccessible to this goroutine, and
// returns what gives them back. Root is above modes, so it becomes somebody
// else where files are concerned, in this thread only.
func takePermission(t *testing.T, s *Store) func() {
	t.Helper()
	if os.Geteuid() == 0 {
		runtime.LockOSThread() // for good: the thread ends with the test
		if err := syscall.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := syscall.Setfsuid(0); err != nil {
				t.Error(err)
			}
		}
	}
	chmod := func(mode os.FileMode) {
		for _, dir := range []string{objectsDir, partsDir, tempDir} {
			if err := s.root.Chmod(dir, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	chmod(0)
	return func() { chmod(dirMode) }
}
