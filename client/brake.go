package client

import (
	"sync"
	"time"
)

// brakeSteps is how many times a second bytes go out under a brake.
const brakeSteps = 20

// brake bounds how many bytes a second are sent. A nil one bounds nothing. It is
// safe for concurrent use.
type brake struct {
	perSecond int64

	mu   sync.Mutex
	next time.Time // when the bytes let through so far are paid for
}

func newBrake(perSecond int64) *brake {
	if perSecond == 0 {
		return nil
	}
	return &brake{perSecond: perSecond}
}

// wait waits until bytes may be sent and returns how many: 1 to want.
func (b *brake) wait(want int64) int64 {
	if b == nil {
		return want
	}
	n := min(want, max(b.perSecond/brakeSteps, 1))
	b.mu.Lock()
	now := time.Now()
	if b.next.Before(now) {
		b.next = now
	}
	pause := b.next.Sub(now)
	b.next = b.next.Add(time.Duration(float64(n) / float64(b.perSecond) * float64(time.Second)))
	b.mu.Unlock()
	time.Sleep(pause)
	return n
}
