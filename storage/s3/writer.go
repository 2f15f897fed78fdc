package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"reprise/recording"
)

var (
	errClosed = errors.New("s3: the writer is closed")
	errRoom   = errors.New("s3: more is written than there is room for")
)

const (
	// parallelParts is how many requests of one writer are under way at once.
	parallelParts = 4
	// maxNumber is the highest number of a part that writers use. S3 has 10,000; the
	// rest is Assemble's.
	maxNumber = 9_990
	// plannedParts is how many parts a huge upload is cut into, so that most numbers
	// are left for those that are lost to unclean ends.
	plannedParts = 4_000
)

// NewWriter implements storage.Store. It sends no request. The writer lives as
// long as ctx.
func (s *Store) NewWriter(ctx context.Context, u recording.Upload) (recording.PartWriter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l, err := layoutOf(u.Parts)
	if err != nil {
		return nil, err
	}
	if l.object {
		return nil, errors.New("s3: the upload is an object already")
	}
	w := &writer{
		s: s, id: u.ID, epoch: u.Epoch, length: u.Length, objectKey: u.ObjectKey,
		partSize: s.partSizeFor(l, u.Length), base: l.base, tail: l.tail, flushed: l.size, paced: l.size,
		number: 1, reserved: int32(u.PartNumber), tried: int32(u.PartNumber),
		limit: int32(u.PartNumber) + recording.PartWindow,
	}
	if len(u.Parts) > 0 {
		w.number = u.Parts[len(u.Parts)-1].Number + 1
	}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	s.memory.join(w)
	w.group.SetLimit(parallelParts)
	name := s.objectName(u.ObjectKey)
	w.settle = sync.OnceValue(func() error { return s.o.Ledger.Settle(w.ctx) })
	w.begin = sync.OnceValues(func() (multipart, error) {
		if u.MultipartID != "" {
			return multipart{name, u.MultipartID}, nil
		}
		id, err := s.begin(w.ctx, name)
		return multipart{name, id}, err
	})
	return w, nil
}

// FastClaims implements storage.Store: what a writer makes has its epoch in its name, and
// before it uses the number of a part, its epoch is settled.
func (s *Store) FastClaims() bool { return true }

// partSizeFor is the size of the parts of an upload. The first part decides: some
// servers want all but the last to be equal. Before it, a tail that was begun when
// the size was another still fits into one.
func (s *Store) partSizeFor(l layout, length *int64) int64 {
	if l.part > 0 {
		return l.part
	}
	size := max(s.partSize(), l.tailBytes())
	if length != nil {
		const step = 1 << 20
		size = max(size, (*length/plannedParts+step)/step*step)
	}
	return size
}

// writer implements recording.PartWriter. It gathers new bytes in blocks. Together
// with the tail, the committed bytes behind the last real part, they are the part
// that is being made. When it has its size it is sealed: a job uploads it while the
// next one is gathered. A flush before that makes a part of the tail of the new
// bytes.
//
// When memory is short the new bytes are spilled as a segment, which belongs to the
// tail like one of a flush. No piece of a tail lies across the border of two parts.
type writer struct {
	s         *Store
	id        uuid.UUID
	epoch     int64
	length    *int64
	objectKey string
	partSize  int64

	ctx    context.Context // ends with the first failure, which is its cause
	cancel context.CancelCauseFunc
	group  errgroup.Group
	begin  func() (multipart, error) // the multipart upload, begun by the first part
	settle func() error              // makes the numbers of parts this writer's for good

	// mu is held by the methods of PartWriter and by release.
	mu     sync.Mutex
	usedAt time.Time // when one of the former ended

	base  int64            // bytes in real parts, those of jobs included
	tail  []recording.Part // of the part that is being made
	fresh blocks           // new bytes of it
	jobs  []*job           // since the last flush, in the order of their bytes

	number  int   // of the next part in the ledger
	flushed int64 // bytes that flushes have reported
	paced   int64 // bytes written when FlushSome was last called

	// Numbers of multipart parts: reserved when the writer began, tried so far, and
	// the limit until the next commit.
	reserved, tried, limit int32
}

// use is how the methods of PartWriter begin; they call what it returns at their end.
func (w *writer) use() (done func()) {
	w.mu.Lock()
	return func() {
		w.usedAt = w.s.o.Now()
		w.mu.Unlock()
	}
}

// release implements holder: it spills.
func (w *writer) release(idle time.Duration) {
	if !w.mu.TryLock() {
		return // it is used
	}
	defer w.mu.Unlock()
	switch {
	case w.s.o.Now().Sub(w.usedAt) < idle || w.busy():
	case w.fresh.size == 0 || w.err() != nil:
		w.s.free(&w.fresh, 0)
	default:
		w.startTail(jobSegment, folded{})
	}
}

// err is why the writer can't go on, nil if it can. After a failure it never can:
// what has become of a request is not known then, so nothing of it may be tried
// again under the same name with other bytes.
func (w *writer) err() error { return context.Cause(w.ctx) }

func (w *writer) tailSize() int64 { return sizeOf(w.tail) }

// gathered is the size so far of the part that is being made.
func (w *writer) gathered() int64 { return w.tailSize() + w.fresh.size }

// written is the offset behind the last byte written.
func (w *writer) written() int64 { return w.base + w.gathered() }

// full reports whether the part that is being made has its size.
func (w *writer) full() bool { return w.gathered() == w.partSize }

// single reports whether the whole upload fits into the first part: it needs no
// multipart upload then.
func (w *writer) single() bool {
	return w.base == 0 && w.length != nil && *w.length <= w.partSize
}

// Room implements recording.PartWriter. It goes to the border of the part that is
// being made.
func (w *writer) Room() int64 {
	defer w.use()()
	switch {
	case w.err() != nil:
		return 1 // Write says it
	case w.tried >= w.limit && (w.fresh.size == 0 || w.full()):
		return 0 // a commit gives more numbers
	case w.full():
		return w.partSize // of the next one
	default:
		return w.partSize - w.gathered()
	}
}

// busy reports whether requests are under way.
func (w *writer) busy() bool {
	return slices.ContainsFunc(w.jobs, func(j *job) bool { return !j.finished() })
}

// waitForJob waits for the first job that is not done. It reports false if there is
// none.
func (w *writer) waitForJob() bool {
	for _, j := range w.jobs {
		if !j.finished() {
			<-j.done
			return true
		}
	}
	return false
}

func (w *writer) Write(p []byte) (int, error) {
	defer w.use()()
	n := 0
	for n < len(p) {
		if err := w.makeSpace(); err != nil {
			return n, err
		}
		n += w.fresh.fill(p[n:min(int64(len(p)), int64(n)+w.partSize-w.gathered())])
		if w.full() && !w.single() {
			w.sealFull()
		}
	}
	return n, w.err()
}

// makeSpace sees to it that the last block has space. If there is no memory it waits
// until the writer holds none itself, and then for its turn.
func (w *writer) makeSpace() error {
	if err := w.err(); err != nil {
		return err
	}
	if w.full() {
		if err := w.foldFull(); err != nil {
			return err
		}
	}
	for w.fresh.space() == 0 {
		switch size := w.fresh.nextBlock(); {
		case w.s.memory.tryTake(size):
			w.fresh.add(w.s.pools.get(size))
		case w.waitForJob():
		case w.fresh.size > 0:
			if err := w.spill(); err != nil {
				return err
			}
		default:
			if err := w.s.memory.take(w.ctx, size); err != nil {
				return err
			}
			w.fresh.add(w.s.pools.get(size))
		}
	}
	return nil
}

// spill makes a segment of the new bytes before anybody asks for a flush, to set
// their memory free.
func (w *writer) spill() error {
	if j := w.startTail(jobSegment, folded{}); !j.succeeded() {
		return w.err()
	}
	return nil
}

// sealFull makes a part of what was gathered, if there are memory and a number for
// it.
func (w *writer) sealFull() bool {
	if w.tried >= min(w.limit, maxNumber) {
		return false
	}
	fold, ok := w.s.fold(w.id, w.tail)
	if ok {
		w.seal(&job{kind: jobPart, fold: fold})
	}
	return ok
}

// foldFull makes a part of a full one that there was no memory for when it could have
// been sealed. It holds nothing while it waits.
func (w *writer) foldFull() error {
	if w.tried >= w.limit {
		return errRoom
	}
	if w.tried >= maxNumber {
		return fmt.Errorf("s3: upload %s has used up the numbers of its parts", w.id)
	}
	if w.fresh.size > 0 {
		if err := w.spill(); err != nil {
			return err
		}
	}
	fold, err := w.s.foldWaiting(w.ctx, w.id, w.tail)
	if err != nil {
		return err
	}
	w.seal(&job{kind: jobPart, fold: fold})
	return nil
}

// seal starts the job that makes a part of everything gathered.
func (w *writer) seal(j *job) {
	size := w.gathered()
	if j.kind == jobPart {
		w.tried++
		j.number = w.tried
	}
	w.start(j, size)
	w.base += size
	w.tail = nil
}

// startTail starts a job that makes a part of the tail of the new bytes, in which
// it merges what it folds: the last parts of the tail.
func (w *writer) startTail(kind jobKind, fold folded) *job {
	j := &job{kind: kind, fold: fold}
	kept := len(w.tail) - len(fold.parts)
	part := w.start(j, sizeOf(fold.parts)+w.fresh.size)
	w.tail = append(w.tail[:kept:kept], part)
	return j
}

// start gives a job the new bytes and starts it. It waits while parallelParts are
// under way. The part it returns lacks what is only known at the end.
func (w *writer) start(j *job, size int64) recording.Part {
	part := recording.Part{Number: w.number, Size: size}
	switch j.kind {
	case jobInline:
		part.Ref = formatTailRef(inlineRef, w.epoch)
	case jobSegment:
		part.Ref = formatTailRef(segmentRef, w.epoch)
	case jobObject:
		part.Ref = objectRef
	}
	j.part, j.newBytes = part, w.fresh.size
	j.fresh, w.fresh = w.fresh, blocks{}
	j.done = make(chan struct{})
	w.number++
	w.jobs = append(w.jobs, j)
	w.group.Go(func() error {
		defer close(j.done)
		if j.err = w.run(j); j.err != nil {
			w.cancel(j.err)
		}
		return nil
	})
	return part
}

// Close also ends requests that are under way. Their numbers stay tried, and what
// they leave belongs to nobody.
func (w *writer) Close() error {
	w.cancel(errClosed)
	w.s.memory.leave(w)
	defer w.use()()
	_ = w.group.Wait() // each job keeps its own error
	w.s.free(&w.fresh, 0)
	return nil
}

func sizeOf(parts []recording.Part) (n int64) {
	for _, part := range parts {
		n += part.Size
	}
	return n
}
