// Package auth turns the token of a request into a Principal: who is asking.
//
// It checks tokens (through a Verifier), maps the subject they name to a user
// of ours, and carries the result in the request's context. It is not
// authorization: whether this user may see a recording is decided where the
// recording is, by its owner. It holds no sessions and sets no cookies, so a
// request without a token is nobody's, whatever site it comes from.
//
// Beside tokens it knows tickets, each of which opens one upload: package upload
// hands them out and looks them up, and to everybody else they are nobody's.
//
// It promises that a token never appears in an error, and that a request with
// a token that isn't valid never goes on as an anonymous one.
package auth

import (
	"context"

	"github.com/google/uuid"
)

// Principal is the user a request acts for.
type Principal struct {
	UserID  uuid.UUID
	Subject string // who the identity provider says this is, for example "dev:alice"
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
	// Subject names the person, unique over all providers: the provider's name,
	// a colon, and the provider's own name for the person.
	Subject string
}

// Verifier checks tokens of one identity provider. It is safe for concurrent
// use.
type Verifier interface {
	// Verify returns what the token says. Its errors are *recording.Error:
	// unauthenticated for a token that isn't valid, unavailable if that can't be
	// decided now. They hold no part of the token.
	Verify(ctx context.Context, token string) (Identity, error)
}

// Users finds the user that a subject belongs to.
type Users interface {
	// EnsureUser returns the id of the subject's user, which it creates if this
	// is the first time the subject is seen.
	EnsureUser(ctx context.Context, subject string) (uuid.UUID, error)
}
