package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"sync"

	"reprise/internal/s3server"
)

// s3 starts the S3 servers when the first test asks where they are, because most
// runs of a few packages need none.
type s3 struct {
	url  string
	dir  string
	http *http.Server
	done chan struct{} // closed when http has ended

	mu      sync.Mutex
	stopped bool
	servers *s3server.Servers
	err     error // why there are none
}

func listenForS3(dir string) (*s3, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &s3{url: "http://" + l.Addr().String(), dir: filepath.Join(dir, "s3"), done: make(chan struct{})}
	s.http = &http.Server{Handler: http.HandlerFunc(s.answer)}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(l) // its end is Close
	}()
	return s, nil
}

// answer tells a test where the servers are.
func (s *s3) answer(w http.ResponseWriter, _ *http.Request) {
	servers, err := s.start()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(servers.All()) // it fails only when nobody listens
}

func (s *s3) start() (*s3server.Servers, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.servers == nil && s.err == nil && !s.stopped {
		// Not the request's context: the next one finds them started.
		s.servers, s.err = s3server.Start(context.Background(), s.dir)
	}
	if s.servers == nil && s.err == nil {
		return nil, http.ErrServerClosed
	}
	return s.servers, s.err
}

func (s *s3) stop() {
	_ = s.http.Close()
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	if s.servers != nil {
		s.servers.Stop()
	}
}

// environment is what the command's processes find the servers with.
func (s *s3) environment() []string {
	env := []string{"REPRISE_TEST_S3_URL=" + s.url}
	for name, value := range s3server.Environment() {
		env = append(env, name+"="+value)
	}
	return env
}
