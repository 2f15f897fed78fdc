// Package storagetest is the conformance suite of storage.Store: every
// implementation runs it, and it uses nothing but the interface.
//
// It shows what an implementation does with parts, objects and what is left of
// unfinished work. It can't show durability; that is for the tests of each
// implementation.
package storagetest

import (
	"bytes"
	"context"
	"io"
	"slices"
	"testing"

	"github.com/google/uuid"

	"reprise/recording"
	"reprise/storage"
)

// Run runs the suite. Open returns a store with nothing in it and registers
// what there is to clean up; it is called once per test, and tests run in
// parallel.
func Run(t *testing.T, open func(t *testing.T) storage.Store) {
	t.Helper()
	for _, group := range []map[string]func(*suite){writerTests, assembleTests, objectTests, listTests} {
		for name, test := range group {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(&suite{T: t, ctx: t.Context(), store: open(t)})
			})
		}
	}
}

// suite is one test with its store.
type suite struct {
	*testing.T
	ctx   context.Context
	store storage.Store
}

// upload is the little of a ledger that an upload needs: its committed parts,
// and what they must hold.
type upload struct {
	*suite
	id      uuid.UUID
	key     string
	epoch   int64
	parts   []recording.Part
	content []byte
}

func (s *suite) newUpload() *upload {
	id := recording.NewID()
	return &upload{suite: s, id: id, key: "recordings/" + id.String() + "/original"}
}

// writer begins an epoch and returns its writer.
func (u *upload) writer(adopt bool) recording.PartWriter {
	u.Helper()
	u.epoch++
	w, err := u.store.NewWriter(u.ctx, u.id, u.epoch, slices.Clone(u.parts), adopt)
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
	if n, err := w.Write(p); n != len(p) || err != nil {
		u.Fatalf("Write of %d bytes = %d, %v", len(p), n, err)
	}
}

// commit flushes, and records the parts as the ledger does. P is what was
// written since the last commit.
func (u *upload) commit(w recording.PartWriter, p []byte) {
	u.Helper()
	parts, err := w.Flush(u.ctx)
	if err != nil {
		u.Fatalf("Flush: %v", err)
	}
	for _, part := range parts {
		i := slices.IndexFunc(u.parts, func(old recording.Part) bool { return old.Number == part.Number })
		switch {
		case i < 0:
			u.parts = append(u.parts, part)
		case u.parts[i].Ref != part.Ref || u.parts[i].Size > part.Size:
			u.Fatalf("Flush made part %+v of %+v", part, u.parts[i])
		default:
			u.parts[i] = part
		}
	}
	u.content = append(u.content, p...)
	if got := size(u.parts); got != int64(len(u.content)) {
		u.Fatalf("the parts have %d bytes after %d were written: %+v", got, len(u.content), u.parts)
	}
}

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
	if err := u.store.Assemble(u.ctx, u.id, u.key, u.parts); err != nil {
		u.Fatalf("Assemble: %v", err)
	}
	u.wantObject(u.key, u.content)
}

func (s *suite) discard(id uuid.UUID) {
	s.Helper()
	if err := s.store.DiscardParts(s.ctx, id); err != nil {
		s.Fatalf("DiscardParts: %v", err)
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

// pattern returns n bytes; those of another seed differ everywhere.
func pattern(seed byte, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = seed + byte(i%251)
	}
	return p
}
