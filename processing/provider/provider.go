// Package provider asks services of other people over HTTP, and expects the worst of
// them: that they are slow, away, wrong, or send without end.
package provider

import (
	"fmt"
	"time"
)

// OutageError says that a provider can't be used now, which says nothing about what
// it was asked: the same may be asked again later.
type OutageError struct {
	RetryAfter time.Duration // when it makes sense to ask again
	Err        error
}

func (e *OutageError) Error() string {
	return fmt.Sprintf("the provider can't be used for %s: %v", e.RetryAfter, e.Err)
}

func (e *OutageError) Unwrap() error { return e.Err }

// RefusedError says that a provider won't do what it was asked, now or later.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return "the provider refuses: " + e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// ReplyError says that a provider's answer is of no use: it is not what its protocol
// says, too long, or cut off. Another attempt may get a better one.
type ReplyError struct{ Err error }

func (e *ReplyError) Error() string { return "the provider's answer is of no use: " + e.Err.Error() }
func (e *ReplyError) Unwrap() error { return e.Err }
