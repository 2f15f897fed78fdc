// Package aiserver is a stand-in for a service that speaks OpenAI's protocol, for
// tests: POST /v1/audio/transcriptions and /v1/chat/completions, in the real wire
// format. It checks what it is sent, answers by itself or as the test says, fails in
// every way that such services fail, and counts what they would bill: a success is
// billed once per Idempotency-Key, and the key's next question gets the same answer.
package aiserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Server is the stand-in. It is safe for concurrent use.
type Server struct {
	URL string // the base URL, which ends in /v1

	mu         sync.Mutex
	key        string
	transcribe func(Audio) (Transcription, error)
	chat       func(Chat) (string, error)
	script     []Fault
	always     Fault
	seen       []Request

	closing chan struct{}

	work    sync.Mutex        // held while an answer is made
	billed  map[string]int    // successes by Idempotency-Key; "" is those without
	answers map[string][]byte // by path and Idempotency-Key
}

// Request is one that has come in.
type Request struct {
	Path          string // below the base URL, such as "chat/completions"
	Key           string // Idempotency-Key
	Authorization string
}

// New starts a stand-in on a loopback port, for the length of a test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		transcribe: Speech, chat: Invent,
		billed: map[string]int{}, answers: map[string][]byte{}, closing: make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.Handle("POST /v1/audio/transcriptions", s.endpoint("audio/transcriptions", s.answerAudio))
	mux.Handle("POST /v1/chat/completions", s.endpoint("chat/completions", s.answerChat))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		complain(w, http.StatusNotFound, "invalid_request_error", "", "Invalid URL ("+r.Method+" "+r.URL.Path+")")
	})
	listener := httptest.NewServer(mux)
	s.URL = listener.URL + "/v1"
	t.Cleanup(func() {
		close(s.closing) // of requests that hang
		listener.Close()
	})
	return s
}

// RequireKey makes the stand-in want this key as a bearer token.
func (s *Server) RequireKey(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = key
}

// Transcribe sets what is heard in audio. An error is a refusal of the question.
func (s *Server) Transcribe(f func(Audio) (Transcription, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.transcribe = f
}

// Chat sets the content of the answers to chats. An error is a refusal of the question.
func (s *Server) Chat(f func(Chat) (string, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chat = f
}

// Script makes the next requests end in these faults, one each; nil is none. Those
// that come after them succeed.
func (s *Server) Script(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = append(s.script, faults...)
}

// Always makes every request end in the fault, until it is set to nil.
func (s *Server) Always(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.always = f
}

// Requests returns the requests that have come in, whatever became of them.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.seen...)
}

// Billed returns how many successes would be billed.
func (s *Server) Billed() int {
	s.work.Lock()
	defer s.work.Unlock()
	total := 0
	for _, n := range s.billed {
		total += n
	}
	return total
}

// BilledOf returns how many successes would be billed of those with the key.
func (s *Server) BilledOf(key string) int {
	s.work.Lock()
	defer s.work.Unlock()
	return s.billed[key]
}

// endpoint answers requests of one path. The faults come after the request is read
// and checked, where a real service works.
func (s *Server) endpoint(path string, answer func(body []byte, contentType string) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // the client has gone
		}
		fault, authorized := s.admit(path, r)
		if !authorized {
			complain(w, http.StatusUnauthorized, "invalid_request_error", "invalid_api_key",
				"Incorrect API key provided: "+r.Header.Get("Authorization"))
			return
		}
		var refusal error
		work := func() []byte {
			var text []byte
			if text, refusal = s.once(path, r.Header.Get("Idempotency-Key"), func() (any, error) { return answer(body, r.Header.Get("Content-Type")) }); refusal != nil {
				complain(w, http.StatusBadRequest, "invalid_request_error", "", refusal.Error())
				return nil
			}
			return text
		}
		if fault != nil {
			fault(w, r, &Work{answer: work, closing: s.closing})
			return
		}
		if text := work(); refusal == nil {
			sendJSON(w, http.StatusOK, text)
		}
	})
}

// admit notes a request, and returns what it is to end in.
func (s *Server) admit(path string, r *http.Request) (fault Fault, authorized bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	authorization := r.Header.Get("Authorization")
	s.seen = append(s.seen, Request{Path: path, Key: r.Header.Get("Idempotency-Key"), Authorization: authorization})
	fault = s.always
	if len(s.script) > 0 {
		fault, s.script = s.script[0], s.script[1:]
	}
	return fault, s.key == "" || authorization == "Bearer "+s.key
}

// once returns the answer to a question, which is made and billed once per key. Two
// questions with one key at a time wait for each other, as all others do.
func (s *Server) once(path, key string, answer func() (any, error)) ([]byte, error) {
	s.work.Lock()
	defer s.work.Unlock()
	stored := path + " " + key
	if text, done := s.answers[stored]; done && key != "" {
		return text, nil
	}
	value, err := answer()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	s.billed[key]++
	s.answers[stored] = text
	return text, nil
}

func sendJSON(w http.ResponseWriter, status int, text []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	w.WriteHeader(status)
	_, _ = io.Copy(w, bytes.NewReader(text))
}

// complain answers as OpenAI does when it doesn't do what it is asked.
func complain(w http.ResponseWriter, status int, kind, code, message string) {
	text, err := json.Marshal(map[string]any{"error": map[string]any{"message": message, "type": kind, "param": nil, "code": code}})
	if err != nil {
		panic(err) // these are strings
	}
	sendJSON(w, status, text)
}
