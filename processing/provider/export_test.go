package provider

import (
	"net/http"
	"time"
)

// WithoutWaits makes tries follow each other at once.
func (c *Client) WithoutWaits() { c.min, c.max = time.Millisecond, time.Millisecond }

// BreakerState is closed, open or half_open.
func (c *Client) BreakerState() string { return c.breaker.state() }

// HasProxy says whether requests can go another way than straight to the service.
func (c *Client) HasProxy() bool { return c.http.Transport.(*http.Transport).Proxy != nil }

// Wait returns how long would be waited after an answer to the first try.
func (c *Client) Wait(res *http.Response) time.Duration { return c.backoff(c.min, c.max, 0, res) }
