// Package ondemand starts servers when the first test asks where they are, because most
// runs of a few packages need none. One process offers them, others ask.
package ondemand

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// Offer is an offer of something that is started at the first need, once.
type Offer[T any] struct {
	url   string
	start func() (where T, stop func(), err error)
	http  *http.Server
	done  chan struct{} // closed when http has ended

	mu     sync.Mutex
	tried  bool
	where  T
	ending func() // nil if nothing was started
	err    error  // why there is nothing
}

// New makes an offer. Where says, in JSON, where to find what start has started.
func New[T any](start func() (where T, stop func(), err error)) (*Offer[T], error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &Offer[T]{url: "http://" + l.Addr().String(), start: start, done: make(chan struct{})}
	o.http = &http.Server{Handler: http.HandlerFunc(o.answer)}
	go func() {
		defer close(o.done)
		_ = o.http.Serve(l) // its end is Close
	}()
	return o, nil
}

// URL is what to Ask.
func (o *Offer[T]) URL() string { return o.url }

func (o *Offer[T]) answer(w http.ResponseWriter, _ *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.tried {
		o.tried = true
		o.where, o.ending, o.err = o.start()
	}
	if o.err != nil {
		http.Error(w, o.err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(o.where) // it fails only when nobody listens
}

// Stop ends what was started, and starts nothing any more.
func (o *Offer[T]) Stop() {
	_ = o.http.Close()
	<-o.done
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tried, o.err = true, http.ErrServerClosed
	if o.ending != nil {
		o.ending()
	}
}

// Ask returns where something is that is offered at a URL, once it is started.
func Ask[T any](ctx context.Context, url string) (where T, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return where, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return where, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		return where, fmt.Errorf("it was not started: %s", strings.TrimSpace(string(text)))
	}
	err = json.NewDecoder(res.Body).Decode(&where)
	return where, err
}
