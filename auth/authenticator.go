package auth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"reprise/recording"
)

const (
	// defaultCacheSize bounds each cache at some megabytes.
	defaultCacheSize = 10_000

	// accountFresh is how long what is known of a user counts without asking again:
	// the database whether an operator has disabled them, the directory for the rest.
	accountFresh = time.Minute
)

// Options is what an Authenticator is made of. Directory, CacheSize and Now may be
// left out.
type Options struct {
	Verifier Verifier
	Users    Users

	// Directory knows whether accounts are disabled or their tokens revoked. Without
	// one only an operator can shut somebody out.
	Directory Directory
	// Stale is how long the last answer of a Directory counts that can't be asked.
	Stale time.Duration

	// WriteProblem answers a request with an error. The middlewares call it
	// after setting the WWW-Authenticate header that a 401 must have.
	WriteProblem func(w http.ResponseWriter, r *http.Request, err error)

	// TicketPath is where Middleware lets requests with upload tickets through,
	// "/files/"; "" is nowhere.
	TicketPath string

	// CacheSize is how many users are kept in memory. 0 means 10,000.
	CacheSize int
	Metrics   prometheus.Registerer
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Authenticator finds out who a token belongs to, and whether they may still use
// the server. It is safe for concurrent use.
type Authenticator struct {
	verifier     Verifier
	users        Users
	standing     *standing // nil without a directory
	writeProblem func(w http.ResponseWriter, r *http.Request, err error)
	ticketPath   string
	now          func() time.Time
	metrics      *metrics
	known        *cache[knownUser]
}

// knownUser is what is remembered of a user, by their subject.
type knownUser struct {
	id       uuid.UUID
	disabled bool
	profile  recording.Profile // the last that was passed on to Users
	until    time.Time
}

// New makes an Authenticator.
func New(o Options) *Authenticator {
	if o.CacheSize <= 0 {
		o.CacheSize = defaultCacheSize
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &Authenticator{
		verifier:     o.Verifier,
		users:        o.Users,
		writeProblem: o.WriteProblem,
		ticketPath:   o.TicketPath,
		now:          o.Now,
		metrics:      newMetrics(o.Metrics),
		known:        newCache[knownUser](o.CacheSize),
	}
	if o.Directory != nil {
		a.standing = newStanding(o, a.metrics)
	}
	return a
}

// Authenticate returns who the token belongs to; a person seen for the first
// time becomes a user. Errors are *recording.Error: unauthenticated for a token
// that is missing, malformed or not valid (any more), or the ticket of an upload;
// account_disabled for a user whom an operator has disabled, unavailable if that can't
// be found out now. It does not ask the directory: see CheckAccount.
func (a *Authenticator) Authenticate(ctx context.Context, token string) (Principal, error) {
	p, err := a.authenticate(ctx, token)
	a.metrics.token(err)
	return p, err
}

func (a *Authenticator) authenticate(ctx context.Context, token string) (Principal, error) {
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
	user, err := a.see(ctx, identity.Profile)
	if err != nil {
		return Principal{}, err
	}
	if user.disabled {
		return Principal{}, errDisabled()
	}
	return Principal{UserID: user.id, Subject: identity.Subject, Role: identity.Role, AuthTime: identity.AuthTime}, nil
}

// see returns the user with this profile, from memory if that is fresh.
func (a *Authenticator) see(ctx context.Context, p recording.Profile) (knownUser, error) {
	user, ok := a.known.get(p.Subject)
	if ok && a.now().Before(user.until) && !news(user.profile, p) {
		return user, nil
	}
	until := a.now().Add(accountFresh) // of before the question: what changes meanwhile may be missed
	u, err := a.users.SeeUser(ctx, p)
	if err != nil {
		return knownUser{}, errNoUser(err)
	}
	if ok && p.IssuedAt.Before(user.profile.IssuedAt) {
		p = user.profile
	}
	user = knownUser{id: u.ID, disabled: u.DisabledAt != nil, profile: p, until: until}
	a.known.put(p.Subject, user)
	return user, nil
}

// news reports whether now says something else than before, and is newer.
func news(before, now recording.Profile) bool {
	newer := now.IssuedAt.After(before.IssuedAt)
	before.IssuedAt = now.IssuedAt
	return newer && before != now
}

// CheckAccount reports whether p may still do something that counts: create,
// complete or delete. What it knows is at most a minute old, whatever the age of
// the token. Errors are *recording.Error: account_disabled, unauthenticated if p has
// to sign in again, unavailable if that can't be found out.
func (a *Authenticator) CheckAccount(ctx context.Context, p Principal) error {
	user, ok := a.known.get(p.Subject)
	if !ok || !a.now().Before(user.until) {
		until := a.now().Add(accountFresh)
		u, err := a.users.User(ctx, p.UserID)
		if errors.Is(err, recording.ErrNotFound) {
			return errGone()
		}
		if err != nil {
			return errNoUser(err)
		}
		user.id, user.disabled, user.until = u.ID, u.DisabledAt != nil, until
		a.known.put(p.Subject, user)
	}
	if user.disabled {
		return errDisabled()
	}
	if a.standing == nil {
		return nil
	}
	return a.standing.check(ctx, p)
}

// AccountHolds returns for how long CheckAccount will say of p what it says now,
// without asking anybody.
func (a *Authenticator) AccountHolds(p Principal) time.Duration {
	user, _ := a.known.get(p.Subject)
	until := user.until
	if a.standing != nil {
		until = minTime(until, a.standing.holdsUntil(p.Subject))
	}
	return max(0, until.Sub(a.now()))
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func errNoUser(err error) error {
	return recording.Wrap(recording.CodeUnavailable, err, "Your account can't be looked up right now; try again.")
}

func errDisabled() error {
	return recording.Errorf(recording.CodeAccountDisabled, "This account is disabled; what it has uploaded is kept. Ask whoever runs this server.")
}

func errGone() error {
	return recording.Errorf(recording.CodeUnauthenticated, "The account of this token does not exist any more; sign in again.")
}

func errRevoked() error {
	return recording.Errorf(recording.CodeUnauthenticated, "This sign-in was revoked; sign in again.")
}
