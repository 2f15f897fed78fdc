package s3

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"reprise/internal/s3test"
	"reprise/recording"
	"reprise/storage"
	"reprise/storage/storagetest"
)

// ask sends a request as a listener's browser does, which has no credentials.
func ask(t *testing.T, method, address, byteRange string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, got
}

func sign(t *testing.T, s *Store, key, method string) string {
	t.Helper()
	signed, err := s.SignedURL(t.Context(), key, recording.SignedRead{
		Method: method, ContentType: "audio/mp4", Disposition: `inline; filename="a b.m4a"`, Lifetime: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestSignedURL(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		proxy := server.Proxy(t)
		bucketURL := server.URL(server.Bucket(t), "public-endpoint="+url.QueryEscape(proxy.Endpoint))
		s := newStore(t, strings.Replace(bucketURL, "?", "/a/prefix?", 1))
		want := storagetest.Pattern(1, 100_000)
		put(t, s, "a/object", want)
		get, head := sign(t, s, "a/object", http.MethodGet), sign(t, s, "a/object", http.MethodHead)

		for _, test := range []struct {
			method, url, byteRange string
			status                 int
			want                   []byte
			length                 int64
		}{
			{http.MethodGet, get, "", http.StatusOK, want, 100_000},
			{http.MethodGet, get, "bytes=1000-1999", http.StatusPartialContent, want[1000:2000], 1000},
			{http.MethodHead, head, "", http.StatusOK, nil, 100_000},
		} {
			res, got := ask(t, test.method, test.url, test.byteRange)
			if res.StatusCode != test.status || res.ContentLength != test.length {
				t.Errorf("%s %s: status %d, %d bytes: %s", test.method, test.byteRange, res.StatusCode, res.ContentLength, got)
			}
			wantBytes(t, test.method, got, test.want)
			if typ, disposition := res.Header.Get("Content-Type"), res.Header.Get("Content-Disposition"); typ != "audio/mp4" || disposition != `inline; filename="a b.m4a"` {
				t.Errorf("%s: Content-Type %q, Content-Disposition %q", test.method, typ, disposition)
			}
		}
		if n := proxy.Counts().Total(); n != 3 {
			t.Errorf("%d requests came to the public endpoint, want 3", n)
		}
		// It opens nothing else.
		for what, address := range map[string]string{
			"another object": strings.Replace(get, "a/object", "a/other", 1),
			"another method": head,
			"no signature":   get[:strings.Index(get, "?")],
		} {
			if res, got := ask(t, http.MethodGet, address, ""); res.StatusCode != http.StatusForbidden {
				t.Errorf("%s: status %d: %s", what, res.StatusCode, got)
			}
		}
		if res, _ := ask(t, http.MethodGet, sign(t, s, "missing", http.MethodGet), ""); res.StatusCode != http.StatusNotFound {
			t.Errorf("a missing object: status %d", res.StatusCode)
		}
	})
}

func TestSignedURLExpires(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		s := newStore(t, server.URL(server.Bucket(t)))
		put(t, s, "object", []byte("x"))
		signed, err := s.SignedURL(t.Context(), "object", recording.SignedRead{Method: http.MethodGet, Lifetime: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for {
			res, got := ask(t, http.MethodGet, signed, "")
			if res.StatusCode == http.StatusForbidden {
				return
			}
			if res.StatusCode != http.StatusOK {
				t.Fatalf("status %d: %s", res.StatusCode, got)
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-t.Context().Done():
				t.Fatal("the URL is valid for ever")
			}
		}
	})
}

func TestSignedURLRefuses(t *testing.T) {
	t.Parallel()
	s := newStore(t, "s3://recordings?region=eu-central-1")
	if _, err := s.SignedURL(context.Background(), "../x", recording.SignedRead{Method: http.MethodGet}); err != storage.ErrInvalidKey {
		t.Errorf("SignedURL of a wrong key = %v", err)
	}
	if _, err := s.SignedURL(context.Background(), "x", recording.SignedRead{Method: http.MethodPut, Lifetime: time.Minute}); err == nil {
		t.Error("a URL is signed for PUT")
	}
	got := sign(t, s, "x", http.MethodGet)
	if !strings.HasPrefix(got, "https://recordings.s3.eu-central-1.amazonaws.com/objects/x?") {
		t.Errorf("the URL on AWS is %s", got)
	}
	if query := got[strings.Index(got, "?"):]; !strings.Contains(query, "X-Amz-SignedHeaders=host&") {
		t.Errorf("a browser would have to send more than Host: %s", query)
	}
}
