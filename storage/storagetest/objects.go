package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing/iotest"

	"github.com/google/uuid"

	"reprise/recording"
	"reprise/storage"
)

var assembleTests = map[string]func(*suite){
	"assemble/nothing":  testAssembleNothing,
	"assemble/again":    testAssembleAgain,
	"assemble/canceled": testAssembleCanceled,
	"assemble/lost":     testAssembleLost,
	"assemble/twice":    testAssembleConcurrently,
	"check/parts":       testCheckParts,
	"discard/nothing":   testDiscardNothing,
	"discard/all":       testDiscardUncommitted,
}

// oneToThree calls test with uploads of one, two and three parts.
func (s *suite) oneToThree(test func(*upload)) {
	for n := 1; n <= 3; n++ {
		u := s.newUpload()
		for i := range n {
			u.send(false, Pattern(byte(i), 1000+i))
		}
		test(u)
	}
}

func testAssembleNothing(s *suite) {
	u := s.newUpload()
	u.assemble()
	u.assemble()
}

// As after a crash before the ledger heard of the success.
func testAssembleAgain(s *suite) {
	s.oneToThree(func(u *upload) {
		u.assemble()
		u.assemble()
		u.discard()
		u.assemble()
	})
}

func testAssembleCanceled(s *suite) {
	canceled, cancel := context.WithCancel(s.ctx)
	cancel()
	s.oneToThree(func(u *upload) {
		if err := s.store.Assemble(canceled, u.row); !errors.Is(err, context.Canceled) {
			s.Errorf("Assemble = %v, want context.Canceled", err)
		}
		u.assemble()
	})
}

// Neither a missing part nor one that was never there becomes an object. A storage
// that still has the bytes elsewhere has not lost them.
func testAssembleLost(s *suite) {
	s.oneToThree(func(u *upload) {
		s.sweep()
		err := s.store.Assemble(s.ctx, u.row)
		if err == nil {
			u.assemble()
			return
		}
		if !errors.Is(err, storage.ErrLost) {
			s.Errorf("Assemble without parts = %v, want ErrLost", err)
		}
		if _, err := s.store.Open(s.ctx, u.row.ObjectKey); !errors.Is(err, storage.ErrNotFound) {
			s.Errorf("Open = %v, want ErrNotFound", err)
		}
		s.put(u.row.ObjectKey, []byte("another size"))
		if err := s.store.Assemble(s.ctx, u.row); !errors.Is(err, storage.ErrLost) {
			s.Errorf("Assemble beside an object of another size = %v, want ErrLost", err)
		}
	})
	if left := s.entries()[recording.StoredTemp]; len(left) != 0 {
		s.Errorf("Assemble left %+v", left)
	}
}

// Two workers hold the same job.
func testAssembleConcurrently(s *suite) {
	s.oneToThree(func(u *upload) {
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				if err := s.store.Assemble(s.ctx, u.row); err != nil {
					s.Errorf("Assemble: %v", err)
				}
			})
		}
		group.Wait()
		s.wantObject(u.row.ObjectKey, u.content)
	})
}

func testCheckParts(s *suite) {
	check := func(u *upload) {
		if err := s.store.CheckParts(s.ctx, u.row); err != nil {
			s.Errorf("CheckParts of %d parts = %v", len(u.row.Parts), err)
		}
		if found := s.entries(); len(found[recording.StoredParts])+len(found[recording.StoredMultipart]) == 0 {
			return // the ledger itself has the bytes
		}
		s.sweep()
		if err := s.store.CheckParts(s.ctx, u.row); !errors.Is(err, storage.ErrLost) {
			s.Errorf("CheckParts of %d parts that are gone = %v, want ErrLost", len(u.row.Parts), err)
		}
	}
	check(s.newUpload())
	s.oneToThree(check)
	large := s.newUpload()
	large.send(false, Pattern(1, 9<<20))
	large.send(false, Pattern(2, 1000))
	check(large)
	canceled, cancel := context.WithCancel(s.ctx)
	cancel()
	if err := s.store.CheckParts(canceled, large.row); !errors.Is(err, context.Canceled) {
		s.Errorf("CheckParts = %v, want context.Canceled", err)
	}
}

func testDiscardNothing(s *suite) {
	s.newUpload().discard()
}

func testDiscardUncommitted(s *suite) {
	u := s.newUpload()
	u.send(false, Pattern(1, 1000))
	stale := u.writer(false)
	u.writeOnly(stale, Pattern(9, 1000))
	if _, err := stale.Flush(s.ctx); err != nil {
		s.Fatalf("Flush: %v", err)
	}
	other := s.newUpload()
	other.send(false, Pattern(2, 1000))
	u.discard()
	_ = stale.Close()
	other.assemble()
	other.discard()
	if err := s.store.Delete(s.ctx, other.row.ObjectKey); err != nil {
		s.Fatalf("Delete: %v", err)
	}
	s.sweep() // the stale writer's
	s.wantEmpty()
}

var objectTests = map[string]func(*suite){
	"object/put":        testPut,
	"object/replaced":   testReplaced,
	"object/failedRead": testPutFails,
	"object/seek":       testSeek,
	"object/notFound":   testNotFound,
	"object/delete":     testDelete,
	"object/fetch":      testFetch,
	"object/keys":       testKeys,
	"object/check":      testCheck,
}

func testPut(s *suite) {
	for _, n := range []int{0, 1, 100_000, 6 << 20} {
		s.put("object", Pattern(byte(n), n))
		s.wantObject("object", Pattern(byte(n), n))
	}
	s.put("a/b/c.dat", []byte("deep"))
	s.put("a/b/d.dat", []byte("deeper"))
	s.wantObject("a/b/c.dat", []byte("deep"))
	// One that is open is not disturbed by the next.
	object, err := s.store.Open(s.ctx, "a/b/c.dat")
	if err != nil {
		s.Fatalf("Open: %v", err)
	}
	defer object.Close()
	s.put("a/b/c.dat", []byte("other bytes"))
	if got, err := io.ReadAll(object); string(got) != "deep" || err != nil {
		s.Errorf("the open object reads %q, %v", got, err)
	}
	s.wantObject("a/b/c.dat", []byte("other bytes"))
}

// A large object that is replaced or deleted while it is read is still there, or
// not there: never a mixture.
func testReplaced(s *suite) {
	const n = 3 << 20
	for name, change := range map[string]func(){
		"replaced": func() { s.put("replaced", Pattern(2, n)) },
		"deleted": func() {
			if err := s.store.Delete(s.ctx, "deleted"); err != nil {
				s.Errorf("Delete: %v", err)
			}
		},
	} {
		s.put(name, Pattern(1, n))
		object, err := s.store.Open(s.ctx, name)
		if err != nil {
			s.Fatalf("Open: %v", err)
		}
		begin := make([]byte, 100)
		if _, err := io.ReadFull(object, begin); err != nil {
			s.Errorf("%s: %v", name, err)
		}
		change()
		rest, err := io.ReadAll(object)
		got := append(begin, rest...)
		if len(got) > n || !bytes.Equal(got, Pattern(1, n)[:len(got)]) {
			s.Errorf("%s: other bytes from %d on", name, differAt(got, Pattern(1, n)))
		}
		if err == nil && len(got) < n || err != nil && !errors.Is(err, storage.ErrNotFound) {
			s.Errorf("%s: reading ended after %d bytes with %v", name, len(got), err)
		}
		s.close(object)
	}
}

func testPutFails(s *suite) {
	broken := errors.New("broken")
	reader := func() io.Reader {
		return io.MultiReader(bytes.NewReader(Pattern(1, 6<<20)), iotest.ErrReader(broken))
	}
	if _, err := s.store.Put(s.ctx, "new", reader()); !errors.Is(err, broken) {
		s.Errorf("Put = %v, want the reader's error", err)
	}
	s.wantEmpty()
	s.put("old", []byte("old"))
	if _, err := s.store.Put(s.ctx, "old", reader()); !errors.Is(err, broken) {
		s.Errorf("Put = %v, want the reader's error", err)
	}
	s.wantObject("old", []byte("old"))
	canceled, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := s.store.Put(canceled, "old", strings.NewReader("new")); !errors.Is(err, context.Canceled) {
		s.Errorf("Put = %v, want context.Canceled", err)
	}
	s.wantObject("old", []byte("old"))
}

func testSeek(s *suite) {
	content := Pattern(1, 10_000)
	s.put("object", content)
	object, err := s.store.Open(s.ctx, "object")
	if err != nil {
		s.Fatalf("Open: %v", err)
	}
	defer object.Close()
	for _, seek := range []struct {
		offset int64
		whence int
		want   int64
	}{{5000, io.SeekStart, 5000}, {-100, io.SeekCurrent, 5000}, {-10, io.SeekEnd, 9990}, {0, io.SeekStart, 0}, {0, io.SeekEnd, 10_000}} {
		at, err := object.Seek(seek.offset, seek.whence)
		if at != seek.want || err != nil {
			s.Fatalf("Seek(%d, %d) = %d, %v, want %d", seek.offset, seek.whence, at, err, seek.want)
		}
		got := make([]byte, min(100, 10_000-at))
		if _, err := io.ReadFull(object, got); err != nil || !bytes.Equal(got, content[at:at+int64(len(got))]) {
			s.Fatalf("wrong bytes at %d: %v", at, err)
		}
	}
	if _, err := object.Seek(0, io.SeekStart); err != nil {
		s.Fatal(err)
	}
	if err := iotest.TestReader(object, content); err != nil {
		s.Error(err)
	}
}

func testNotFound(s *suite) {
	s.put("folder/object", []byte("x"))
	for _, key := range []string{"missing", "folder", "folder/missing", "folder/object/below", "missing/missing"} {
		if _, err := s.store.Open(s.ctx, key); !errors.Is(err, storage.ErrNotFound) || recording.CodeOf(err) != recording.CodeNotFound {
			s.Errorf("Open(%q) = %v, want ErrNotFound", key, err)
		}
		if _, err := s.store.Stat(s.ctx, key); !errors.Is(err, storage.ErrNotFound) {
			s.Errorf("Stat(%q) = %v, want ErrNotFound", key, err)
		}
		path := filepath.Join(s.TempDir(), "file")
		if err := s.store.Fetch(s.ctx, key, path); !errors.Is(err, storage.ErrNotFound) {
			s.Errorf("Fetch(%q) = %v, want ErrNotFound", key, err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			s.Errorf("Fetch(%q) left a file: %v", key, err)
		}
	}
}

func testDelete(s *suite) {
	s.put("a/b/one", []byte("1"))
	s.put("a/two", []byte("2"))
	for _, key := range []string{"a/b/one", "a/b/one", "a/b/never", "never"} {
		if err := s.store.Delete(s.ctx, key); err != nil {
			s.Errorf("Delete(%q): %v", key, err)
		}
	}
	if _, err := s.store.Open(s.ctx, "a/b/one"); !errors.Is(err, storage.ErrNotFound) {
		s.Errorf("Open = %v, want ErrNotFound", err)
	}
	s.wantObject("a/two", []byte("2"))
	// In a folder that comes and goes.
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 20 {
				key := "busy/folder/" + uuid.NewString()
				if _, err := s.store.Put(s.ctx, key, strings.NewReader("x")); err != nil {
					s.Errorf("Put: %v", err)
				}
				if err := s.store.Delete(s.ctx, key); err != nil {
					s.Errorf("Delete: %v", err)
				}
			}
		})
	}
	group.Wait()
}

func testFetch(s *suite) {
	content := Pattern(1, 100_000)
	s.put("a/object", content)
	path := filepath.Join(s.TempDir(), "file")
	if err := s.store.Fetch(s.ctx, "a/object", path); err != nil {
		s.Fatalf("Fetch: %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		s.Fatalf("the file has %d bytes of %d: %v", len(got), len(content), err)
	}
	if err := s.store.Fetch(s.ctx, "a/object", path); !errors.Is(err, os.ErrExist) {
		s.Errorf("Fetch over a file = %v, want os.ErrExist", err)
	}
	if err := os.Remove(path); err != nil {
		s.Fatal(err)
	}
	s.wantObject("a/object", content)
}

func testKeys(s *suite) {
	u := s.newUpload()
	u.send(false, Pattern(1, 10))
	for _, key := range []string{
		"", "/", ".", "..", "/etc/passwd", "../object", "a/../../b", "a//b", "a/", "a/./b", ".hidden", "tmp/a",
		"a\\b", "a b", "a\x00b", "a\nb", "%2e%2e/a", "ü", "a:b", "a*", strings.Repeat("n", 201), strings.Repeat("a/", 300) + "a",
	} {
		_, putErr := s.store.Put(s.ctx, key, strings.NewReader("x"))
		_, openErr := s.store.Open(s.ctx, key)
		errs := map[string]error{
			"Put": putErr, "Open": openErr,
			"Fetch":    s.store.Fetch(s.ctx, key, filepath.Join(s.TempDir(), "file")),
			"Assemble": s.store.Assemble(s.ctx, recording.Upload{ID: u.row.ID, ObjectKey: key, Parts: u.row.Parts}),
			"Delete":   s.store.Delete(s.ctx, key),
			"Remove":   s.store.Remove(s.ctx, storage.Entry{Kind: recording.StoredObject, Key: key}),
		}
		for what, err := range errs {
			if !errors.Is(err, storage.ErrInvalidKey) {
				s.Errorf("%s(%q) = %v, want ErrInvalidKey", what, key, err)
			}
		}
	}
	temp := storage.Entry{Kind: recording.StoredTemp, Key: storage.TempPrefix + "../objects/a"}
	if err := s.store.Remove(s.ctx, temp); !errors.Is(err, storage.ErrInvalidKey) {
		s.Errorf("Remove = %v, want ErrInvalidKey", err)
	}
	long := strings.Repeat(strings.Repeat("n", 127)+"/", 3) + strings.Repeat("n", 128)
	s.put(long, []byte("as long as allowed"))
	s.wantObject(long, []byte("as long as allowed"))
	u.assemble()
}

func testCheck(s *suite) {
	if err := s.store.Check(s.ctx); err != nil {
		s.Errorf("Check: %v", err)
	}
	s.wantEmpty()
}
