package auth

import "sync"

// cache keeps a bounded number of values by subject. Which one goes when it is
// full does not matter: a miss costs a query.
type cache[V any] struct {
	size int
	mu   sync.Mutex
	m    map[string]V
}

func newCache[V any](size int) *cache[V] {
	return &cache[V]{size: size, m: make(map[string]V)}
}

func (c *cache[V]) get(key string) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.m[key]
	return v, ok
}

func (c *cache[V]) put(key string, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.m[key]; !ok && len(c.m) >= c.size {
		for victim := range c.m {
			delete(c.m, victim)
			break
		}
	}
	c.m[key] = v
}
