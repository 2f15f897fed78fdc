package s3

import (
	"container/list"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// memory is the one budget for the bytes of uploads that this process holds. It is
// counted where bytes are taken and given back, and has three kinds of users:
//
//   - blocks that a writer gathers new bytes in,
//   - requests on their way, which hold blocks and what they fold until they end,
//   - cached tails (tails.go), which go whenever somebody else is short.
//
// Who waits in take must hold nothing that only he can give back. Requests end
// without needing more, and holders whose clients have gone silent are asked to give
// back. So nobody waits for ever, or for a client.
type memory struct {
	total    int64
	patience time.Duration // after which somebody who waits asks the holders

	mu      sync.Mutex
	used    int64     // by all, cached tails included
	waiting list.List // of *waiter, first come first served
	holders map[holder]struct{}

	tails  map[uuid.UUID]*list.Element // of recent
	recent list.List                   // of *tail, the last used in front
	cached int64                       // bytes of tails
}

type waiter struct {
	bytes int64
	done  chan struct{} // closed when the bytes are the waiter's
}

// holder is a writer, which may hold blocks.
type holder interface {
	// release has it give its blocks back soon, if it was not used for idle. It does not wait.
	release(idle time.Duration)
}

// patience is short enough for clients that wait, and longer than a fast client's
// writer is ever unused.
const patience = time.Second

func newMemory(total int64) *memory {
	return &memory{
		total: total, patience: patience,
		holders: make(map[holder]struct{}), tails: make(map[uuid.UUID]*list.Element),
	}
}

func (m *memory) join(h holder) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.holders[h] = struct{}{}
}

func (m *memory) leave(h holder) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.holders, h)
}

// take waits until n bytes are there and takes them. More than the whole budget
// there is when nobody else has any.
func (m *memory) take(ctx context.Context, n int64) error {
	m.mu.Lock()
	if m.waiting.Len() == 0 && m.fits(n) {
		m.used += n
		m.mu.Unlock()
		return nil
	}
	w := &waiter{bytes: n, done: make(chan struct{})}
	place := m.waiting.PushBack(w)
	m.mu.Unlock()
	if m.wait(ctx, w) {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-w.done: // just now
		m.used -= n
	default:
		m.waiting.Remove(place)
	}
	m.serve()
	return context.Cause(ctx)
}

// wait waits until the bytes are the waiter's; false says that ctx is done.
func (m *memory) wait(ctx context.Context, w *waiter) bool {
	ticker := time.NewTicker(m.patience)
	defer ticker.Stop()
	for {
		select {
		case <-w.done:
			return true
		case <-ctx.Done():
			return false
		case <-ticker.C:
			m.mu.Lock()
			holders := slices.Collect(maps.Keys(m.holders))
			m.mu.Unlock()
			for _, h := range holders {
				h.release(m.patience)
			}
		}
	}
}

// tryTake takes n bytes if they are there at once. It does not overtake who waits.
func (m *memory) tryTake(n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiting.Len() > 0 || !m.fits(n) {
		return false
	}
	m.used += n
	return true
}

// give gives n bytes back.
func (m *memory) give(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= n
	m.serve()
}

// fits makes room for n bytes, if need be of cached tails. Callers hold mu.
func (m *memory) fits(n int64) bool {
	for m.used > 0 && m.used+n > m.total {
		if !m.evict() {
			return false
		}
	}
	return true
}

// serve gives those who wait what there is. Callers hold mu.
func (m *memory) serve() {
	for m.waiting.Len() > 0 {
		first := m.waiting.Front()
		w := first.Value.(*waiter)
		if !m.fits(w.bytes) {
			return
		}
		m.waiting.Remove(first)
		m.used += w.bytes
		close(w.done)
	}
}

// inUse returns the bytes that are taken, and how many of them are cached tails.
func (m *memory) inUse() (used, cached int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used, m.cached
}

// The sizes of blocks.
const (
	smallBlock = 64 << 10 // what a slow phone holds
	largeBlock = 1 << 20
)

// blocks are the buffers that one writer gathers new bytes of one part in. Their
// memory is in the budget.
type blocks struct {
	list  [][]byte // every one but the last is full
	size  int64    // bytes in them
	taken int64    // memory of them
}

// space returns how many bytes fit into the last block.
func (b *blocks) space() int64 { return b.taken - b.size }

// nextBlock is the size of the block that follows: small ones at first, so that many
// slow phones need little, large ones for who has filled some.
func (b *blocks) nextBlock() int64 {
	if len(b.list) < 4 {
		return smallBlock
	}
	return largeBlock
}

// add appends an empty block of n bytes, which the caller has taken.
func (b *blocks) add(block []byte) {
	b.list = append(b.list, block[:0])
	b.taken += int64(cap(block))
}

// fill copies as much of p as fits into the last block, and returns how much it is.
func (b *blocks) fill(p []byte) int {
	if b.space() == 0 {
		return 0
	}
	last := &b.list[len(b.list)-1]
	n := min(len(p), cap(*last)-len(*last))
	*last = append(*last, p[:n]...)
	b.size += int64(n)
	return n
}

// pools keep blocks that nobody uses until the next garbage collection.
type pools struct{ small, large sync.Pool }

func (p *pools) get(size int64) []byte {
	pool := &p.small
	if size == largeBlock {
		pool = &p.large
	}
	if block, ok := pool.Get().(*[]byte); ok {
		return *block
	}
	return make([]byte, size)
}

// put takes blocks back that no request reads any more.
func (p *pools) put(list [][]byte) {
	for _, block := range list {
		block = block[:cap(block)]
		if len(block) == largeBlock {
			p.large.Put(&block)
		} else {
			p.small.Put(&block)
		}
	}
}
