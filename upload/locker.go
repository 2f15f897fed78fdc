package upload

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/tus/tusd/v2/pkg/handler"

	"reprise/recording"
)

// settlePatience is how long a request that wants to know the offset waits for
// the writer before it to commit what it has. After that it goes on: the writer's
// commits are refused.
const settlePatience = 3 * time.Second

// locker is tusd's Locker. The lock proper is the ledger's epoch, on every
// replica alike. The writer before is told to stop as well:
//
//   - by a HEAD or DELETE before the epoch rises, so that what the writer has
//     received is committed and needn't be sent twice;
//   - by a PATCH that continues at the committed offset once the epoch has risen:
//     its body brings the bytes again that the writer had not committed.
//
// A PATCH at another offset disturbs nobody: it takes nothing over and is told
// its mistake.
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
	req  *request
	hold *hold // nil if the request doesn't write
}

// Lock takes the upload over. The callback that tusd offers for asking this
// request to stop later is not used: see interruptibleBody.
func (l *lock) Lock(ctx context.Context, _ func()) error {
	req := requestFrom(ctx)
	l.req = req
	if !req.claim.Write {
		l.s.settle(ctx, req.found)
	}
	claim := req.claim
	claim.Fast = !claim.Write || l.s.o.Storage.FastClaims()
	u, acquired, err := l.s.o.Ledger.AcquireUpload(ctx, l.id, claim)
	if err != nil {
		return req.fail(err)
	}
	req.upload = u
	if u.Length != nil && req.in.Get("Upload-Length") == strconv.FormatInt(*u.Length, 10) {
		// Declared before, by a PATCH that broke off. Clients say it again with the
		// rest, and take the 400 that tusd answers for final. Only now it is sure: a
		// request of the same client may have been on its way.
		req.in.Del("Upload-Length")
	}
	switch {
	case !req.claim.Write:
	case u.Expired(l.s.o.Now()): // since the request was let in
		return req.fail(l.s.checkAlive(u))
	case !acquired && u.State == recording.UploadReceiving:
		// Its epoch is somebody else's, even if the offset fits by now.
		return handler.ErrMismatchOffset
	case acquired:
		l.hold = l.s.locks.enter(l.id, u.Epoch, req.body)
		l.s.metrics.active.Inc()
	}
	return nil
}

func (l *lock) Unlock() error {
	if l.hold != nil {
		l.s.release(l.req)
		l.s.locks.leave(l.id, l.hold)
		l.s.metrics.active.Dec()
	}
	return nil
}

// hold is a writing request of this process.
type hold struct {
	epoch int64
	body  *interruptibleBody
	done  chan struct{} // closed when it leaves
}

// locks knows the writer of each upload in this process.
type locks struct {
	mu    sync.Mutex
	holds map[uuid.UUID]*hold
}

func newLocks() *locks { return &locks{holds: make(map[uuid.UUID]*hold)} }

// enter makes body's request the writer under its epoch. Whoever of it and the
// one before has the lower epoch is interrupted.
func (l *locks) enter(id uuid.UUID, epoch int64, body *interruptibleBody) *hold {
	mine := &hold{epoch: epoch, body: body, done: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch other := l.holds[id]; {
	case other == nil:
	case other.epoch > epoch: // it has the upload from the ledger later, and came here first
		body.takeAway()
		return mine
	default:
		other.body.takeAway()
	}
	l.holds[id] = mine
	return mine
}

func (l *locks) leave(id uuid.UUID, h *hold) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holds[id] == h {
		delete(l.holds, id)
	}
	close(h.done)
}

// settle asks the upload's writer to stop, if it is in this process, and waits
// until it has, but no longer than settlePatience. It reports false if the ledger
// had another one already, at epoch.
func (l *locks) settle(ctx context.Context, id uuid.UUID, epoch int64) bool {
	l.mu.Lock()
	h := l.holds[id]
	if h == nil || h.epoch < epoch {
		if h != nil {
			h.body.takeAway()
		}
		l.mu.Unlock()
		return false
	}
	h.body.interrupt(recording.ErrTakenOver)
	l.mu.Unlock()
	patience := time.NewTimer(settlePatience)
	defer patience.Stop()
	select {
	case <-h.done:
	case <-patience.C:
	case <-ctx.Done():
	}
	return true
}

func (l *locks) interruptAll(cause *recording.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.holds {
		h.body.interrupt(cause)
	}
}
