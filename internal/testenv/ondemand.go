package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"sync"

	"reprise/internal/neo4jserver"
	"reprise/internal/s3server"
)

// onDemand starts servers when the first test asks where they are, because most runs
// of a few packages need none.
type onDemand struct {
	url   string // where tests ask
	start func() (where any, stop func(), err error)
	http  *http.Server
	done  chan struct{} // closed when http has ended

	mu     sync.Mutex
	tried  bool
	where  any    // as JSON, what a test is told
	ending func() // nil if nothing was started
	err    error  // why there is nothing
}

func offer(start func() (where any, stop func(), err error)) (*onDemand, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &onDemand{url: "http://" + l.Addr().String(), start: start, done: make(chan struct{})}
	o.http = &http.Server{Handler: http.HandlerFunc(o.answer)}
	go func() {
		defer close(o.done)
		_ = o.http.Serve(l) // its end is Close
	}()
	return o, nil
}

// answer tells a test where the servers are.
func (o *onDemand) answer(w http.ResponseWriter, _ *http.Request) {
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

// stop ends what was started, and starts nothing any more.
func (o *onDemand) stop() {
	_ = o.http.Close()
	<-o.done
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tried, o.err = true, http.ErrServerClosed
	if o.ending != nil {
		o.ending()
	}
}

// Neither start is bound to the request's context: the next one finds them started.

func startS3(dir string) (any, func(), error) {
	servers, err := s3server.Start(context.Background(), dir)
	if err != nil {
		return nil, nil, err
	}
	return servers.All(), servers.Stop, nil
}

func startNeo4j(dir string, fast bool) (any, func(), error) {
	server, err := neo4jserver.Start(context.Background(), neo4jserver.Options{Dir: dir, Fast: fast})
	if err != nil {
		return nil, nil, err
	}
	return server.Where(), server.Kill, nil
}
