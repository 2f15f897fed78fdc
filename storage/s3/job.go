package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"reprise/internal/failpoint"
	"reprise/recording"
	"reprise/storage"
)

// jobKind is what a job makes of its bytes.
type jobKind int

const (
	jobPart    jobKind = iota // a part of the multipart upload
	jobObject                 // the finished object
	jobSegment                // an object of its own below parts/
	jobInline                 // bytes for the ledger
)

// job makes bytes of an upload durable, in a goroutine of its own.
type job struct {
	kind     jobKind
	number   int32  // of the part of the multipart upload
	fold     folded // committed bytes that come first
	fresh    blocks // new bytes, behind them
	newBytes int64

	done chan struct{} // closed at the end; then these are set:
	part recording.Part
	err  error
}

func (j *job) finished() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// succeeded waits for the end of the job.
func (j *job) succeeded() bool {
	<-j.done
	return j.err == nil
}

// run does a job's work, and gives its memory back.
func (w *writer) run(j *job) error {
	err := w.s.readTail(w.ctx, w.id, j.fold)
	if err != nil {
		w.s.free(&j.fresh, j.fold.held)
		return err
	}
	pieces := slices.Concat(j.fold.bytes, j.fresh.list)
	if j.kind == jobInline {
		j.part.Inline = slices.Concat(pieces...)
		w.s.cacheTail(w.id, j, j.part.Inline)
		return nil
	}
	b := newBody(pieces...)
	err = w.send(j, b)
	b.release()
	if err == nil && j.kind == jobSegment {
		w.s.cacheTail(w.id, j, slices.Concat(pieces...))
		return nil
	}
	w.s.free(&j.fresh, j.fold.held)
	return err
}

// send makes the request of a job.
func (w *writer) send(j *job, b *body) error {
	var err error
	switch j.kind {
	case jobSegment:
		failpoint.Hit("segment.before")
		_, err = w.s.put(w.ctx, w.s.segmentName(w.id, j.part.Number, w.epoch), b)
		failpoint.Hit("segment.done")
	case jobObject:
		failpoint.Hit("object.before")
		_, err = w.s.put(w.ctx, w.s.objectName(w.epochKey()), b)
		failpoint.Hit("object.done")
	default:
		var m multipart
		if err = w.settle(); err != nil {
			return fmt.Errorf("s3: settle the writer's epoch: %w", err)
		}
		if m, err = w.begin(); err != nil {
			return err
		}
		failpoint.Hit("part.before")
		var p uploaded
		p, err = w.s.uploadPart(w.ctx, m, j.number, b)
		j.part.Ref = formatPartRef(p)
		failpoint.Hit("part.done")
	}
	return err
}

// epochKey is the key of an object that this writer makes of the whole upload. No
// other writer's has it.
func (w *writer) epochKey() string { return fmt.Sprintf("%s-%d", w.objectKey, w.epoch) }

// free gives back the memory of blocks, and held bytes more.
func (s *Store) free(fresh *blocks, held int64) {
	s.memory.give(fresh.taken + held)
	s.pools.put(fresh.list)
	*fresh = blocks{}
}

// cacheTail keeps the bytes of a tail part for the next fold, in exchange for the
// memory that the job has.
func (s *Store) cacheTail(id uuid.UUID, j *job, bytes []byte) {
	part := j.part
	part.Inline = nil
	s.memory.keep(id, j.fresh.taken+j.fold.held, chunk{part, bytes})
	s.pools.put(j.fresh.list)
	j.fresh = blocks{}
}

// folded are tail parts with memory for their bytes.
type folded struct {
	parts []recording.Part
	bytes [][]byte // of each; nil before it is read
	held  int64    // memory, which is their size
}

// fold takes memory for the bytes of tail parts; those that are cached have it
// already. It reports false if there is not enough at once.
func (s *Store) fold(id uuid.UUID, parts []recording.Part) (folded, bool) {
	found, cached := s.memory.claim(id, parts)
	need := sizeOf(parts)
	if cached < need && !s.memory.tryTake(need-cached) {
		s.memory.give(cached)
		return folded{}, false
	}
	return folded{parts, found, need}, true
}

// foldWaiting is fold for somebody who holds nothing and can wait.
func (s *Store) foldWaiting(ctx context.Context, id uuid.UUID, parts []recording.Part) (folded, error) {
	if fold, ok := s.fold(id, parts); ok {
		return fold, nil
	}
	need := sizeOf(parts)
	if err := s.memory.take(ctx, need); err != nil {
		return folded{}, err
	}
	return folded{parts, make([][]byte, len(parts)), need}, nil
}

// readTail reads what a fold lacks, from the ledger and from storage.
func (s *Store) readTail(ctx context.Context, id uuid.UUID, f folded) error {
	var group errgroup.Group
	group.SetLimit(parallelParts)
	var inline, numbers []int
	for i, part := range f.parts {
		if f.bytes[i] != nil {
			continue
		}
		epoch, isSegment := parseTailRef(segmentRef, part.Ref)
		if !isSegment {
			inline, numbers = append(inline, i), append(numbers, part.Number)
			continue
		}
		group.Go(func() (err error) {
			f.bytes[i], err = s.readSegment(ctx, s.segmentName(id, part.Number, epoch), part.Size)
			return err
		})
	}
	if len(inline) > 0 {
		group.Go(func() error {
			list, err := s.o.Ledger.InlineParts(ctx, id, numbers)
			if errors.Is(err, recording.ErrNotFound) { // of the parts, not of anything that a client asks for
				return fmt.Errorf("s3: the ledger has no bytes of the parts %v of upload %s", numbers, id)
			}
			for k, i := range inline {
				if err == nil && int64(len(list[k])) != f.parts[i].Size {
					err = fmt.Errorf("s3: the ledger has %d bytes of part %d of upload %s", len(list[k]), numbers[k], id)
				}
				if err == nil {
					f.bytes[i] = list[k]
				}
			}
			return err
		})
	}
	return group.Wait()
}

// readSegment reads a segment into memory that its fold has taken.
func (s *Store) readSegment(ctx context.Context, name string, size int64) (p []byte, err error) {
	for try := range readTries {
		p, err = s.readWhole(ctx, name, size)
		absent := errors.Is(meaning(err), storage.ErrNotFound)
		if err == nil || !absent && !cutOff(ctx, err) {
			break
		}
		if absent { // that it is lost will be for good, so it is asked again
			if err := pause(ctx, delay(try+1, err)); err != nil {
				return nil, failed("read a segment", err)
			}
		}
	}
	if errors.Is(meaning(err), storage.ErrNotFound) {
		return nil, fmt.Errorf("s3: read a segment: %w (%s)", storage.ErrLost, err) // without the code of "not found"
	}
	if err != nil {
		return nil, failed("read a segment", err)
	}
	return p, nil
}

func (s *Store) readWhole(ctx context.Context, name string, size int64) ([]byte, error) {
	_, body, err := s.get(ctx, name, fmt.Sprintf("bytes=0-%d", size-1), "")
	if err != nil {
		return nil, err
	}
	defer body.Close()
	p := make([]byte, size)
	_, err = io.ReadFull(body, p)
	return p, err
}
