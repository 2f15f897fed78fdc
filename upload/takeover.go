package upload

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"reprise/recording"
)

// remotePatience is how long a request that wants to know the offset waits for a
// writer in another process to commit what it has. Nobody may be there any more.
const remotePatience = 2 * time.Second

// Run listens for requests of other processes to stop writers in this one, until
// ctx ends; then it returns nil. Without it everything is right too, and slower:
// others wait for a writer here in vain, and one that has been taken over hangs
// until its next commit fails.
func (s *Server) Run(ctx context.Context) error {
	for {
		err := s.o.Ledger.ListenWriters(ctx, s.locks.stop)
		if ctx.Err() != nil {
			return nil
		}
		s.log.WarnContext(ctx, "other replicas can't be heard, connecting again", slog.Any("error", err))
		pause := time.NewTimer(time.Second + rand.N(time.Second)) // not every replica at once
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
	}
}

// stop ends a writer that another process says has to end.
func (l *locks) stop(m recording.StopWriters) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.holds[m.UploadID]
	switch {
	case h == nil || h.epoch >= m.Epoch:
	case m.Taken:
		h.body.takeAway()
	default:
		h.body.interrupt(recording.ErrTakenOver)
	}
}

// settle waits until the upload's writer has committed what it has, in this
// process or in another, as long as that is worth while.
func (s *Server) settle(ctx context.Context, u recording.Upload) {
	if s.locks.settle(ctx, u.ID, u.Epoch) || !u.Writing() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, remotePatience)
	defer cancel()
	if err := s.o.Ledger.AskWriters(ctx, u.ID, u.Epoch+1); err != nil {
		s.log.WarnContext(ctx, "can't ask for a writer to stop", slog.Any("upload", u.ID), slog.Any("error", err))
		return
	}
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		now, err := s.o.Ledger.FindUpload(ctx, u.OwnerID, u.ID)
		if err != nil || now.Epoch != u.Epoch || !now.Writing() {
			return
		}
	}
}

// release tells the ledger that a request which was the writer isn't any more,
// unless its last commit has.
func (s *Server) release(req *request) {
	if req.closed || req.body.taken() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), remotePatience) // the client may have gone
	defer cancel()
	if err := s.o.Ledger.ReleaseUpload(ctx, req.upload, req.used); err != nil {
		s.log.WarnContext(ctx, "can't release an upload", slog.Any("upload", req.upload.ID), slog.Any("error", err))
	}
}
