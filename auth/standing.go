package auth

import (
	"context"
	"time"

	"golang.org/x/sync/singleflight"

	"reprise/recording"
)

const (
	// directoryPatience bounds one question to the directory.
	directoryPatience = 5 * time.Second
	// directoryRetry is the pause after a question without an answer about somebody of
	// whom nothing is known: what they want has to wait for it.
	directoryRetry = 5 * time.Second
)

// standing remembers what a directory says of accounts, so that it is asked once
// per user and minute at most, and for a while without it.
type standing struct {
	directory Directory
	stale     time.Duration
	now       func() time.Time
	metrics   *metrics
	answers   *cache[answer]
	asking    singleflight.Group
}

// answer is what is known of one account.
type answer struct {
	account Account
	at      time.Time // when the directory said so; zero: it never has
	again   time.Time // when it may be asked again
	err     error     // why it has not answered the last time; nil if it has
}

func newStanding(o Options, m *metrics) *standing {
	return &standing{directory: o.Directory, stale: o.Stale, now: o.Now, metrics: m, answers: newCache[answer](o.CacheSize)}
}

func (s *standing) check(ctx context.Context, p Principal) error {
	known, ok := s.answers.get(p.Subject)
	if !ok || !s.now().Before(known.again) {
		// The question is everybody's who waits for it: it goes on when one of them goes.
		asked := s.asking.DoChan(p.Subject, func() (any, error) { return s.ask(context.WithoutCancel(ctx), p.Subject), nil })
		select {
		case <-ctx.Done():
			return recording.Wrap(recording.CodeUnavailable, ctx.Err(), "Your account can't be looked up right now; try again.")
		case result := <-asked:
			known = result.Val.(answer)
		}
	}
	switch {
	case known.at.IsZero() || known.err != nil && s.now().Sub(known.at) > s.stale:
		return recording.Wrap(recording.CodeUnavailable, known.err, "Your account can't be checked with the identity provider right now; try again.")
	case known.account.Gone:
		return errGone()
	case known.account.Disabled:
		return errDisabled()
	case p.AuthTime.Before(known.account.ValidAfter) && !p.AuthTime.IsZero():
		return errRevoked()
	}
	return nil
}

// ask asks the directory and remembers what it says, or that it doesn't.
func (s *standing) ask(ctx context.Context, subject string) answer {
	known, _ := s.answers.get(subject)
	at := s.now()
	if at.Before(known.again) { // somebody else has asked meanwhile
		return known
	}
	ctx, cancel := context.WithTimeout(ctx, directoryPatience)
	defer cancel()
	account, err := s.directory.Account(ctx, subject)
	s.metrics.lookup(account, err)
	switch {
	case err == nil:
		known = answer{account: account, at: at, again: at.Add(accountFresh)}
	case known.at.IsZero():
		known = answer{err: err, again: at.Add(directoryRetry)}
	default:
		known.err, known.again = err, at.Add(accountFresh)
	}
	s.answers.put(subject, known)
	return known
}

func (s *standing) holdsUntil(subject string) time.Time {
	known, _ := s.answers.get(subject)
	return known.again
}
