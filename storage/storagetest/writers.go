package storagetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/google/go-cmp/cmp"

	"reprise/recording"
	"reprise/storage"
)

var writerTests = map[string]func(*suite){
	"writer/one":              testOneWriter,
	"writer/adopts":           testAdopt,
	"writer/doesNotAdopt":     testNoAdopt,
	"writer/uncommitted":      testUncommittedIgnored,
	"writer/stale":            testStaleWriter,
	"writer/staleBeforeFirst": testStaleBeforeFirst,
	"writer/lostPart":         testLostPart,
	"writer/writesNothing":    testWritesNothing,
	"writer/closed":           testClosedWriter,
	"writer/canceled":         testCanceledFlush,
	"writer/manyUploads":      testManyUploads,
	"writer/bigChunks":        testBigChunks,
}

func testOneWriter(s *suite) {
	u := s.newUpload()
	u.send(false, Pattern(1, 1), Pattern(2, 1000), Pattern(3, 300_000), Pattern(4, 7))
	u.assemble()
}

func testAdopt(s *suite) {
	u := s.newUpload()
	u.send(false, Pattern(1, 1000))
	first := u.row.Parts[0]
	u.send(true, Pattern(2, 500), Pattern(3, 500))
	u.send(true, Pattern(4, 1))
	if u.row.Parts[0].Number != first.Number || u.row.Parts[0].Ref != first.Ref {
		s.Errorf("the first part changed from %+v to %+v", first, u.row.Parts[0])
	}
	u.assemble()
}

func testNoAdopt(s *suite) {
	u := s.newUpload()
	for i := range 3 {
		u.send(false, Pattern(byte(i), 1000))
	}
	want := []int{1, 2, 3}
	var got []int
	for _, part := range u.row.Parts {
		got = append(got, part.Number)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.Errorf("part numbers (-want +got):\n%s", diff)
	}
	u.assemble()
}

// Bytes that were written, or flushed and not committed, count for nothing.
func testUncommittedIgnored(s *suite) {
	for _, adopt := range []bool{true, false} {
		for _, flush := range []bool{true, false} {
			u := s.newUpload()
			w := u.writer(false)
			u.write(w, Pattern(1, 1000))
			u.writeOnly(w, Pattern(9, 5000))
			if flush {
				if _, err := w.Flush(s.ctx); err != nil {
					s.Fatalf("Flush: %v", err)
				}
			}
			u.close(w)
			u.send(adopt, Pattern(2, 100))
			u.assemble()

			u = s.newUpload() // and at the end, where no later byte covers them
			w = u.writer(false)
			u.write(w, Pattern(1, 1000))
			u.writeOnly(w, Pattern(9, 5000))
			if flush {
				if _, err := w.Flush(s.ctx); err != nil {
					s.Fatalf("Flush: %v", err)
				}
			}
			u.close(w)
			u.assemble()
		}
	}
}

// A writer that hangs and comes back after a later one, at every point, changes
// nothing that counts. Whether it is told so is left open.
func testStaleWriter(s *suite) {
	u := s.newUpload()
	stale := u.writer(false)
	u.write(stale, Pattern(1, 1000))
	intrude := func() {
		_, _ = stale.Write(Pattern(9, 10_000))
		_, _ = stale.Flush(s.ctx)
	}
	w := u.writer(false)
	intrude()
	u.write(w, Pattern(2, 1000))
	intrude()
	u.write(w, Pattern(3, 1000))
	u.close(w)
	intrude()
	u.assemble()
	intrude()
	u.wantObject(u.row.ObjectKey, u.content)
	_ = stale.Close()
	u.wantObject(u.row.ObjectKey, u.content)
	u.assemble()

	// The upload is complete with the stale writer's own part.
	u = s.newUpload()
	stale = u.writer(false)
	u.write(stale, Pattern(1, 1000))
	u.writeOnly(stale, Pattern(9, 10))
	u.assemble()
	intrude()
	u.wantObject(u.row.ObjectKey, u.content)
	u.discard()
	intrude()
	_ = stale.Close()
	u.wantObject(u.row.ObjectKey, u.content)
	u.assemble()
}

// Both writers begin the first part: they must not meet in it.
func testStaleBeforeFirst(s *suite) {
	u := s.newUpload()
	stale := u.writer(false)
	u.writeOnly(stale, Pattern(9, 5000))
	w := u.writer(false)
	u.write(w, Pattern(1, 1000))
	if _, err := stale.Flush(s.ctx); err != nil {
		s.Fatalf("Flush: %v", err)
	}
	u.write(w, Pattern(2, 1000))
	_ = stale.Close()
	u.close(w)
	u.assemble()
}

// Whether somebody notices at once is left open, and a storage that still has the
// bytes elsewhere has not lost them.
func testLostPart(s *suite) {
	u := s.newUpload()
	u.send(false, Pattern(1, 1000))
	s.sweep()
	_, err := s.store.NewWriter(s.ctx, recording.Upload{ID: u.row.ID, Epoch: 2, ObjectKey: u.row.ObjectKey, Parts: u.row.Parts})
	if err == nil {
		err = s.store.Assemble(s.ctx, u.row)
	}
	if err == nil {
		u.assemble()
		return
	}
	if !errors.Is(err, storage.ErrLost) || recording.CodeOf(err) != recording.CodeUploadGone {
		s.Errorf("NewWriter or Assemble = %v, want ErrLost", err)
	}
}

func testWritesNothing(s *suite) {
	u := s.newUpload()
	w := u.writer(false)
	u.commit(w, nil)
	u.close(w)
	if len(u.row.Parts) != 0 {
		s.Errorf("parts of nothing: %+v", u.row.Parts)
	}
	s.wantEmpty()
	u.send(true, Pattern(1, 1000))
	before := len(u.row.Parts)
	w = u.writer(true)
	u.writeOnly(w, nil)
	u.commit(w, nil)
	u.close(w)
	if len(u.row.Parts) != before {
		s.Errorf("parts of nothing: %+v", u.row.Parts)
	}
	u.assemble()
}

func testClosedWriter(s *suite) {
	u := s.newUpload()
	w := u.writer(false)
	u.write(w, Pattern(1, 1000))
	u.close(w)
	u.close(w)
	if n, err := w.Write([]byte("x")); n != 0 || err == nil {
		s.Errorf("Write after Close = %d, %v", n, err)
	}
	if _, err := w.Flush(s.ctx); err == nil {
		s.Error("Flush after Close succeeds")
	}
	u.assemble()
}

// A Flush that was called too late changes nothing: the next may succeed.
func testCanceledFlush(s *suite) {
	u := s.newUpload()
	w := u.writer(false)
	p := Pattern(1, 1000)
	u.writeOnly(w, p)
	canceled, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := w.Flush(canceled); !errors.Is(err, context.Canceled) {
		s.Errorf("Flush = %v, want context.Canceled", err)
	}
	u.commit(w, p)
	u.close(w)
	u.assemble()
}

func testManyUploads(s *suite) {
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for round := range 4 {
				if err := s.smallUpload(byte(i), round%2 == 0); err != nil {
					s.Error(err)
				}
			}
		})
	}
	group.Wait()
	if got := len(s.entries()[recording.StoredObject]); got != 32 {
		s.Errorf("List reports %d objects of 32", got)
	}
}

// smallUpload makes an upload of two parts without ending the test's goroutine.
func (s *suite) smallUpload(seed byte, adopt bool) error {
	u := s.newUpload()
	for epoch := range int64(2) {
		u.row.Epoch, u.row.WriterOpen = epoch+1, !adopt
		w, err := s.store.NewWriter(s.ctx, u.row)
		if err != nil {
			return fmt.Errorf("new writer: %w", err)
		}
		for range 4 {
			if _, err := w.Write(Pattern(seed, 10_000)); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
		flushed, err := w.Flush(s.ctx)
		if err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		u.record(flushed)
		if err := w.Close(); err != nil {
			return fmt.Errorf("close: %w", err)
		}
	}
	if err := s.store.Assemble(s.ctx, u.row); err != nil {
		return fmt.Errorf("assemble: %w", err)
	}
	object, err := s.store.Open(s.ctx, u.row.ObjectKey)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if got := object.Info().SizeBytes; got != 80_000 {
		return fmt.Errorf("the object has %d bytes of 80000", got)
	}
	return errors.Join(object.Close(), s.store.DiscardParts(s.ctx, u.row))
}

// More than any store buffers or writes in one piece.
func testBigChunks(s *suite) {
	u := s.newUpload()
	u.send(false, Pattern(1, 6<<20), Pattern(2, 1), Pattern(3, 5<<20))
	u.send(true, Pattern(4, 1<<20))
	u.send(false, Pattern(5, 7<<20))
	u.assemble()
}
