package s3

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"

	"reprise/recording"
)

// ledger is the little of the catalog that uploads need: the bytes of inline parts.
type ledger struct {
	mu      sync.Mutex
	inline  map[uuid.UUID]map[int][]byte
	settled int   // calls of Settle
	down    error // what Settle answers
}

func newLedger() *ledger { return &ledger{inline: make(map[uuid.UUID]map[int][]byte)} }

func (l *ledger) InlineParts(_ context.Context, id uuid.UUID, numbers []int) ([][]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list [][]byte
	for _, number := range numbers {
		p, ok := l.inline[id][number]
		if !ok {
			return nil, recording.ErrNotFound
		}
		list = append(list, p)
	}
	return list, nil
}

func (l *ledger) Settle(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled++
	return l.down
}

// upload is an upload with its row in the ledger, and what it must hold.
type upload struct {
	t       testing.TB
	ledger  *ledger
	row     recording.Upload
	content []byte // committed
	file    []byte // all of it
	marks   map[int64]bool
}

// newUpload makes one of n bytes; its length is known unless deferred.
func newUpload(t testing.TB, l *ledger, n int, deferred bool) *upload {
	id := recording.NewID()
	u := &upload{t: t, ledger: l, file: noise(n), marks: map[int64]bool{}}
	u.row = recording.Upload{ID: id, State: recording.UploadReceiving, ObjectKey: "recordings/" + id.String() + "/original"}
	if !deferred {
		u.declare()
	}
	return u
}

// declare says the length.
func (u *upload) declare() {
	n := int64(len(u.file))
	u.row.Length = &n
}

// acquire takes the upload over for a writer, as the catalog does.
func (u *upload) acquire() recording.Upload {
	u.row.Epoch++
	row := u.row
	row.Parts = slices.Clone(row.Parts)
	u.row.PartNumber += recording.PartWindow
	u.row.WriterOpen = true
	return row
}

// request is a PATCH: it writes to a store as package upload does.
type request struct {
	*upload
	w      recording.PartWriter
	before int // PartNumber when it was acquired
	at     int64
}

func (u *upload) begin(s *Store) *request {
	u.t.Helper()
	row := u.acquire()
	w, err := s.NewWriter(u.t.Context(), row)
	if err != nil {
		u.t.Fatalf("NewWriter: %v", err)
	}
	return &request{u, w, row.PartNumber, int64(len(u.content))}
}

// write writes the next n bytes of the file, in pieces as the network gives them.
func (r *request) write(n int) error {
	for n > 0 {
		room := r.w.Room()
		if room == 0 {
			if err := r.flush(recording.PartWriter.Flush, false); err != nil {
				return err
			}
			continue
		}
		p := int(min(room, int64(n), 512<<10))
		if _, err := r.w.Write(r.file[r.at : r.at+int64(p)]); err != nil {
			return err
		}
		n -= p
		r.at += int64(p)
		if int64(p) == room {
			r.marks[r.at] = true
		}
	}
	return nil
}

// some commits as a running request does.
func (r *request) some() error { return r.flush(recording.PartWriter.FlushSome, false) }

// end commits and closes.
func (r *request) end() error {
	err := r.flush(recording.PartWriter.Flush, true)
	return errors.Join(err, r.w.Close())
}

func (r *request) flush(flush func(recording.PartWriter, context.Context) (recording.Flushed, error), last bool) error {
	flushed, err := flush(r.w, r.t.Context())
	if err != nil {
		return err
	}
	if last {
		if err := r.w.Close(); err != nil { // before the commit, as package upload does
			return err
		}
	}
	if flushed.Offset != r.at && !r.marks[flushed.Offset] && flushed.Offset != int64(len(r.content)) {
		r.t.Errorf("a flush ends at %d, where no commit can end", flushed.Offset)
	}
	if flushed.Offset == int64(len(r.content)) && !last {
		if len(flushed.Parts) > 0 {
			r.t.Errorf("a flush reports parts, and nothing to commit: %+v", flushed)
		}
		return nil
	}
	r.commit(flushed)
	r.row.PartNumber = max(r.before, flushed.PartNumber)
	if last {
		r.row.WriterOpen = false
	} else {
		r.row.PartNumber += recording.PartWindow
	}
	return nil
}

// commit is the ledger's transaction.
func (u *upload) commit(f recording.Flushed) {
	u.t.Helper()
	u.ledger.mu.Lock()
	defer u.ledger.mu.Unlock()
	kept := u.ledger.inline[u.row.ID]
	if kept == nil {
		kept = make(map[int][]byte)
		u.ledger.inline[u.row.ID] = kept
	}
	for _, number := range f.Dropped {
		i := slices.IndexFunc(u.row.Parts, func(p recording.Part) bool { return p.Number == number })
		if i < 0 {
			u.t.Fatalf("part %d is dropped, which is not there: %+v", number, u.row.Parts)
		}
		u.row.Parts = slices.Delete(u.row.Parts, i, i+1)
		delete(kept, number)
	}
	for _, part := range f.Parts {
		if n := len(u.row.Parts); n > 0 && part.Number <= u.row.Parts[n-1].Number {
			u.t.Fatalf("part %+v comes behind %+v", part, u.row.Parts[n-1])
		}
		if part.Inline != nil {
			kept[part.Number] = bytes.Clone(part.Inline)
			part.Inline = nil
		}
		u.row.Parts = append(u.row.Parts, part)
	}
	u.row.MultipartID = cmp.Or(f.MultipartID, u.row.MultipartID)
	u.row.ObjectKey = cmp.Or(f.ObjectKey, u.row.ObjectKey)
	u.row.Segmented = u.row.Segmented || f.Segmented
	u.content = u.file[:f.Offset]
	if got := sizeOf(u.row.Parts); got != f.Offset {
		u.t.Fatalf("the parts have %d bytes, committed are %d: %+v", got, f.Offset, u.row.Parts)
	}
}

// patch is a whole request of n bytes.
func (u *upload) patch(s *Store, n int) {
	u.t.Helper()
	r := u.begin(s)
	if err := errors.Join(r.write(n), r.end()); err != nil {
		u.t.Fatalf("PATCH at %d: %v", len(u.content), err)
	}
}

// patches sends the whole file in requests of n bytes, to one store after the other.
func (u *upload) patches(n int, stores ...*Store) {
	u.t.Helper()
	for i := 0; len(u.content) < len(u.file); i++ {
		u.patch(stores[i%len(stores)], min(n, len(u.file)-len(u.content)))
	}
}

// assemble assembles and compares.
func (u *upload) assemble(s *Store) {
	u.t.Helper()
	if err := s.Assemble(u.t.Context(), u.row); err != nil {
		u.t.Fatalf("Assemble: %v", err)
	}
	u.wantObject(s)
}

func (u *upload) wantObject(s *Store) {
	u.t.Helper()
	if err := u.compare(s); err != nil {
		u.t.Fatal(err)
	}
}

func (u *upload) compare(s *Store) error {
	object, err := s.Open(context.Background(), u.row.ObjectKey)
	if err != nil {
		return fmt.Errorf("Open: %w", err)
	}
	defer object.Close()
	got, err := io.ReadAll(object)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if !bytes.Equal(got, u.file) {
		return fmt.Errorf("the object has %d bytes that are not the %d of the file", len(got), len(u.file))
	}
	return nil
}

// wantNoMemory checks that the store holds nothing but cached tails.
func wantNoMemory(t testing.TB, s *Store) {
	t.Helper()
	if used, cached := s.memory.inUse(); used != cached {
		t.Errorf("%d bytes of memory are held, %d of them cached", used, cached)
	}
}

// noise returns n bytes, which no other part of the file repeats.
func noise(n int) []byte {
	p := make([]byte, n)
	source := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = source.Read(p) // never fails
	return p
}
