package client

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reprise/recording"
)

func TestRetriesWhatPasses(t *testing.T) {
	t.Parallel()
	for _, status := range []int{408, 409, 423, 425, 429, 500, 502, 503, 504, 507} {
		for _, method := range []string{http.MethodPost, http.MethodHead, http.MethodPatch, http.MethodGet} {
			t.Run(fmt.Sprint(status, method), func(t *testing.T) {
				t.Parallel()
				var times atomic.Int32
				var broken atomic.Bool // so that there is a HEAD
				s := newFakeServer(t, func(s *fakeServer) {
					s.refuse = func(r *http.Request) *Problem {
						if method == http.MethodHead && r.Method == http.MethodPatch && broken.CompareAndSwap(false, true) {
							return &Problem{Status: 500}
						}
						if r.Method == method && times.Add(1) <= 3 {
							return &Problem{Status: status, Code: "unavailable", Detail: "Not now."}
						}
						return nil
					}
				})
				path, content := newFile(t, "talk.wav", 10_000)
				got := upload(t, t.Context(), s.http.URL, Options{Files: []string{path}})
				wantCode(t, got, ExitDone)
				wantArrived(t, s, "talk.wav", content)
				if times.Load() < 4 {
					t.Errorf("%d tries, want at least 4", times.Load())
				}
			})
		}
	}
}

func TestHonoursRetryAfter(t *testing.T) {
	t.Parallel()
	var refused atomic.Bool
	s := newFakeServer(t, func(s *fakeServer) {
		s.refuse = func(r *http.Request) *Problem {
			if r.Method == http.MethodPatch && refused.CompareAndSwap(false, true) {
				return &Problem{Status: 429, Detail: "Too fast.", retryAfter: time.Second}
			}
			return nil
		}
	})
	path, _ := newFile(t, "talk.wav", 10_000)
	begin := time.Now()
	got := upload(t, t.Context(), s.http.URL, Options{Files: []string{path}})
	wantCode(t, got, ExitDone)
	if took := time.Since(begin); took < time.Second {
		t.Errorf("tried again after %v, the server wanted a second", took)
	}
	wantText(t, got.stderr, "Too fast. (HTTP 429); trying again in 1.0 s")
}

func TestGivesUpOnWhatDoesNotPass(t *testing.T) {
	t.Parallel()
	tests := []struct {
		method string
		answer Problem
		code   int
		text   string
	}{
		{"POST", Problem{Status: 429, Code: recording.CodeDailyQuota, Detail: "Go on after midnight."}, ExitFailed, "talk.wav: Go on after midnight. (HTTP 429)"},
		{"POST", Problem{Status: 400, Code: recording.CodeInvalidMetadata, Detail: "Bad language."}, ExitFailed, "talk.wav: Bad language. (HTTP 400)"},
		{"POST", Problem{Status: 409, Code: recording.CodeClientIDConflict, Detail: "Another length."}, ExitFailed, "Another length."},
		{"POST", Problem{Status: 413, Code: recording.CodeTooLarge, Detail: "At most 5 bytes."}, ExitFailed, "At most 5 bytes."},
		{"POST", Problem{Status: 401, Code: recording.CodeUnauthenticated, Detail: "The token has expired."}, ExitUnauthorized, "The token has expired."},
		{"POST", Problem{Status: 403, Code: recording.CodeForbidden, Detail: "Not you."}, ExitUnauthorized, "Not you."},
		{"POST", Problem{Status: 302}, ExitFailed, "is its URL right?"},
		{"POST", Problem{Status: 404}, ExitFailed, "the server answered HTTP 404 Not Found; is it the public address of a Reprise server?"},
		{"POST", Problem{Status: 405}, ExitFailed, "is it the public address of a Reprise server?"},
		{"POST", Problem{Status: 501}, ExitFailed, "HTTP 501"},
		{"PATCH", Problem{Status: 415, Code: recording.CodeNotAudio, Detail: "Not audio."}, ExitFailed, "Not audio."},
		{"PATCH", Problem{Status: 410}, ExitFailed, "given this upload up"},
		{"GET", Problem{Status: 404, Code: recording.CodeNotFound, Detail: "Deleted."}, ExitFailed, "Deleted."},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.method, test.answer.Status, test.answer.Code), func(t *testing.T) {
			t.Parallel()
			var times atomic.Int32
			s := newFakeServer(t, func(s *fakeServer) {
				s.refuse = func(r *http.Request) *Problem {
					if r.Method == test.method && times.Add(1) == 1 {
						return &test.answer
					}
					return nil
				}
				s.outcome = recording.StateUploading
			})
			path, _ := newFile(t, "talk.wav", 10_000)
			got := upload(t, t.Context(), s.http.URL, Options{Files: []string{path}})
			wantCode(t, got, test.code)
			wantText(t, got.stderr, test.text)
			if n := times.Load(); n != 1 {
				t.Errorf("%d requests of this method, want 1", n)
			}
		})
	}
}

func TestTellsWhyAnUploadIsGone(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t, func(s *fakeServer) {
		s.outcome = recording.StateRejected
		s.refuse = func(r *http.Request) *Problem {
			if r.Method == http.MethodPatch {
				return &Problem{Status: 410, Code: recording.CodeUploadGone, Detail: "This upload was refused."}
			}
			return nil
		}
	})
	path, _ := newFile(t, "talk.wav", 10_000)
	got := upload(t, t.Context(), s.http.URL, Options{Files: []string{path}})
	wantCode(t, got, ExitFailed)
	wantText(t, got.stderr, "rejected: The file ends too early. (truncated)")
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	closed := newFakeServer(t)
	closed.http.Close()
	first, _ := newFile(t, "first.wav", 10)
	second, _ := newFile(t, "second.wav", 11)
	got := upload(t, t.Context(), closed.http.URL, Options{Files: []string{first, second}})
	wantCode(t, got, ExitUnreachable)
	wantText(t, got.stderr, "first.wav: gave up on "+closed.http.URL, "connection refused")
	if strings.Contains(got.stderr, "second.wav") {
		t.Error("the second file was tried too")
	}
}

func TestServerThatStaysAway(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t, func(s *fakeServer) {
		s.refuse = func(r *http.Request) *Problem {
			if r.Method == http.MethodPatch {
				return &Problem{Status: 503, Detail: "No database."}
			}
			return nil
		}
	})
	path, _ := newFile(t, "talk.wav", 10_000)
	got := upload(t, t.Context(), s.http.URL, Options{Files: []string{path}, RetryFor: 200 * time.Millisecond})
	wantCode(t, got, ExitUnreachable)
	wantText(t, got.stderr, "gave up on", "No database. (HTTP 503)")
}

func TestNoToken(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	path, _ := newFile(t, "talk.wav", 10)
	var stderr bytes.Buffer
	err := Upload(t.Context(), Options{Files: []string{path}, Server: s.http.URL, Stdout: &stderr, Stderr: &stderr, pace: quick()})
	wantCode(t, said{err: err}, ExitUnauthorized)
	wantText(t, stderr.String(), "Send a token.", "Give a token with --token")
}
