package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	tusVersion  = "1.0.0"
	maxAnswer   = 4 << 20 // bytes of a JSON answer
	maxWait     = 10 * time.Minute
	dialTimeout = 10 * time.Second

	// sendBuffer bounds what the kernel takes of a body before the network does,
	// so that the progress shown is near the truth and a stall is noticed: the
	// usual limit of 4 MiB is minutes on a slow line.
	sendBuffer = 512 << 10
)

// server is a Reprise server as HTTP shows it.
type server struct {
	base    *url.URL
	token   string
	agent   string
	http    *http.Client
	timeout time.Duration // of any request but a PATCH
}

func newServer(o Options) (*server, error) {
	base, err := parseServer(o.Server)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = maxParallel
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
			_ = tcp.SetWriteBuffer(sendBuffer) // a hint: without it uploads work too
		}
		return conn, err
	}
	return &server{
		base:  base,
		token: o.Token,
		agent: "reprise/" + orElse(o.Version, "dev"),
		http: &http.Client{
			Transport: transport,
			// A redirected POST would become a GET, and the token would go along.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		timeout: o.pace.request,
	}, nil
}

func (s *server) close() { s.http.CloseIdleConnections() }

// path returns the URL of a path below the server's.
func (s *server) path(elements ...string) string { return s.base.JoinPath(elements...).String() }

// locate resolves a Location. It never leads from https to http: the token
// would go unencrypted.
func (s *server) locate(location string) (string, error) {
	u, err := s.base.JoinPath("files/").Parse(location)
	if location == "" || err != nil {
		return "", protocolf("the server created an upload without saying where; is %s a Reprise server?", s.base)
	}
	if u.Scheme != "https" && (s.base.Scheme == "https" || u.Scheme != "http") {
		return "", protocolf("the server wants the file sent to %s, which is not encrypted; its public URL (REPRISE_PUBLIC_URL) is set wrong", u.Redacted())
	}
	return u.String(), nil
}

// header returns the headers of every request.
func (s *server) header() http.Header {
	h := http.Header{"User-Agent": {s.agent}}
	if s.token != "" {
		h.Set("Authorization", "Bearer "+s.token)
	}
	return h
}

// do sends a request and returns its answer's headers and body. An answer of 300
// and above is a *Problem.
func (s *server) do(r *http.Request, header http.Header) (http.Header, []byte, error) {
	r.Header = s.header()
	for name, values := range header {
		r.Header[name] = values
	}
	answer, err := s.http.Do(r)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) { // its text repeats method and URL
			err = inner.Err
		}
		if errors.Is(err, io.EOF) {
			err = errLost
		}
		return nil, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if answer.StatusCode >= 300 {
		return nil, nil, problemOf(answer, body) // also with half a body: the status says enough
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	return answer.Header, body, nil
}

// short is do for a request without a body, within the timeout.
func (s *server) short(ctx context.Context, method, target string, header http.Header) (http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, nil, protocolf("the server's URL is not valid: %v", err)
	}
	return s.do(r, header)
}

func problemOf(answer *http.Response, body []byte) *Problem {
	p := &Problem{}
	if json.Unmarshal(bytes.TrimSpace(body), p) != nil {
		p = &Problem{} // not ours: a proxy's page
	}
	p.Status = answer.StatusCode
	p.retryAfter = retryAfter(answer.Header.Get("Retry-After"), time.Now())
	return p
}

// retryAfter reads a Retry-After header: seconds or a date (RFC 9110, 10.2.3).
func retryAfter(value string, now time.Time) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.Atoi(value); err == nil && seconds < int(maxWait/time.Second) {
		wait = time.Duration(seconds) * time.Second
	} else if err == nil {
		wait = maxWait
	} else if at, err := http.ParseTime(value); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxWait)
}

// recording asks for a recording.
func (s *server) recording(ctx context.Context, id string) (*recordingView, error) {
	_, body, err := s.short(ctx, http.MethodGet, s.path("v1", "recordings", id), nil)
	if err != nil {
		return nil, err
	}
	v := &recordingView{raw: body}
	if err := json.Unmarshal(body, v); err != nil || v.State == "" {
		return nil, protocolf("%s does not answer as a Reprise server does", s.base)
	}
	return v, nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
