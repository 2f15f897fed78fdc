package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"reprise/internal/s3test"
	"reprise/storage"
)

// client is an HTTP client that answers itself.
type client func(*http.Request) (*http.Response, error)

func (c client) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	return c(r)
}

func answer(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Etag": {`"e"`}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// What the servers of the tests forgive, others don't.
func TestRequestHeaders(t *testing.T) {
	t.Parallel()
	tests := map[string]map[string][]string{
		"":              {"X-Amz-Checksum-Crc32c": {"yZRlqg=="}},
		"checksum=none": {},
		"sse=aws:kms&kms-key-id=k": {
			"X-Amz-Checksum-Crc32c":                       {"yZRlqg=="},
			"X-Amz-Server-Side-Encryption":                {"aws:kms"},
			"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": {"k"},
		},
	}
	for extra, want := range tests {
		var got *http.Request
		s := newStore(t, "s3://recordings?endpoint=https://s3.example.com&"+extra, func(o *Options) {
			o.HTTPClient = client(func(r *http.Request) (*http.Response, error) {
				got = r
				return answer(http.StatusOK, ""), nil
			})
		})
		if _, err := s.Put(t.Context(), "object", strings.NewReader("hello world")); err != nil {
			t.Fatalf("%s: Put: %v", extra, err)
		}
		if got.URL.String() != "https://s3.example.com/recordings/objects/object?x-id=PutObject" {
			t.Errorf("%s: to %s", extra, got.URL)
		}
		signature := got.Header.Get("Authorization")
		if strings.Contains(signature, "accept-encoding") || got.Header.Get("Accept-Encoding") != "" {
			t.Errorf("%s: Accept-Encoding is signed or sent: %v", extra, got.Header)
		}
		if h := got.Header.Get("X-Amz-Content-Sha256"); h != "UNSIGNED-PAYLOAD" {
			t.Errorf("%s: X-Amz-Content-Sha256 is %s", extra, h)
		}
		if got.Header.Get("Content-Encoding")+got.Header.Get("X-Amz-Trailer") != "" || got.ContentLength != 11 {
			t.Errorf("%s: the body is sent in chunks: %v", extra, got.Header)
		}
		found := map[string][]string{}
		for name, values := range got.Header {
			if strings.HasPrefix(name, "X-Amz-Checksum") || strings.HasPrefix(name, "X-Amz-Server") || strings.HasPrefix(name, "X-Amz-Sdk") {
				found[name] = values
			}
		}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Errorf("%s: headers (-want +got):\n%s", extra, diff)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status int
		code   string
		want   error // of package storage; nil for none
	}{
		{http.StatusNotFound, "NoSuchKey", storage.ErrNotFound},
		{http.StatusNotFound, "NoSuchBucket", nil},
		{http.StatusForbidden, "QuotaExceeded", storage.ErrFull},
		{http.StatusInsufficientStorage, "XMinioStorageFull", storage.ErrFull},
		{http.StatusBadRequest, "XMinioAdminBucketQuotaExceeded", storage.ErrFull},
		{http.StatusInsufficientStorage, "SomethingElse", storage.ErrFull},
		{http.StatusForbidden, "AccessDenied", nil},
	}
	for _, test := range tests {
		s := newStore(t, "s3://recordings?endpoint=https://s3.example.com", func(o *Options) {
			o.HTTPClient = client(func(*http.Request) (*http.Response, error) {
				return answer(test.status, "<Error><Code>"+test.code+"</Code><Message>no</Message></Error>"), nil
			})
		})
		_, putErr := s.Put(t.Context(), "object", bytes.NewReader(nil))
		_, openErr := s.Open(t.Context(), "object")
		for _, err := range []error{putErr, openErr} {
			if err == nil || !strings.Contains(err.Error(), test.code) {
				t.Errorf("%s: the error is %v", test.code, err)
			}
			for _, known := range []error{storage.ErrNotFound, storage.ErrFull, storage.ErrLost} {
				if errors.Is(err, known) != (test.want == known) {
					t.Errorf("%s: %v is %v: %v", test.code, err, known, errors.Is(err, known))
				}
			}
		}
	}
}

func TestAttemptMetrics(t *testing.T) {
	t.Parallel()
	server := s3test.Servers(t)[0]
	proxy := server.Proxy(t)
	registry := prometheus.NewRegistry()
	s := newStore(t, proxy.URL(server.Bucket(t)), func(o *Options) { o.Metrics = registry })
	s.timeout = 10 * testTimeout // tries that are slow for another reason would be counted
	_ = s.Check(t.Context())
	for _, fault := range []s3test.Fault{s3test.SlowDown(), s3test.InternalError(), s3test.Reset(), s3test.Hang()} {
		proxy.ResetCounts()
		proxy.Fail(s3test.Nth("PutObject", 1, fault))
		if err := s.Check(t.Context()); err != nil {
			t.Errorf("Check: %v", err)
		}
	}
	if _, err := s.Open(t.Context(), "missing"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Open = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	proxy.Fail(func(s3test.Request) s3test.Fault { cancel(); return s3test.Hang() })
	if err := s.Check(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Check = %v, want context.Canceled", err)
	}
	const want = `
# HELP reprise_s3_requests_total Requests to the S3 server, each attempt by itself.
# TYPE reprise_s3_requests_total counter
reprise_s3_requests_total{operation="GetObject",outcome="refused"} 1
reprise_s3_requests_total{operation="PutObject",outcome="canceled"} 1
reprise_s3_requests_total{operation="PutObject",outcome="error"} 1
reprise_s3_requests_total{operation="PutObject",outcome="ok"} 5
reprise_s3_requests_total{operation="PutObject",outcome="slow_down"} 1
reprise_s3_requests_total{operation="PutObject",outcome="timeout"} 1
reprise_s3_requests_total{operation="PutObject",outcome="unreachable"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "reprise_s3_requests_total"); err != nil {
		t.Error(err)
	}
}
