package s3test

import (
	"context"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Proxy is a proxy in front of a server. It counts what goes through it, and delays
// or breaks it on demand.
type Proxy struct {
	Endpoint string // an URL without a path

	client  *s3.Client
	forward *httputil.ReverseProxy
	closed  chan struct{}

	mu      sync.Mutex
	counts  Counts
	latency time.Duration
	rule    Rule
}

// Counts are what went through a proxy.
type Counts struct {
	Requests      map[string]int // by operation; each try of a client is one
	SentBytes     int64          // in the bodies of requests
	ReceivedBytes int64          // in the bodies of answers
	Faults        int            // requests that a Rule had fail
}

// Total is the number of requests.
func (c Counts) Total() int {
	total := 0
	for _, n := range c.Requests {
		total += n
	}
	return total
}

// Proxy starts a proxy in front of the server, for until the test ends.
func (s *Server) Proxy(t testing.TB) *Proxy {
	t.Helper()
	target, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatalf("s3test: %v", err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	p := &Proxy{closed: make(chan struct{}), counts: Counts{Requests: map[string]int{}}}
	p.forward = &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // the signature covers it
			r.Out.Header.Del("Expect")
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	server := httptest.NewServer(p)
	p.Endpoint = server.URL
	t.Cleanup(func() {
		close(p.closed)
		server.Close()
		transport.CloseIdleConnections()
	})
	p.client = newClient(t, p.Endpoint)
	return p
}

// URL returns the storage URL of a bucket behind the proxy: see Server.URL.
func (p *Proxy) URL(bucket string, extra ...string) string {
	return storageURL(p.Endpoint, bucket, extra)
}

// Client returns an SDK client behind the proxy, which tries nothing twice.
func (p *Proxy) Client() *s3.Client { return p.client }

// Fail has requests fail as the rule says, from the next one on; nil lets all pass.
func (p *Proxy) Fail(rule Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = rule
}

// Delay adds a time to every request.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latency = d
}

// Counts returns what has gone through the proxy since the last ResetCounts.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := p.counts
	counts.Requests = maps.Clone(counts.Requests)
	return counts
}

// ResetCounts begins to count again at 0. Request.N does so too.
func (p *Proxy) ResetCounts() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts = Counts{Requests: map[string]int{}}
}

// ServeHTTP is for the proxy's own server.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request, fault, latency := p.admit(r)
	select {
	case <-time.After(latency):
	case <-p.closed:
		panic(http.ErrAbortHandler)
	}
	r.Body = countingBody{r.Body, p}
	if fault == (Fault{}) {
		p.forward.ServeHTTP(countingWriter{w, p}, r)
		return
	}
	// It takes effect even if the client does not wait for that.
	lasting := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.forward.ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
	})
	p.strike(w, r, request, fault, lasting)
}

// admit counts a request and asks the rule about it.
func (p *Proxy) admit(r *http.Request) (Request, Fault, time.Duration) {
	request := parse(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Requests[request.Op]++
	request.N = p.counts.Requests[request.Op]
	if p.rule == nil {
		return request, Fault{}, p.latency
	}
	fault := p.rule(request)
	if fault != (Fault{}) {
		p.counts.Faults++
	}
	return request, fault, p.latency
}

// parse says what a request of the path-style form asks for.
func parse(r *http.Request) Request {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	request := Request{Key: key}
	request.Part, _ = strconv.Atoi(query.Get("partNumber"))
	if key == "" {
		request.Op = bucketOperation(r.Method, query)
	} else {
		request.Op = objectOperation(r, query)
	}
	return request
}

func bucketOperation(method string, query url.Values) string {
	switch {
	case method == http.MethodGet && query.Get("list-type") == "2":
		return "ListObjectsV2"
	case method == http.MethodGet && query.Has("uploads"):
		return "ListMultipartUploads"
	case method == http.MethodPost && query.Has("delete"):
		return "DeleteObjects"
	case method == http.MethodHead:
		return "HeadBucket"
	}
	return "Other"
}

func objectOperation(r *http.Request, query url.Values) string {
	multipart, copied := query.Has("uploadId"), r.Header.Get("X-Amz-Copy-Source") != ""
	switch r.Method {
	case http.MethodPut:
		switch {
		case multipart && copied:
			return "UploadPartCopy"
		case multipart:
			return "UploadPart"
		case copied:
			return "CopyObject"
		}
		return "PutObject"
	case http.MethodPost:
		switch {
		case multipart:
			return "CompleteMultipartUpload"
		case query.Has("uploads"):
			return "CreateMultipartUpload"
		}
	case http.MethodDelete:
		if multipart {
			return "AbortMultipartUpload"
		}
		return "DeleteObject"
	case http.MethodGet:
		if multipart {
			return "ListParts"
		}
		return "GetObject"
	case http.MethodHead:
		return "HeadObject"
	}
	return "Other"
}

// countingBody counts the bytes of a request.
type countingBody struct {
	io.ReadCloser
	proxy *Proxy
}

func (b countingBody) Read(buf []byte) (int, error) {
	n, err := b.ReadCloser.Read(buf)
	b.proxy.mu.Lock()
	defer b.proxy.mu.Unlock()
	b.proxy.counts.SentBytes += int64(n)
	return n, err
}

// countingWriter counts the bytes of an answer.
type countingWriter struct {
	http.ResponseWriter
	proxy *Proxy
}

func (w countingWriter) Write(buf []byte) (int, error) {
	n, err := w.ResponseWriter.Write(buf)
	w.proxy.mu.Lock()
	defer w.proxy.mu.Unlock()
	w.proxy.counts.ReceivedBytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
