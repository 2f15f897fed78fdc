package s3

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"reprise/internal/s3test"
	"reprise/recording"
)

// ask sends a request and returns the answer with its body.
func ask(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func sign(t *testing.T, s *Store, key string, read recording.SignedRead) string {
	t.Helper()
	url, err := s.SignedURL(context.Background(), key, read)
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func TestSignedURL(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		s := newStore(t, server.URL(server.Bucket(t)))
		const content = "0123456789"
		if _, err := s.Put(context.Background(), "a/b.m4a", strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		read := recording.SignedRead{
			Method: http.MethodGet, ContentType: "audio/mp4", Lifetime: time.Minute,
			Disposition: `inline; filename="Gro_mutter; 1.m4a"; filename*=UTF-8''Gro%C3%9Fmutter%3B%201.m4a`,
		}
		get := sign(t, s, "a/b.m4a", read)
		answer, body := ask(t, http.MethodGet, get)
		if answer.StatusCode != http.StatusOK || body != content ||
			answer.Header.Get("Content-Type") != read.ContentType || answer.Header.Get("Content-Disposition") != read.Disposition {
			t.Errorf("GET: %d, %v, %s", answer.StatusCode, answer.Header, body)
		}
		if answer, body := ask(t, http.MethodGet, get, "Range", "bytes=2-4"); answer.StatusCode != http.StatusPartialContent || body != "234" {
			t.Errorf("GET with a range: %d, %s", answer.StatusCode, body)
		}
		read.Method = http.MethodHead
		head := sign(t, s, "a/b.m4a", read)
		if answer, _ := ask(t, http.MethodHead, head); answer.StatusCode != http.StatusOK || answer.ContentLength != int64(len(content)) {
			t.Errorf("HEAD: %d, %v", answer.StatusCode, answer.Header)
		}
		for method, url := range map[string]string{http.MethodGet: head, http.MethodHead: get, http.MethodDelete: get} {
			if answer, _ := ask(t, method, url); answer.StatusCode != http.StatusForbidden {
				t.Errorf("%s with the URL for another method: %d", method, answer.StatusCode)
			}
		}
		read.Method = http.MethodGet
		if answer, _ := ask(t, http.MethodGet, sign(t, s, "a/c.m4a", read)); answer.StatusCode != http.StatusNotFound {
			t.Errorf("an object that isn't there: %d", answer.StatusCode)
		}
	})
}

func TestSignedURLEnds(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		s := newStore(t, server.URL(server.Bucket(t)))
		if _, err := s.Put(context.Background(), "object", strings.NewReader("bytes")); err != nil {
			t.Fatal(err)
		}
		url := sign(t, s, "object", recording.SignedRead{Method: http.MethodGet, Lifetime: time.Second})
		deadline := time.Now().Add(time.Minute)
		for {
			answer, _ := ask(t, http.MethodGet, url)
			if answer.StatusCode == http.StatusForbidden {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the URL of a second still answers %d", answer.StatusCode)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

func TestSignedURLIsOfThePublicEndpoint(t *testing.T) {
	t.Parallel()
	read := recording.SignedRead{Method: http.MethodGet, Lifetime: time.Minute}
	s := storeAt(t, "http://minio:9000&public-endpoint=https://files.example.com")
	if got := sign(t, s, "a/b", read); !strings.HasPrefix(got, "https://files.example.com/recordings/objects/a/b?") {
		t.Error(got)
	}
	read.Method = http.MethodPut
	if got, err := s.SignedURL(context.Background(), "a/b", read); err == nil {
		t.Errorf("a URL to write with: %s", got)
	}
	read.Method = http.MethodGet
	if got, err := s.SignedURL(context.Background(), "../b", read); err == nil {
		t.Errorf("a URL outside: %s", got)
	}
}
