package events

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"reprise/auth"
	"reprise/recording"
)

// fakeStore keeps milestones as Postgres does: numbered per owner, in the order
// of commits.
type fakeStore struct {
	mu      sync.Mutex
	events  map[uuid.UUID][]recording.Event
	tickets map[string]uuid.UUID
	failing error
	lag     func() // between reading and returning; may be nil
}

func newFakeStore() *fakeStore {
	return &fakeStore{events: make(map[uuid.UUID][]recording.Event), tickets: make(map[string]uuid.UUID)}
}

func (s *fakeStore) commit(e recording.Event) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Seq = int64(len(s.events[e.OwnerID])) + 1
	s.events[e.OwnerID] = append(s.events[e.OwnerID], e)
	return e.Seq
}

func (s *fakeStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = err
}

func (s *fakeStore) EventsSince(_ context.Context, owner uuid.UUID, recordings []uuid.UUID, since int64, limit int) ([]recording.Event, error) {
	if s.lag != nil {
		defer s.lag()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var page []recording.Event
	sub := subscription{list: recordings, set: make(map[uuid.UUID]bool)}
	for _, id := range recordings {
		sub.set[id] = true
	}
	for _, e := range s.events[owner] {
		if e.Seq > since && sub.has(e.RecordingID) && len(page) < limit {
			page = append(page, e)
		}
	}
	return page, s.failing
}

func (s *fakeStore) LatestSeq(_ context.Context, owner uuid.UUID) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(len(s.events[owner])), s.failing
}

func (s *fakeStore) RedeemTicket(_ context.Context, ticket string) (recording.Ticket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	owner, ok := s.tickets[ticket]
	if !ok {
		return recording.Ticket{}, recording.Errorf(recording.CodeUnauthenticated, "no such ticket")
	}
	delete(s.tickets, ticket)
	return recording.Ticket{UserID: owner, Subject: "dev:ticket"}, s.failing
}

// fakeRelay joins hubs in memory. Like the real one it loses what is sent while
// nobody listens, and more if told so.
type fakeRelay struct {
	mu        sync.Mutex
	listeners map[*listener]struct{}
	refusing  bool
	lose      func() bool
	sent      []string
}

type listener struct {
	handle func(string)
	broken chan struct{}
}

var errRelay = errors.New("the relay is broken")

func newFakeRelay() *fakeRelay { return &fakeRelay{listeners: make(map[*listener]struct{})} }

func (r *fakeRelay) Notify(_ context.Context, text string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusing {
		return errRelay
	}
	r.sent = append(r.sent, text)
	if r.lose != nil && r.lose() {
		return nil
	}
	for l := range r.listeners {
		l.handle(text)
	}
	return nil
}

func (r *fakeRelay) Listen(ctx context.Context, started func(), handle func(string)) error {
	l := &listener{handle: handle, broken: make(chan struct{})}
	r.mu.Lock()
	if r.refusing {
		r.mu.Unlock()
		return errRelay
	}
	r.listeners[l] = struct{}{}
	r.mu.Unlock()
	started()
	select {
	case <-ctx.Done():
		r.mu.Lock()
		delete(r.listeners, l)
		r.mu.Unlock()
		return ctx.Err()
	case <-l.broken:
		return errRelay
	}
}

// cut breaks every listener's connection; with refuse, nothing works until mend.
func (r *fakeRelay) cut(refuse bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusing = refuse
	for l := range r.listeners {
		close(l.broken)
		delete(r.listeners, l)
	}
}

func (r *fakeRelay) mend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusing = false
}

func (r *fakeRelay) listening() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.listeners)
}

func (r *fakeRelay) sentCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sent)
}

// fakeAuth knows some tokens.
type fakeAuth struct {
	mu     sync.Mutex
	tokens map[string]uuid.UUID
	down   bool

	refused error         // what CheckAccount says
	holds   time.Duration // for how long
}

func (a *fakeAuth) CheckAccount(context.Context, auth.Principal) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused
}

func (a *fakeAuth) AccountHolds(auth.Principal) time.Duration { return a.holds }

func (a *fakeAuth) refuse(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused = err
}

func (a *fakeAuth) Authenticate(_ context.Context, token string) (auth.Principal, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down {
		return auth.Principal{}, recording.Errorf(recording.CodeUnavailable, "down")
	}
	id, ok := a.tokens[token]
	if !ok {
		return auth.Principal{}, recording.Errorf(recording.CodeUnauthenticated, "no such token")
	}
	return auth.Principal{UserID: id, Subject: "dev:" + token}, nil
}

func (a *fakeAuth) set(token string, id uuid.UUID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens[token] = id
}

func (a *fakeAuth) revoke(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.tokens, token)
}
