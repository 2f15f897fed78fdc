package provider

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxReply is how long an answer may be.
	maxReply = 16 << 20
	// retries of a question within one Post. Whoever asks has attempts of its own, with
	// longer waits: these are for what is over in a moment.
	retries = 2
	// longestWait between two tries: a service that wants a longer one is asked again by
	// the caller's next attempt, which keeps no worker waiting.
	longestWait = 10 * time.Second
	// outageLimit is how many outages one after the other make the breaker open.
	outageLimit = 5
)

// Options are what a Client is made of.
type Options struct {
	Name       string                // what it is used for, in metrics and log: "transcription" or "analysis"
	BaseURL    string                // http or https, such as "https://api.openai.com/v1"; no other host is ever talked to
	Key        string                // sent as a bearer token; "" for services that want none
	TryTimeout time.Duration         // of one try, to the end of its answer; 0 for 5 minutes
	Timeout    time.Duration         // of a question with all its tries; 0 for 10 minutes
	Pause      time.Duration         // how long nothing is asked after an outage; 0 for a minute
	Log        *slog.Logger          // nil for none
	Metrics    prometheus.Registerer // nil for none
	Now        func() time.Time      // nil for time.Now
}

// Request is one question to a service.
type Request struct {
	Path        string // below the base URL, such as "audio/transcriptions"
	ContentType string
	// Body returns the question from its beginning; it is called for every try.
	Body   func() (io.ReadCloser, error)
	Length int64 // of the body, in bytes
	// Key is sent as Idempotency-Key, with every try. The same key is the same question:
	// whoever asks another, even because the answer was of no use, takes another key.
	Key string
	// Model is the one that a user has asked for in the place of the configured one. A
	// service that doesn't have it refuses the question; without it, it is an outage,
	// for the operator to end.
	Model string
}

// Client asks one service. It is safe for concurrent use.
type Client struct {
	o        Options
	base     *url.URL
	http     *http.Client
	breaker  *breaker
	metrics  *metrics
	log      *slog.Logger
	min, max time.Duration // of the wait before the second try; the third waits twice as long
}

// New returns a client of the service at the base URL. It asks nothing yet.
func New(o Options) (*Client, error) {
	base, err := parseBase(o.BaseURL)
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(o.Key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("provider: the key has a blank or another character that no key has")
	}
	o.TryTimeout = cmp.Or(o.TryTimeout, 5*time.Minute)
	o.Timeout = cmp.Or(o.Timeout, 10*time.Minute)
	o.Pause = cmp.Or(o.Pause, time.Minute)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Client{
		o: o, base: base, min: 200 * time.Millisecond, max: time.Second,
		breaker: &breaker{limit: outageLimit, now: o.Now},
		log:     o.Log.With(slog.String("component", "provider"), slog.String("provider", o.Name)),
		http: &http.Client{
			Timeout: o.TryTimeout,
			// A redirect is not followed, to whatever host: the answer counts as it is.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				// No Proxy: what leaves the machine is in the settings, not in HTTPS_PROXY.
				DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
				TLSHandshakeTimeout:    10 * time.Second,
				ForceAttemptHTTP2:      true,
				MaxIdleConnsPerHost:    4,
				IdleConnTimeout:        90 * time.Second,
				MaxResponseHeaderBytes: 64 << 10,
			},
		},
	}
	if c.metrics, err = newMetrics(o.Metrics, o.Name, c.breaker); err != nil {
		return nil, fmt.Errorf("provider: register metrics: %w", err)
	}
	return c, nil
}

// parseBase quotes nothing of a URL that is refused: there may be a password in it.
func parseBase(text string) (*url.URL, error) {
	base, err := url.Parse(text)
	switch {
	case err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "":
		return nil, errors.New("provider: the base URL is not http(s)://host/path")
	case base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, errors.New("provider: the base URL has a user, a query or a fragment")
	}
	return base, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Post sends a question and returns the answer, which is JSON. Its errors are
// *OutageError, *RefusedError and *ReplyError; the context's when it is cancelled; and
// that of Body.
func (c *Client) Post(ctx context.Context, r Request) ([]byte, error) {
	probe, wait := c.breaker.enter()
	if wait > 0 {
		c.metrics.requests.WithLabelValues(string(paused)).Inc()
		return nil, &OutageError{RetryAfter: wait, Err: errors.New("it is given time to recover")}
	}
	v := verdict{outcome: canceled} // should this panic
	defer func() { c.breaker.leave(probe, v) }()
	started := c.o.Now()
	body, v := c.ask(ctx, r)
	c.metrics.asked(v.outcome, c.o.Now().Sub(started))
	c.tell(ctx, v)
	return body, v.err
}

// PostJSON sends question as JSON and decodes the answer into answer. An answer of
// other types than answer's is a *ReplyError. The request needs Path, Key and Model only.
func (c *Client) PostJSON(ctx context.Context, r Request, question, answer any) error {
	text, err := json.Marshal(question)
	if err != nil {
		return fmt.Errorf("provider: encode the question: %w", err)
	}
	r.ContentType, r.Length = "application/json", int64(len(text))
	r.Body = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil }
	body, err := c.Post(ctx, r)
	if err != nil {
		return err
	}
	if json.Unmarshal(body, answer) != nil { // its error may quote the answer
		return &ReplyError{Err: errors.New("its JSON has not the fields that it should have")}
	}
	return nil
}

// bodyError is an error of the caller's Body.
type bodyError struct{ error }

func (e bodyError) Unwrap() error { return e.error }

// ask sends a question, several times if need be.
func (c *Client) ask(ctx context.Context, r Request) ([]byte, verdict) {
	limited, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	open := func() (io.Reader, error) {
		body, err := r.Body()
		if err != nil {
			return nil, bodyError{err}
		}
		return body, nil
	}
	req, err := retryablehttp.NewRequestWithContext(limited, http.MethodPost, c.base.JoinPath(r.Path).String(), open)
	if err != nil {
		return nil, c.unanswered(ctx, err)
	}
	req.ContentLength = r.Length
	req.Header.Set("Content-Type", r.ContentType)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "reprise")
	if c.o.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.o.Key)
	}
	if r.Key != "" {
		req.Header.Set("Idempotency-Key", r.Key)
	}
	tries := retryablehttp.Client{
		HTTPClient: c.http, RetryMax: retries, RetryWaitMin: c.min, RetryWaitMax: c.max,
		CheckRetry: c.retry, Backoff: c.backoff, ErrorHandler: retryablehttp.PassthroughErrorHandler,
		RequestLogHook: func(_ retryablehttp.Logger, _ *http.Request, try int) {
			if try > 0 {
				c.metrics.retries.Inc()
			}
		},
	}
	res, err := tries.Do(req)
	if err != nil {
		return nil, c.unanswered(ctx, err)
	}
	defer res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return nil, c.complaint(res, r)
	}
	return c.read(ctx, res)
}

// retry says whether the same question may be answered if it is sent again at once.
func (c *Client) retry(ctx context.Context, res *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, nil
	}
	if err != nil {
		// A try that timed out has had all the time there is for one.
		return !errors.As(err, new(bodyError)) && outcomeOf(err) == unreachable, nil
	}
	switch res.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		wait, _ := c.retryAfter(res)
		return wait <= longestWait, nil
	}
	return false, nil
}

// backoff returns how long to wait before the next try: by chance, so that those who
// were sent away together don't come back together, and no less than the service wants.
func (c *Client) backoff(low, high time.Duration, try int, res *http.Response) time.Duration {
	wait := retryablehttp.LinearJitterBackoff(low, high, try, nil)
	if res != nil {
		if wanted, said := c.retryAfter(res); said {
			wait = max(wait, wanted)
		}
	}
	return wait
}
