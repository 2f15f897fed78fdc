package upload

import (
	"context"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

// runningPatience is when somebody who sends too much at once may try again.
const runningPatience = 5 * time.Second

// running knows which uploads of each user bytes come for in this process, and
// bounds their number. It counts uploads and not requests: a phone that comes back
// while the server still waits for what it sent before the line broke takes its own
// upload over, and needs no room for it. In memory, because a count in the database
// would outlive a process that was killed.
type running struct {
	max int // of a user; 0 is no limit

	mu    sync.Mutex
	users map[uuid.UUID]map[uuid.UUID]int // requests by user and upload
}

func newRunning(limit int) *running {
	return &running{max: limit, users: make(map[uuid.UUID]map[uuid.UUID]int)}
}

// enter counts a request that sends bytes to an upload; leave is called at its end.
func (r *running) enter(owner, upload uuid.UUID) (leave func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	uploads := r.users[owner]
	if used := len(uploads); r.max > 0 && used >= r.max && uploads[upload] == 0 {
		e := recording.Errorf(recording.CodeTooManyUploads, "You are sending %d uploads at once, as many as you may; wait for one of them.", used)
		e.Exceeded = &recording.Exceeded{Name: recording.LimitUploadsAtOnce, Limit: int64(r.max), Used: int64(used), RetryAfter: runningPatience}
		return nil, e
	}
	if uploads == nil {
		uploads = make(map[uuid.UUID]int)
		r.users[owner] = uploads
	}
	uploads[upload]++
	return func() { r.leave(owner, upload) }, nil
}

func (r *running) leave(owner, upload uuid.UUID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	uploads := r.users[owner]
	if uploads[upload]--; uploads[upload] == 0 {
		delete(uploads, upload)
	}
	if len(uploads) == 0 {
		delete(r.users, owner)
	}
}

// enterBody is enter for a request that may have a body, as far as its header tells.
func (s *Server) enterBody(r *http.Request, req *request) (leave func(), err error) {
	switch {
	case r.Method == http.MethodPatch:
		return s.running.enter(req.owner, req.found.ID)
	case r.Method == http.MethodPost && r.ContentLength != 0:
		return s.running.enter(req.owner, recording.NewID()) // which it will be is not known yet
	}
	return func() {}, nil
}

// findRoom asks how much of an upload of unknown length fits. One of a known length
// has its room since that was declared.
func (a *appender) findRoom(ctx context.Context) error {
	if a.u.row.Length != nil {
		return nil
	}
	bytes, beyond, err := a.u.s.o.Ledger.Room(ctx, a.u.row.OwnerID)
	if err != nil {
		return err
	}
	a.beyond = beyond
	if bytes < math.MaxInt64-a.at {
		a.room = a.at + bytes
	}
	return nil
}
