// Package storagetest is the conformance suite of storage.Store: every
// implementation runs it, and it uses nothing but the interface.
//
// It shows what an implementation does with parts, objects and what is left of
// unfinished work. It can't show durability; that is for the tests of each
// implementation.
package storagetest

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"

	"reprise/recording"
	"reprise/storage"
)

// Run runs the suite. Open returns a store with nothing in it and registers
// what there is to clean up; it is called once per test, and tests run in
// parallel.
// The Ledger that it gets keeps the inline parts of the test's uploads.
func Run(t *testing.T, open func(t *testing.T, ledger *Ledger) storage.Store) {
	t.Helper()
	for _, group := range []map[string]func(*suite){writerTests, assembleTests, objectTests, listTests} {
		for name, test := range group {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				ledger := &Ledger{parts: make(map[uuid.UUID]map[int][]byte)}
				test(&suite{T: t, ctx: t.Context(), store: open(t, ledger), ledger: ledger})
			})
		}
	}
}

// suite is one test with its store.
type suite struct {
	*testing.T
	ctx    context.Context
	store  storage.Store
	ledger *Ledger
}

// Ledger keeps the bytes of inline parts, as the catalog does.
type Ledger struct {
	mu    sync.Mutex
	parts map[uuid.UUID]map[int][]byte
}

// Settle has nothing to do: nothing is forgotten here.
func (l *Ledger) Settle(context.Context) error { return nil }

func (l *Ledger) keep(id uuid.UUID, part recording.Part) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.parts[id] == nil {
		l.parts[id] = make(map[int][]byte)
	}
	l.parts[id][part.Number] = slices.Clone(part.Inline)
}

// drop forgets the bytes of parts that were dropped.
func (l *Ledger) drop(id uuid.UUID, numbers []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, number := range numbers {
		delete(l.parts[id], number)
	}
}

// bytes returns how many bytes of an upload the ledger has.
func (l *Ledger) bytes(id uuid.UUID) (n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, part := range l.parts[id] {
		n += int64(len(part))
	}
	return n
}

// InlineParts returns the bytes of an upload's inline parts.
func (l *Ledger) InlineParts(_ context.Context, id uuid.UUID, numbers []int) ([][]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list [][]byte
	for _, number := range numbers {
		p, ok := l.parts[id][number]
		if !ok {
			return nil, recording.ErrNotFound
		}
		list = append(list, p)
	}
	return list, nil
}

// upload is the little of a ledger that an upload needs: its row, and what its
// committed parts must hold.
type upload struct {
	*suite
	row     recording.Upload
	content []byte
}

func (s *suite) newUpload() *upload {
	id := recording.NewID()
	return &upload{suite: s, row: recording.Upload{ID: id, ObjectKey: "recordings/" + id.String() + "/original"}}
}

// writer begins an epoch and returns its writer.
func (u *upload) writer(adopt bool) recording.PartWriter {
	u.Helper()
	u.row.Epoch++
	row := u.row
	row.Parts, row.WriterOpen = slices.Clone(u.row.Parts), !adopt
	u.row.PartNumber += recording.PartWindow
	w, err := u.store.NewWriter(u.ctx, row)
	if err != nil {
		u.Fatalf("NewWriter: %v", err)
	}
	return w
}

// write writes p and commits it.
func (u *upload) write(w recording.PartWriter, p []byte) {
	u.Helper()
	u.writeOnly(w, p)
	u.commit(w, p)
}

func (u *upload) writeOnly(w recording.PartWriter, p []byte) {
	u.Helper()
	for len(p) > 0 {
		n := int(min(w.Room(), int64(len(p))))
		if n == 0 {
			u.Fatal("the writer has no room, and a commit was not due yet")
		}
		if written, err := w.Write(p[:n]); written != n || err != nil {
			u.Fatalf("Write of %d bytes = %d, %v", n, written, err)
		}
		p = p[n:]
	}
}

// commit flushes, and records what the ledger does. P is what was written since
// the last commit.
func (u *upload) commit(w recording.PartWriter, p []byte) {
	u.Helper()
	flushed, err := w.Flush(u.ctx)
	if err != nil {
		u.Fatalf("Flush: %v", err)
	}
	u.content = append(u.content, p...)
	u.record(flushed)
	if flushed.Offset != int64(len(u.content)) {
		u.Fatalf("Flush says that %d bytes are durable of %d", flushed.Offset, len(u.content))
	}
}

// record is the ledger's transaction.
func (u *upload) record(flushed recording.Flushed) {
	u.Helper()
	for _, part := range flushed.Parts {
		if part.Inline != nil {
			u.ledger.keep(u.row.ID, part)
			part.Inline = nil
		}
		i := slices.IndexFunc(u.row.Parts, func(old recording.Part) bool { return old.Number == part.Number })
		switch {
		case i < 0:
			u.row.Parts = append(u.row.Parts, part)
		case u.row.Parts[i].Ref != part.Ref || u.row.Parts[i].Size > part.Size:
			u.Fatalf("Flush made part %+v of %+v", part, u.row.Parts[i])
		default:
			u.row.Parts[i] = part
		}
	}
	u.row.Parts = slices.DeleteFunc(u.row.Parts, func(part recording.Part) bool {
		return slices.Contains(flushed.Dropped, part.Number)
	})
	u.ledger.drop(u.row.ID, flushed.Dropped)
	u.row.MultipartID = cmp.Or(flushed.MultipartID, u.row.MultipartID)
	u.row.ObjectKey = cmp.Or(flushed.ObjectKey, u.row.ObjectKey)
	u.row.Segmented = u.row.Segmented || flushed.Segmented
	u.row.PartNumber = max(u.row.PartNumber, flushed.PartNumber+recording.PartWindow)
	if got := size(u.row.Parts); got != flushed.Offset {
		u.Fatalf("the parts have %d bytes, flushed are %d: %+v", got, flushed.Offset, u.row.Parts)
	}
}

// outsideLedger is how many committed bytes of the upload the storage itself has.
func (u *upload) outsideLedger() int64 { return size(u.row.Parts) - u.ledger.bytes(u.row.ID) }

// send is a whole request: it writes and commits chunks with one writer.
func (u *upload) send(adopt bool, chunks ...[]byte) {
	u.Helper()
	w := u.writer(adopt)
	for _, chunk := range chunks {
		u.write(w, chunk)
	}
	u.close(w)
}

func (s *suite) close(c io.Closer) {
	s.Helper()
	if err := c.Close(); err != nil {
		s.Fatalf("Close: %v", err)
	}
}

// assemble assembles the upload and compares the object with its content.
func (u *upload) assemble() {
	u.Helper()
	if err := u.store.Assemble(u.ctx, u.row); err != nil {
		u.Fatalf("Assemble: %v", err)
	}
	u.wantObject(u.row.ObjectKey, u.content)
}

func (u *upload) discard() {
	u.Helper()
	if err := u.store.DiscardParts(u.ctx, u.row); err != nil {
		u.Fatalf("DiscardParts: %v", err)
	}
}

// sweep removes all that is no object, as the janitor does when nobody owns it.
func (s *suite) sweep() {
	s.Helper()
	err := s.store.List(s.ctx, func(entry storage.Entry) error {
		if entry.Kind == recording.StoredObject {
			return nil
		}
		return s.store.Remove(s.ctx, entry)
	})
	if err != nil {
		s.Fatalf("remove what List reports: %v", err)
	}
}

func (s *suite) put(key string, content []byte) {
	s.Helper()
	info, err := s.store.Put(s.ctx, key, bytes.NewReader(content))
	if err != nil {
		s.Fatalf("Put: %v", err)
	}
	if info.Key != key || info.SizeBytes != int64(len(content)) || info.ModifiedAt.IsZero() {
		s.Fatalf("Put of %d bytes as %q = %+v", len(content), key, info)
	}
}

func (s *suite) wantObject(key string, want []byte) {
	s.Helper()
	object, err := s.store.Open(s.ctx, key)
	if err != nil {
		s.Fatalf("Open: %v", err)
	}
	got, err := io.ReadAll(object)
	if err != nil {
		s.Fatalf("read: %v", err)
	}
	s.close(object)
	if !bytes.Equal(got, want) {
		s.Fatalf("the object has %d bytes that differ from the %d expected at %d", len(got), len(want), differAt(got, want))
	}
	if info := object.Info(); info.Key != key || info.SizeBytes != int64(len(want)) || info.ModifiedAt.IsZero() {
		s.Fatalf("Info = %+v, want key %q and %d bytes", info, key, len(want))
	}
	if info, err := s.store.Stat(s.ctx, key); err != nil || info != object.Info() {
		s.Fatalf("Stat = %+v, %v; the object itself says %+v", info, err, object.Info())
	}
}

// entries returns what List reports, by kind.
func (s *suite) entries() map[recording.StoredKind][]storage.Entry {
	s.Helper()
	byKind := map[recording.StoredKind][]storage.Entry{}
	err := s.store.List(s.ctx, func(entry storage.Entry) error {
		byKind[entry.Kind] = append(byKind[entry.Kind], entry)
		return nil
	})
	if err != nil {
		s.Fatalf("List: %v", err)
	}
	return byKind
}

func (s *suite) wantEmpty() {
	s.Helper()
	if left := s.entries(); len(left) != 0 {
		s.Fatalf("left in storage: %+v", left)
	}
}

func size(parts []recording.Part) (n int64) {
	for _, part := range parts {
		n += part.Size
	}
	return n
}

// differAt returns where a and b begin to differ.
func differAt(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// Pattern returns n bytes; those of another seed differ everywhere.
func Pattern(seed byte, n int) []byte {
	const period = 251
	p := make([]byte, n)
	for i := range min(n, period) {
		p[i] = seed + byte(i)
	}
	for i := period; i < n; i *= 2 { // byte by byte is slow under the race detector
		copy(p[i:], p[:i])
	}
	return p
}
