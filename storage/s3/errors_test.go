package s3

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"reprise/internal/s3test"
	"reprise/recording"
)

// An outage has a code of its own: clients are told to come again, and jobs wait for
// its end without losing an attempt.
func TestOutageIsUnavailable(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		rule s3test.Rule
		want recording.Code
	}{
		{"500", s3test.Every("PutObject", s3test.InternalError()), recording.CodeUnavailable},
		{"503", s3test.Every("PutObject", s3test.SlowDown()), recording.CodeUnavailable},
		{"reset", s3test.Every("PutObject", s3test.Reset()), recording.CodeUnavailable},
		{"no answer", s3test.Every("PutObject", s3test.Hang()), recording.CodeUnavailable},
		{"another error", s3test.Every("PutObject", s3test.NoSuchUpload()), recording.CodeInternal},
	}
	server := s3test.Servers(t)[0]
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			proxy := server.Proxy(t)
			proxy.Fail(tt.rule)
			s := newStore(t, proxy.URL(server.Bucket(t)))
			s.timeout = 100 * time.Millisecond
			_, err := s.Put(t.Context(), "a", strings.NewReader("bytes"))
			if got := recording.CodeOf(err); got != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		s := newStore(t, "s3://bucket?endpoint=http://127.0.0.1:1&region=us-east-1&path-style=true")
		if _, err := s.Open(t.Context(), "a"); recording.CodeOf(err) != recording.CodeUnavailable {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the caller has gone", func(t *testing.T) {
		t.Parallel()
		proxy := server.Proxy(t)
		s := newStore(t, proxy.URL(server.Bucket(t)))
		proxy.Fail(s3test.Every("GetObject", s3test.Hang()))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := s.Open(ctx, "a")
		if recording.CodeOf(err) == recording.CodeUnavailable || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
