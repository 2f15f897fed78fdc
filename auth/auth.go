// Package auth turns the token of a request into a Principal: who is asking, and
// whether they may still.
//
// It checks tokens (through a Verifier), maps the subject they name to a user
// of ours, asks the identity provider whether it still stands by that user
// (through a Directory), and carries the result in the request's context. It is
// not authorization: whether this user may see a recording is decided where the
// recording is, by its owner. It holds no sessions and sets no cookies, so a
// request without a token is nobody's, whatever site it comes from.
//
// Beside tokens it knows tickets, each of which opens one upload: package upload
// hands them out and looks them up, and to everybody else they are nobody's.
//
// It promises that a token never appears in an error, that a request with a
// token that isn't valid never goes on as an anonymous one, and that no provider
// is asked per request.
package auth

import (
	"context"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

// Principal is the user a request acts for.
type Principal struct {
	UserID  uuid.UUID
	Subject string         // who the identity provider says this is, for example "dev:alice"
	Role    recording.Role // what they may do beyond what is their own, by their token
	// AuthTime is when they signed in to get the token, or one that it renews; zero if
	// that isn't known.
	AuthTime time.Time
}

type principalKey struct{}

// NewContext returns a context that carries p.
func NewContext(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// FromContext returns the principal that ctx carries; false means that nobody
// has authenticated.
func FromContext(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok
}

// Identity is what a valid token says.
type Identity struct {
	// Profile describes the person. Its Subject names them, unique over all
	// providers: the provider's name, a colon, and the provider's own name for the
	// person.
	recording.Profile
	Role     recording.Role
	AuthTime time.Time
}

// Verifier checks tokens of one identity provider. It is safe for concurrent
// use.
type Verifier interface {
	// Verify returns what the token says. Its errors are *recording.Error:
	// unauthenticated for a token that isn't valid, unavailable if that can't be
	// decided now. They hold no part of the token.
	Verify(ctx context.Context, token string) (Identity, error)
}

// Account is how an identity provider stands by somebody.
type Account struct {
	Gone       bool      // there is no such account (any more)
	Disabled   bool      // it may not be used
	ValidAfter time.Time // who signed in before this has to do so again; zero if nobody has
}

// Directory asks an identity provider about accounts. It is safe for concurrent
// use.
type Directory interface {
	// Account looks up the account of a subject. An error means that it can't be
	// known now.
	Account(ctx context.Context, subject string) (Account, error)
}

// Users keeps the users.
type Users interface {
	// SeeUser notes that a user was seen with a token that says this, and returns
	// them; who is seen for the first time is created.
	SeeUser(ctx context.Context, p recording.Profile) (recording.User, error)
	// User returns a user.
	User(ctx context.Context, id uuid.UUID) (recording.User, error)
}
