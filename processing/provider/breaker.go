package provider

import (
	"sync"
	"time"
)

// busyWait is what everybody else is told to wait while one question finds out whether
// the service is back.
const busyWait = 5 * time.Second

// breaker keeps questions from a service that is not there. It opens after some
// outages one after the other, or at once when the service says how long it wants to
// be left alone. When that time is over, one question is let through, and its end
// decides for all.
//
// It is not a library's: none of them opens for as long as a service asks for, says
// when it will try again, and lets a probe end without an answer. See docs/decisions/0022-providers.md.
type breaker struct {
	limit int // of outages, before it opens
	now   func() time.Time

	mu      sync.Mutex
	outages int       // one after the other
	until   time.Time // when it half-opens; zero while it is closed
	probing bool
}

// enter says whether a question may be sent (wait is 0), and if it is a probe. Each
// that may be sent is followed by leave.
func (b *breaker) enter() (probe bool, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until.IsZero() {
		return false, 0
	}
	if wait := b.until.Sub(b.now()); wait > 0 {
		return false, wait
	}
	if b.probing {
		return false, busyWait
	}
	b.probing = true
	return true, 0
}

// leave tells how a question ended.
func (b *breaker) leave(probe bool, v verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	}
	switch v.outcome {
	case canceled: // says nothing about the service
	case ok, refused, unusable:
		b.outages, b.until = 0, time.Time{}
	default:
		b.outages++
		if !b.until.IsZero() && !probe {
			return // sent before it opened; the probe will tell
		}
		if probe || v.outcome == slowDown || v.outcome == denied || b.outages >= b.limit {
			b.until = b.now().Add(v.retryAfter)
		}
	}
}

// state is closed, open or half_open.
func (b *breaker) state() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.until.IsZero():
		return "closed"
	case b.until.After(b.now()):
		return "open"
	}
	return "half_open"
}
