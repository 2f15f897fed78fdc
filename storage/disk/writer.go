package disk

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"reprise/internal/failpoint"
	"reprise/recording"
	"reprise/storage"
)

// writeBackBytes is how much is written between two requests to the kernel to
// begin writing it to the disk, so that little is left to wait for in Flush.
const writeBackBytes = 2 << 20

var errClosed = errors.New("disk: the writer is closed")

// FastClaims implements storage.Store: two writers could adopt the same part.
func (s *Store) FastClaims() bool { return false }

// NewWriter implements storage.Store. A part that is to be adopted is checked
// here; a new one is made by the first Write.
func (s *Store) NewWriter(ctx context.Context, u recording.Upload) (recording.PartWriter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := &writer{store: s, uploadID: u.ID, part: recording.Part{Number: 1}}
	for _, part := range u.Parts {
		w.before += part.Size
	}
	if len(u.Parts) > 0 {
		last := u.Parts[len(u.Parts)-1]
		if !u.WriterOpen {
			f, err := s.adopt(u.ID, last)
			if err != nil {
				return nil, failed("continue a part", err)
			}
			if f != nil {
				w.file, w.part, w.flushed, w.writtenBack = f, last, last.Size, last.Size
				w.before -= last.Size
				return w, nil
			}
		}
		w.part.Number = last.Number + 1
	}
	w.part.Ref = partName(w.part.Number, u.Epoch)
	return w, nil
}

// adopt opens a part to go on behind its committed bytes. It returns nil if
// another writer has it open after all: then its bytes are fine to keep, but
// not the place to write.
func (s *Store) adopt(uploadID uuid.UUID, part recording.Part) (*os.File, error) {
	f, err := s.openPart(uploadID, part, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	if !lock(f) {
		return nil, f.Close()
	}
	// Before the lock was taken, Assemble may have made an object of the file.
	opened, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	named, err := s.root.Stat(partPath(uploadID, part.Ref))
	if err == nil && !os.SameFile(opened, named) {
		err = storage.ErrLost
	}
	if err == nil && opened.Size() > part.Size {
		err = f.Truncate(part.Size) // what follows was never committed
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// openPart opens a part that has all its committed bytes.
func (s *Store) openPart(uploadID uuid.UUID, part recording.Part, flag int) (*os.File, error) {
	if !validRef(part) {
		return nil, fmt.Errorf("part %d is of another storage", part.Number)
	}
	f, err := s.root.OpenFile(partPath(uploadID, part.Ref), flag, 0)
	if absent(err) {
		return nil, fmt.Errorf("open part %d: %w: %w", part.Number, storage.ErrLost, err)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() < part.Size {
		err = fmt.Errorf("part %d has %d bytes of %d: %w", part.Number, info.Size(), part.Size, storage.ErrLost)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// writer implements recording.PartWriter with one part: it makes a file or
// continues one, and holds the file's lock until Close.
type writer struct {
	store    *Store
	uploadID uuid.UUID
	before   int64          // bytes of the upload in earlier parts
	part     recording.Part // Size is what has been written
	file     *os.File       // nil before the first byte of a new part

	flushed     int64 // bytes of the part that are durable
	writtenBack int64 // bytes of the part that the kernel was told to write
	isNew       bool  // the file's name is not durable yet

	// err is the first failure. The writer refuses to go on after it: when fsync
	// fails the kernel drops what it could not write and forgets about it, so a
	// second fsync would succeed without those bytes.
	err error
}

// Room implements recording.PartWriter: a file takes any number of bytes.
func (w *writer) Room() int64 { return math.MaxInt64 }

func (w *writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if w.file == nil {
		if w.err = w.create(); w.err != nil {
			return 0, w.err
		}
	}
	n, err := w.file.WriteAt(p, w.part.Size)
	w.part.Size += int64(n)
	if err != nil {
		w.err = failed("write a part", err)
		return n, w.err
	}
	if ahead := w.part.Size - w.writtenBack; ahead >= writeBackBytes {
		startWriteBack(w.file, w.writtenBack, ahead)
		w.writtenBack = w.part.Size
	}
	return n, nil
}

func (w *writer) create() error {
	name := partPath(w.uploadID, w.part.Ref)
	if err := w.store.root.MkdirAll(path.Dir(name), dirMode); err != nil {
		return failed("make a part", err)
	}
	f, err := w.store.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return failed("make a part", err)
	}
	if !lock(f) { // nobody else knows the name, so this is a file system without locks
		return errors.Join(errors.New("disk: this file system can't lock files"), f.Close())
	}
	w.file, w.isNew = f, true
	failpoint.Hit("part.created")
	return nil
}

// FlushSome implements recording.PartWriter. An fsync costs the same whenever it
// comes.
func (w *writer) FlushSome(ctx context.Context) (recording.Flushed, error) { return w.Flush(ctx) }

func (w *writer) Flush(ctx context.Context) (recording.Flushed, error) {
	if w.err != nil {
		return recording.Flushed{}, w.err
	}
	if err := ctx.Err(); err != nil {
		return recording.Flushed{}, err
	}
	if w.part.Size == w.flushed {
		return recording.Flushed{Offset: w.before + w.flushed}, nil
	}
	if err := w.makeDurable(); err != nil {
		w.err = failed("flush a part", err)
		return recording.Flushed{}, w.err
	}
	w.flushed = w.part.Size
	return recording.Flushed{Offset: w.before + w.flushed, Parts: []recording.Part{w.part}}, nil
}

func (w *writer) makeDurable() error {
	if err := w.store.sync(w.file, true); err != nil {
		return err
	}
	failpoint.Hit("part.synced")
	if w.isNew {
		// The upload's folder may be of a process that was killed before it came
		// to this, so its own name is made durable too, whoever made it.
		for _, dir := range []string{partPath(w.uploadID, ""), partsDir} {
			if err := w.store.syncDir(dir); err != nil {
				return err
			}
		}
		w.isNew = false
	}
	return nil
}

// Close also takes back what was not flushed, so that an upload that failed on
// a full disk doesn't keep it full.
func (w *writer) Close() error {
	if w.err == errClosed {
		return nil
	}
	w.err = errClosed
	if w.file == nil {
		return nil
	}
	var err error
	switch {
	case w.flushed == 0:
		err = w.store.root.Remove(partPath(w.uploadID, w.part.Ref))
	case w.flushed < w.part.Size:
		err = w.file.Truncate(w.flushed)
	}
	if absent(err) { // the upload was discarded meanwhile
		err = nil
	}
	if err = errors.Join(err, w.file.Close()); err != nil {
		return failed("close a part", err)
	}
	return nil
}

func partPath(uploadID uuid.UUID, ref string) string {
	return path.Join(partsDir, uploadID.String(), ref)
}

func partName(number int, epoch int64) string { return fmt.Sprintf("%d-%d", number, epoch) }

// validRef reports whether part's Ref is a name that partName gave it.
func validRef(part recording.Part) bool {
	_, after, _ := strings.Cut(part.Ref, "-")
	epoch, err := strconv.ParseInt(after, 10, 64)
	return err == nil && part.Ref == partName(part.Number, epoch)
}
