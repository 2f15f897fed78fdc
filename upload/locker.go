package upload

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/tus/tusd/v2/pkg/handler"

	"reprise/recording"
)

// takeoverPatience is how long a request waits for the one before it to commit
// what it has. After that it goes on: the older one's commits are refused.
const takeoverPatience = 3 * time.Second

// locker is tusd's Locker. Between replicas the ledger's epoch is the lock.
// Inside this process the request before is asked to stop and given a moment,
// so that the bytes it has received are committed and not sent twice.
type locker struct{ s *Server }

func (l locker) NewLock(id string) (handler.Lock, error) {
	uploadID, err := uuid.Parse(id)
	if err != nil {
		return nil, recording.ErrNotFound
	}
	return &lock{s: l.s, id: uploadID}, nil
}

type lock struct {
	s    *Server
	id   uuid.UUID
	hold *hold
}

// Lock takes the upload over. The callback that tusd offers for asking this
// request to stop later is not used: see interruptibleBody.
func (l *lock) Lock(ctx context.Context, _ func()) error {
	req := requestFrom(ctx)
	hold, err := l.s.locks.take(ctx, l.id, req.body)
	if err != nil {
		return fail(ctx, err)
	}
	u, err := l.s.o.Ledger.AcquireUpload(ctx, l.id, req.write)
	if err != nil {
		l.s.locks.release(l.id, hold)
		return fail(ctx, err)
	}
	l.hold, req.upload = hold, u
	l.s.metrics.active.Inc()
	return nil
}

func (l *lock) Unlock() error {
	l.s.locks.release(l.id, l.hold)
	l.s.metrics.active.Dec()
	return nil
}

// hold is a request that has an upload locked in this process.
type hold struct {
	body *interruptibleBody
	done chan struct{} // closed when it lets go
}

// locks knows the request that holds each upload in this process.
type locks struct {
	mu    sync.Mutex
	holds map[uuid.UUID]*hold
}

func newLocks() *locks { return &locks{holds: make(map[uuid.UUID]*hold)} }

// take makes body's request the holder of an upload. It asks the holder before
// it to stop and waits until it has, but no longer than takeoverPatience.
func (l *locks) take(ctx context.Context, id uuid.UUID, body *interruptibleBody) (*hold, error) {
	mine := &hold{body: body, done: make(chan struct{})}
	patience := time.NewTimer(takeoverPatience)
	defer patience.Stop()
	for impatient := false; ; {
		l.mu.Lock()
		other := l.holds[id]
		if other == nil || impatient {
			l.holds[id] = mine
			l.mu.Unlock()
			return mine, nil
		}
		l.mu.Unlock()
		other.body.interrupt(recording.ErrTakenOver)
		select {
		case <-other.done:
		case <-patience.C:
			impatient = true
		case <-ctx.Done():
			return nil, recording.Wrap(recording.CodeUnavailable, context.Cause(ctx), "The upload is busy; try again.")
		}
	}
}

func (l *locks) release(id uuid.UUID, h *hold) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holds[id] == h { // an impatient one may have taken the place
		delete(l.holds, id)
	}
	close(h.done)
}

func (l *locks) interruptAll(cause *recording.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.holds {
		h.body.interrupt(cause)
	}
}
