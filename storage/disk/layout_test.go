package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reprise/storage"
)

// Links that lead outside are not followed.
func TestSymbolicLinks(t *testing.T) {
	t.Parallel()
	s := newStore(t, t.TempDir())
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), fileMode); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(s.root.Name(), objectsDir, "out")); err != nil {
		t.Fatal(err)
	}
	_, openErr := s.Open(t.Context(), "out/secret")
	_, putErr := s.Put(t.Context(), "out/new", strings.NewReader("new"))
	for what, err := range map[string]error{
		"Open": openErr, "Put": putErr,
		"Fetch":  s.Fetch(t.Context(), "out/secret", filepath.Join(t.TempDir(), "file")),
		"Delete": s.Delete(t.Context(), "out/secret"),
	} {
		if err == nil {
			t.Errorf("%s follows a link to the outside", what)
		}
	}
	left, err := os.ReadDir(outside)
	if len(left) != 1 || err != nil {
		t.Errorf("outside: %v, %v", left, err)
	}
	if err := s.List(t.Context(), func(entry storage.Entry) error { return errors.New(entry.Key) }); err != nil {
		t.Errorf("List reports %v", err)
	}
}

// List leaves out what others put below the root, and reports what a crash
// left in tmp.
func TestListForeignFiles(t *testing.T) {
	t.Parallel()
	s := newStore(t, t.TempDir())
	for _, name := range []string{"objects/.hidden", "objects/a b", "parts/file", "parts/" + strings.Repeat("0", 32), "tmp/.hidden", "tmp/left"} {
		if err := s.root.WriteFile(name, []byte("sound"), fileMode); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	err := s.List(t.Context(), func(entry storage.Entry) error {
		got = append(got, fmt.Sprint(entry.Kind, " ", entry.Key, " ", entry.SizeBytes))
		return s.Remove(t.Context(), entry)
	})
	if diff := cmp.Diff([]string{"temp tmp/left 5"}, got); diff != "" || err != nil {
		t.Errorf("List: %v (-want +got):\n%s", err, diff)
	}
	if _, err := s.root.Stat("tmp/left"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Remove left it: %v", err)
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	s := newStore(t, filepath.Join(t.TempDir(), "new", "root"))
	id, _, _ := upload(t, s, 1)
	if _, err := s.Put(t.Context(), "a/object", strings.NewReader("sound")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{
		".": os.ModeDir | dirMode, "objects/a": os.ModeDir | dirMode, "objects/a/object": fileMode,
		partPath(id, ""): os.ModeDir | dirMode, partPath(id, "1-1"): fileMode,
	} {
		if info, err := s.root.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("mode of %s = %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}

// Delete leaves no empty folders behind.
func TestDeletePrunes(t *testing.T) {
	t.Parallel()
	s := newStore(t, t.TempDir())
	for _, key := range []string{"a/b/c/one", "a/two"} {
		if _, err := s.Put(t.Context(), key, strings.NewReader("sound")); err != nil {
			t.Fatal(err)
		}
	}
	for _, deletion := range []struct{ key, gone, stays string }{
		{"a/b/c/one", "objects/a/b", "objects/a"},
		{"a/two", "objects/a", "objects"},
	} {
		if err := s.Delete(t.Context(), deletion.key); err != nil {
			t.Fatal(err)
		}
		if _, err := s.root.Stat(deletion.gone); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", deletion.gone, err)
		}
		if _, err := s.root.Stat(deletion.stays); err != nil {
			t.Error(err)
		}
	}
}

func TestNewFails(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, fileMode); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below")} {
		if s, err := New(path); err == nil {
			t.Errorf("New(%q) succeeds", path)
			_ = s.Close()
		}
	}
}

// An object is handed out as a file, so that net/http can use sendfile.
func TestObjectIsFile(t *testing.T) {
	t.Parallel()
	s := newStore(t, t.TempDir())
	if _, err := s.Put(t.Context(), "object", strings.NewReader("sound")); err != nil {
		t.Fatal(err)
	}
	object, err := s.Open(t.Context(), "object")
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	if _, ok := object.(syscall.Conn); !ok {
		t.Error("the object has no file descriptor to send from")
	}
	var w io.Writer = io.Discard
	if n, err := io.Copy(w, object); n != 5 || err != nil {
		t.Errorf("Copy = %d, %v", n, err)
	}
}
