package auth

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"reprise/recording"
)

// certificatesURL is where Google publishes the certificates of the keys that sign
// ID tokens: a JSON object from key id to PEM.
const certificatesURL = "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com"

const (
	// certificatePatience bounds one request for them.
	certificatePatience = 5 * time.Second
	// certificateRetry is the pause after one that failed.
	certificateRetry = 5 * time.Second
	// certificateAgain is how often they may be asked for because of a key that is not
	// among them: anybody can make up a key's id.
	certificateAgain = time.Minute
	// certificateStale is how long keys count after their time while no newer ones can
	// be had. Google replaces a key about once a day, and a token lives an hour.
	certificateStale = 24 * time.Hour

	maxCertificatesBytes = 1 << 20
)

// certificates are Google's public keys. They are asked for when their time is over
// (Cache-Control) and when a token is signed by one that is not known.
type certificates struct {
	client   *http.Client
	now      func() time.Time
	fetching singleflight.Group

	mu      sync.Mutex
	keys    map[string]*rsa.PublicKey
	expires time.Time // when newer ones are to be asked for
	fetched time.Time // when these came
	again   time.Time // when they may be asked for again after a failure
	err     error     // of the last request
}

func newCertificates(transport http.RoundTripper, now func() time.Time) *certificates {
	return &certificates{client: &http.Client{Transport: transport, Timeout: certificatePatience}, now: now}
}

// key returns the key with this id. Its error is unavailable if it can't be known
// now whether there is such a key.
func (c *certificates) key(ctx context.Context, id string) (*rsa.PublicKey, error) {
	key, ask := c.known(id)
	if ask {
		// The request is everybody's who waits for it: it goes on when one of them goes.
		done := c.fetching.DoChan("", func() (any, error) { c.refresh(context.WithoutCancel(ctx)); return nil, nil })
		select {
		case <-ctx.Done():
			return nil, errNoCertificates(ctx.Err())
		case <-done:
		}
		key, _ = c.known(id)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case key != nil:
		return key, nil
	case c.err != nil:
		return nil, errNoCertificates(c.err)
	}
	return nil, errors.New("unknown key id")
}

// known returns the key with this id, nil if there is none, and whether to ask for
// newer ones first.
func (c *certificates) known(id string) (key *rsa.PublicKey, ask bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	expired := !now.Before(c.expires)
	if now.Sub(c.expires) < certificateStale {
		key = c.keys[id]
	}
	ask = !now.Before(c.again) && (expired || key == nil && now.Sub(c.fetched) >= certificateAgain)
	return key, ask
}

// refresh asks for the certificates. If that fails, those that are there stay.
func (c *certificates) refresh(ctx context.Context) {
	keys, age, err := c.fetch(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.err = err; err != nil {
		c.again = now.Add(certificateRetry)
		return
	}
	c.keys, c.fetched, c.expires = keys, now, now.Add(age)
}

func (c *certificates) fetch(ctx context.Context) (keys map[string]*rsa.PublicKey, age time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, certificatesURL, nil)
	if err != nil {
		return nil, 0, err
	}
	res, err := c.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("ask for Google's certificates: HTTP %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxCertificatesBytes))
	if err != nil {
		return nil, 0, err
	}
	keys, err = parseCertificates(body)
	return keys, maxAge(res.Header), err
}

// parseCertificates reads what Google publishes. Nothing in it is no answer.
func parseCertificates(body []byte) (map[string]*rsa.PublicKey, error) {
	var list map[string]string
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("read Google's certificates: %w", err)
	}
	keys := make(map[string]*rsa.PublicKey, len(list))
	for id, text := range list {
		block, _ := pem.Decode([]byte(text))
		if block == nil {
			return nil, errors.New("read Google's certificates: not PEM")
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read Google's certificates: %w", err)
		}
		key, ok := certificate.PublicKey.(*rsa.PublicKey)
		if !ok {
			return nil, fmt.Errorf("read Google's certificates: a %T", certificate.PublicKey)
		}
		keys[id] = key
	}
	if len(keys) == 0 {
		return nil, errors.New("read Google's certificates: there are none")
	}
	return keys, nil
}

// maxAge reads how long an answer counts (RFC 9111, 5.2.2.1), within what is
// sensible here.
func maxAge(h http.Header) time.Duration {
	age := time.Hour
	for directive := range strings.SplitSeq(h.Get("Cache-Control"), ",") {
		if text, ok := strings.CutPrefix(strings.TrimSpace(directive), "max-age="); ok {
			if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
				age = time.Duration(seconds) * time.Second
			}
		}
	}
	return min(max(age, time.Minute), 24*time.Hour)
}

func errNoCertificates(err error) error {
	return recording.Wrap(recording.CodeUnavailable, err, "Tokens can't be checked right now, because Google's certificates can't be had; try again.")
}
