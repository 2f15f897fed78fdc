package clients

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reprise/client"
	"reprise/config"
	"reprise/internal/s3test"
)

// onS3 makes a server keep its recordings at a storage URL.
func onS3(storageURL, reads string) func(*config.Config) {
	return func(c *config.Config) { c.StorageURL, c.Reads = storageURL, reads }
}

// onEachS3 runs a test on each S3 server.
func onEachS3(t *testing.T, test func(t *testing.T, storage *s3test.Server)) {
	for _, storage := range s3test.Servers(t) {
		t.Run(storage.Name, func(t *testing.T) {
			t.Parallel()
			test(t, storage)
		})
	}
}

// strictStorage is the public side of an S3 server that refuses, as AWS does, requests
// with a token beside the signature in their URL.
func strictStorage(t *testing.T, endpoint string) (publicURL string) {
	t.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true}
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // the signature covers it
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			http.Error(w, "Only one auth mechanism allowed", http.StatusBadRequest)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
	})
	return server.URL
}

// The command uploads speech, its connection breaks, and a listener who only follows
// redirects hears it.
func TestUploadCommandOnS3(t *testing.T) {
	t.Parallel()
	onEachS3(t, func(t *testing.T, storage *s3test.Server) {
		bucket := storage.Bucket(t)
		public := strictStorage(t, storage.Endpoint)
		s := newServer(t, onS3(storage.URL(bucket, "public-endpoint="+public), "direct"))
		u := s.user(t, "alice")
		wav := makeBigWAV(t)
		var out, progress bytes.Buffer
		err := client.Upload(t.Context(), client.Options{
			Files: []string{wav}, Server: s.url, Token: u.token, Wait: true,
			ChunkBytes: 300_000, CutAt: 0.4, Stdout: &out, Stderr: &progress,
		})
		if err != nil || !strings.Contains(progress.String(), "cut") {
			t.Fatalf("upload: %v\n%s", err, &progress)
		}
		result := regexp.MustCompile(`recording +(\S+)\n +state +ready\n`).FindStringSubmatch(out.String())
		if result == nil {
			t.Fatalf("upload said %s", &out)
		}
		u.checkStored(result[1], wav)
		path := filepath.Join(t.TempDir(), "speech.m4a")
		got := u.curl("-o", path, s.url+"/v1/recordings/"+result[1]+"/audio?format=aac")
		if !strings.HasPrefix(got.effectiveURL, public) || got.status != http.StatusOK {
			t.Fatalf("curl: %+v, want an answer of %s", got, public)
		}
		if ms := decodedMs(t, path); ms < 7900 || ms > 8100 {
			t.Errorf("8 seconds of speech decode to %d ms", ms)
		}
	})
}

// decodedMs decodes a file and returns how long it is.
func decodedMs(t *testing.T, path string) int64 {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", path, "-f", "s16le", "-ar", "8000", "-ac", "1", "-").Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v", err)
	}
	return int64(len(out)) / 16
}

// curled is what curl says of the last of a chain of answers.
type curled struct {
	status       int
	redirects    int
	effectiveURL string
	body         string
}

// curl follows redirects as people do on a command line.
func (u user) curl(args ...string) curled {
	u.t.Helper()
	all := append([]string{"-sSL", "--max-time", "60", "-H", "Authorization: Bearer " + u.token, "-w", "\n%{http_code} %{num_redirects} %{url_effective}"}, args...)
	out, err := exec.Command("curl", all...).Output()
	if err != nil {
		u.t.Fatalf("curl: %v", err)
	}
	at := bytes.LastIndexByte(out, '\n')
	got := curled{body: string(out[:at])}
	if _, err := fmt.Sscan(string(out[at+1:]), &got.status, &got.redirects, &got.effectiveURL); err != nil {
		u.t.Fatalf("curl said %q: %v", out[at:], err)
	}
	return got
}

// Listening works alike whoever sends the bytes, and costs the storage no more
// requests than it must.
func TestListenOnS3(t *testing.T) {
	t.Parallel()
	onEachS3(t, func(t *testing.T, storage *s3test.Server) {
		for _, reads := range []string{"direct", "server"} {
			t.Run(reads, func(t *testing.T) {
				t.Parallel()
				proxy := storage.Proxy(t)
				s := newServer(t, onS3(proxy.URL(storage.Bucket(t)), reads))
				u := s.user(t, "alice")
				data := makeFLAC(t)
				id := u.uploadInTwo(data)
				if r := u.settled(id); r.State != "ready" {
					t.Fatalf("%+v", r)
				}
				path := "/v1/recordings/" + id
				u.checkServing(path+"/audio?format=original", data)
				for _, what := range []string{"/audio", "/audio?format=opus", "/peaks", "/peaks?format=dat"} {
					u.checkServing(path+what, u.do(http.MethodGet, path+what, nil).body)
				}
				u.checkCurl(path+"/audio?format=original", data)
				u.checkRequests(proxy, path+"/audio", reads == "direct")
				u.checkURLs(path+"/audio", reads == "direct")
				for _, somebody := range []user{s.user(t, "bob"), {t: t, s: s}} {
					for _, method := range []string{http.MethodGet, http.MethodHead} {
						got := somebody.do(method, path+"/audio", nil)
						if got.status != http.StatusNotFound && got.status != http.StatusUnauthorized || got.redirected != "" {
							t.Errorf("%s by somebody else: %v", method, got)
						}
					}
				}
			})
		}
	})
}

// uploadInTwo sends a file in two requests and returns its recording's id.
func (u user) uploadInTwo(data []byte) (recordingID string) {
	u.t.Helper()
	at, id := u.create(len(data), map[string]string{"filename": "talk.flac"})
	if got := u.patch(at, 0, data[:len(data)/2]); got.status != http.StatusNoContent {
		u.t.Fatal(got)
	}
	if got := u.patch(at, len(data)/2, data[len(data)/2:]); got.status != http.StatusNoContent {
		u.t.Fatal(got)
	}
	return id
}

func (u user) checkCurl(path string, want []byte) {
	u.t.Helper()
	if got := u.curl(u.s.url + path); got.status != http.StatusOK || got.body != string(want) {
		u.t.Errorf("curl: %d, %d bytes", got.status, len(got.body))
	}
	if got := u.curl("-r", "10-19", u.s.url+path); got.status != http.StatusPartialContent || got.body != string(want[10:20]) {
		u.t.Errorf("curl -r: %d %q", got.status, got.body)
	}
	if got := u.curl("-I", u.s.url+path); got.status != http.StatusOK || !strings.Contains(strings.ToLower(got.body), fmt.Sprintf("content-length: %d", len(want))) {
		u.t.Errorf("curl -I: %d %s", got.status, got.body)
	}
}

// checkRequests counts what listening makes the server ask of the storage. Only
// the last answer of a redirect is the storage's own.
func (u user) checkRequests(proxy *s3test.Proxy, path string, direct bool) {
	u.t.Helper()
	whole := u.do(http.MethodGet, path, nil)
	ours := u.do(http.MethodHead, path+"?redirect=false", nil).header.Get("ETag")
	for _, tt := range []struct {
		method         string
		headers        []string
		direct, server map[string]int
	}{
		{http.MethodGet, nil, map[string]int{"GetObject": 1}, nil},
		{http.MethodHead, nil, map[string]int{"HeadObject": 1}, map[string]int{"HeadObject": 1}},
		{http.MethodGet, []string{"If-None-Match", ours}, map[string]int{}, map[string]int{}},
		{http.MethodGet, []string{"If-None-Match", whole.header.Get("ETag")}, nil, map[string]int{}},
	} {
		want := tt.server
		if direct {
			want = tt.direct
		}
		if want == nil { // any number
			continue
		}
		proxy.ResetCounts()
		got := u.do(tt.method, path, nil, tt.headers...)
		counts := proxy.Counts().Requests
		delete(counts, "PutObject") // nobody else uses this storage but checks of health
		if diff := cmp.Diff(want, counts); diff != "" || got.status >= 400 {
			u.t.Errorf("%s %q: %d, requests to the storage (-want +got):\n%s", tt.method, tt.headers, got.status, diff)
		}
	}
}

// checkURLs looks at where redirects lead.
func (u user) checkURLs(path string, direct bool) {
	u.t.Helper()
	if got := u.do(http.MethodGet, path+"?redirect=false", nil); got.status != http.StatusOK || got.redirected != "" {
		u.t.Errorf("without redirects: %d, redirected to %s", got.status, got.redirected)
	}
	get, head := u.do(http.MethodGet, path, nil), u.do(http.MethodHead, path, nil)
	if !direct {
		if get.redirected != "" || head.redirected != "" {
			u.t.Errorf("redirected to %s and %s", get.redirected, head.redirected)
		}
		return
	}
	nobody := user{t: u.t, s: u.s}
	for _, tt := range []struct {
		method, url string
		status      int
	}{
		{http.MethodGet, get.redirected, http.StatusOK},
		{http.MethodHead, head.redirected, http.StatusOK},
		{http.MethodGet, head.redirected, http.StatusForbidden}, // one URL per method
		{http.MethodGet, strings.Replace(get.redirected, "X-Amz-Expires=300", "X-Amz-Expires=3000", 1), http.StatusForbidden},
		{http.MethodDelete, get.redirected, http.StatusForbidden},
	} {
		if got := nobody.do(tt.method, tt.url, nil); got.status != tt.status {
			u.t.Errorf("%s %s: %v, want %d", tt.method, tt.url, got, tt.status)
		}
	}
	if get.header.Get("Content-Type") != "audio/mp4" || !strings.HasPrefix(get.header.Get("Content-Disposition"), "inline; filename=") {
		u.t.Errorf("the storage's headers: %v", get.header)
	}
}

// A server whose storage can't be written says what to do, and ends.
func TestS3ThatCantBeWritten(t *testing.T) {
	t.Parallel()
	storage := s3test.Servers(t)[0]
	for name, tt := range map[string]struct{ url, want string }{
		"no bucket": {storage.URL("there-is-no-such-bucket"), "REPRISE_STORAGE_URL: There is no bucket there-is-no-such-bucket there: create it"},
		"bad URL":   {storage.URL("recordings", "sse=rot13", "colour=blue"), "REPRISE_STORAGE_URL: sse must be AES256 or aws:kms"},
		"nobody":    {"s3://recordings?region=x&endpoint=http://127.0.0.1:1", "REPRISE_STORAGE_URL: Nothing listens at http://127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := failToServe(t, onS3(tt.url, "direct"))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the server said %v, want %s", err, tt.want)
			}
		})
	}
}
