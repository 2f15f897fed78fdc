package limits

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxKeys bounds the table of a rate at some 20 MB. Who is pushed out of a full one
// begins anew with a whole burst, as everybody does who hasn't been seen for a while.
const maxKeys = 100_000

// Rate is how many requests are served: Burst at once, and in the long run PerSecond.
// The zero Rate is no limit.
type Rate struct {
	PerSecond float64
	Burst     int
}

// rates has a token bucket (https://en.wikipedia.org/wiki/Token_bucket) for each key
// that was seen lately.
type rates[K comparable] struct {
	rate    Rate
	maxKeys int

	mu     sync.Mutex
	keys   map[K]*list.Element
	recent *list.List // of *bucket[K], the latest used first
}

type bucket[K comparable] struct {
	key     K
	limiter *rate.Limiter
	used    time.Time
}

func newRates[K comparable](r Rate, maxKeys int) *rates[K] {
	return &rates[K]{rate: r, maxKeys: maxKeys, keys: make(map[K]*list.Element), recent: list.New()}
}

// take returns 0 if a request of key may be served now, else when one may.
func (r *rates[K]) take(key K, now time.Time) (wait time.Duration) {
	if r.rate.PerSecond <= 0 {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bucket(key, now)
	res := b.limiter.ReserveN(now, 1)
	if wait = res.DelayFrom(now); wait > 0 {
		res.CancelAt(now)
	}
	return wait
}

func (r *rates[K]) bucket(key K, now time.Time) *bucket[K] {
	if e, ok := r.keys[key]; ok {
		r.recent.MoveToFront(e)
		b := e.Value.(*bucket[K])
		b.used = now
		return b
	}
	r.forget(now)
	b := &bucket[K]{key: key, limiter: rate.NewLimiter(rate.Limit(r.rate.PerSecond), max(1, r.rate.Burst)), used: now}
	r.keys[key] = r.recent.PushFront(b)
	return b
}

// forget makes room for a key: it drops two whose buckets are full again, which a new
// one would be too, so the table shrinks while others come; and if it is full,
// whoever came the longest time ago.
func (r *rates[K]) forget(now time.Time) {
	full := time.Duration(float64(max(1, r.rate.Burst)) / r.rate.PerSecond * float64(time.Second))
	for range 2 {
		e := r.recent.Back()
		if e == nil {
			return
		}
		b := e.Value.(*bucket[K])
		if len(r.keys) < r.maxKeys && now.Sub(b.used) < full {
			return
		}
		r.recent.Remove(e)
		delete(r.keys, b.key)
	}
}
