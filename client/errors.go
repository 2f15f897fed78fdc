package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"reprise/recording"
)

// The exit codes of `reprise upload`: see the package's documentation.
const (
	ExitDone         = 0
	ExitUsage        = 1
	ExitFailed       = 2
	ExitUnreachable  = 3
	ExitUnauthorized = 4
	ExitInterrupted  = 130 // as a shell says for SIGINT
)

// ExitCode turns an error of Upload into the process's exit code. Of several
// files' errors the one counts that the user can do most about: an interruption,
// then the token, then the server, then a file.
func ExitCode(err error) int {
	var usage *UsageError
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &usage):
		return ExitUsage
	}
	codes := make(map[int]bool)
	for _, e := range flatten(err) {
		codes[exitCodeOfOne(e)] = true
	}
	for _, code := range []int{ExitUnauthorized, ExitUnreachable, ExitInterrupted} {
		if codes[code] {
			return code
		}
	}
	return ExitFailed
}

func exitCodeOfOne(err error) int {
	var problem *Problem
	var unreachable *UnreachableError
	switch {
	case errors.As(err, &problem) && problem.unauthorized():
		return ExitUnauthorized
	case errors.As(err, &unreachable):
		return ExitUnreachable
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	}
	return ExitFailed
}

func flatten(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// hopeless reports whether the next file would fail of the same.
func hopeless(err error) bool {
	code := exitCodeOfOne(err)
	return err != nil && (code == ExitUnauthorized || code == ExitUnreachable)
}

// UsageError says that the options make no sense.
type UsageError struct{ Message string }

func (e *UsageError) Error() string { return e.Message }

func usagef(format string, args ...any) error {
	return &UsageError{Message: fmt.Sprintf(format, args...)}
}

// UnreachableError says that the server could not be reached, or could not
// serve, for too long. Err is the last failure.
type UnreachableError struct {
	Server string
	After  time.Duration
	Err    error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("gave up on %s after %s: %v", e.Server, e.After.Round(time.Second), e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// FileError says what is wrong with a file on this machine.
type FileError struct{ Message string }

func (e *FileError) Error() string { return e.Message }

// errChanged says that the bytes to send are no longer those of one file.
var errChanged = &FileError{"it changed while it was being uploaded; upload it when nothing writes to it any more"}

// OutcomeError says that the file arrived and no playable recording came of it.
type OutcomeError struct {
	State  recording.State // rejected, failed or deleted
	Reason recording.Reason
	Detail string
}

func (e *OutcomeError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("%s (%s)", e.State, e.Reason)
	}
	return fmt.Sprintf("%s: %s (%s)", e.State, printable(e.Detail), e.Reason)
}

// Problem is an answer of the server that is an error (RFC 9457).
type Problem struct {
	Status int            `json:"-"`
	Code   recording.Code `json:"code"` // "" if the answer was none of Reprise's own
	Title  string         `json:"title"`
	Detail string         `json:"detail"`

	retryAfter time.Duration // 0 if the server didn't say
}

func (e *Problem) Error() string {
	switch {
	case e.Detail != "":
		return fmt.Sprintf("%s (HTTP %d)", printable(e.Detail), e.Status)
	case e.Status >= 300 && e.Status < 400:
		return fmt.Sprintf("the server sends elsewhere (HTTP %d); is its URL right?", e.Status)
	}
	return fmt.Sprintf("the server answered HTTP %d %s", e.Status, http.StatusText(e.Status))
}

// elsewhere reports whether something else than a Reprise server says that it
// doesn't know what was asked for: a proxy, or Reprise's admin listener.
func (e *Problem) elsewhere() bool {
	return e.Code == "" && (e.Status == http.StatusNotFound || e.Status == http.StatusMethodNotAllowed)
}

func (e *Problem) unauthorized() bool {
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
}

// passes reports whether the same request may succeed later.
func (e *Problem) passes() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusLocked, http.StatusTooEarly:
		return true
	case http.StatusTooManyRequests:
		return e.Code != recording.CodeDailyQuota // nobody waits for midnight here
	case http.StatusConflict: // of an offset: the next HEAD tells the right one
		return e.Code != recording.CodeClientIDConflict
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return e.Status >= 500
}

// errCut is the failure that CutAt makes.
var errCut = errors.New("connection cut on purpose")

// errLost is the failure of a connection that ended before the answer.
var errLost = errors.New("the connection was lost")

// errStalled is the failure of a PATCH of which no byte moved any more.
var errStalled = errors.New("the connection stalled")

// passing reports whether an error is one of those that pass: the network's, and
// some of the server's.
func passing(err error) bool {
	var problem *Problem
	var file *FileError
	var final *protocolError
	switch {
	case errors.As(err, &problem):
		return problem.passes()
	case errors.As(err, &file), errors.As(err, &final):
		return false
	}
	return true
}

// protocolError says that whatever answered does not speak as Reprise does.
type protocolError struct{ message string }

func (e *protocolError) Error() string { return e.message }

func protocolf(format string, args ...any) error {
	return &protocolError{message: fmt.Sprintf(format, args...)}
}
