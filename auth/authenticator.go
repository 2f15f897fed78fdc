package auth

import (
	"context"
	"net/http"
	"sync"

	"github.com/google/uuid"

	"reprise/recording"
)

// defaultCacheSize bounds the cache of users at about 2 MB.
const defaultCacheSize = 10_000

// Options is what an Authenticator is made of.
type Options struct {
	Verifier Verifier
	Users    Users

	// WriteProblem answers a request with an error. The middlewares call it
	// after setting the WWW-Authenticate header that a 401 must have.
	WriteProblem func(w http.ResponseWriter, r *http.Request, err error)

	// TicketPath is where Middleware lets requests with upload tickets through,
	// "/files/"; "" is nowhere.
	TicketPath string

	// CacheSize is how many subjects' user ids are kept in memory. 0 means 10,000.
	CacheSize int
}

// Authenticator finds out who a token belongs to. It is safe for concurrent
// use.
type Authenticator struct {
	verifier     Verifier
	users        Users
	writeProblem func(w http.ResponseWriter, r *http.Request, err error)
	ticketPath   string

	cacheSize int
	mu        sync.Mutex
	cache     map[string]uuid.UUID // subject to user id, which never changes
}

// New makes an Authenticator.
func New(o Options) *Authenticator {
	if o.CacheSize <= 0 {
		o.CacheSize = defaultCacheSize
	}
	return &Authenticator{
		verifier:     o.Verifier,
		users:        o.Users,
		writeProblem: o.WriteProblem,
		ticketPath:   o.TicketPath,
		cacheSize:    o.CacheSize,
		cache:        make(map[string]uuid.UUID),
	}
}

// Authenticate returns who the token belongs to; a person seen for the first
// time becomes a user. Errors are *recording.Error: unauthenticated for a token
// that is missing, malformed or not valid (any more), or the ticket of an upload;
// unavailable if that can't be found out now.
func (a *Authenticator) Authenticate(ctx context.Context, token string) (Principal, error) {
	if err := checkToken(token); err != nil {
		return Principal{}, err
	}
	if _, ok := ticketOf(token); ok {
		return Principal{}, errTicket()
	}
	identity, err := a.verifier.Verify(ctx, token)
	if err != nil {
		return Principal{}, err
	}
	id, err := a.userID(ctx, identity.Subject)
	if err != nil {
		return Principal{}, err
	}
	return Principal{UserID: id, Subject: identity.Subject}, nil
}

func (a *Authenticator) userID(ctx context.Context, subject string) (uuid.UUID, error) {
	a.mu.Lock()
	id, ok := a.cache[subject]
	a.mu.Unlock()
	if ok {
		return id, nil
	}
	id, err := a.users.EnsureUser(ctx, subject)
	if err != nil {
		return uuid.Nil, recording.Wrap(recording.CodeUnavailable, err, "Your account can't be looked up right now; try again.")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.cache) >= a.cacheSize {
		for victim := range a.cache { // any one: a miss costs one query
			delete(a.cache, victim)
			break
		}
	}
	a.cache[subject] = id
	return id, nil
}
