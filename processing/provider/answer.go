package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// maxRetryAfter bounds what a service asks for.
	maxRetryAfter = time.Hour
	// slowDownPause is for services that say "too many requests" and not until when.
	slowDownPause = 10 * time.Second
	// settingsPause is for what only a change of the settings can end. Somebody may
	// change them at the provider, so it is looked after now and then.
	settingsPause = 10 * time.Minute
	// maxComplaint is how much is read of an answer that says what is wrong.
	maxComplaint = 64 << 10
)

// outcome says how a question ended, also to the metrics.
type outcome string

const (
	ok          outcome = "ok"
	refused     outcome = "refused"     // the question's fault
	unusable    outcome = "unusable"    // a success that is none
	slowDown    outcome = "slow_down"   // 429, or 503 with a time to wait
	denied      outcome = "denied"      // the settings' fault
	failing     outcome = "error"       // 5xx, or a status that means nothing to us
	timedOut    outcome = "timeout"     // no answer in time
	unreachable outcome = "unreachable" // no connection, or one that broke
	canceled    outcome = "canceled"    // by the caller, before there was an answer
	paused      outcome = "paused"      // not sent: the breaker is open
)

// verdict is what a question came to.
type verdict struct {
	outcome    outcome
	retryAfter time.Duration // of an outage
	err        error         // as Post returns it
	status     int           // of the answer; 0 without one
	code       string        // the service's name for what is wrong, if it has one
}

// outage returns the verdict of a question that may be asked again.
func outage(o outcome, retryAfter time.Duration, err error) verdict {
	return verdict{outcome: o, retryAfter: retryAfter, err: &OutageError{RetryAfter: retryAfter, Err: err}}
}

func useless(reason string) verdict {
	return verdict{outcome: unusable, err: &ReplyError{Err: errors.New(reason)}}
}

// unanswered judges a question that got no answer.
func (c *Client) unanswered(ctx context.Context, err error) verdict {
	var own bodyError
	switch {
	case errors.As(err, &own):
		return verdict{outcome: canceled, err: fmt.Errorf("provider: read the question: %w", own.error)}
	case errors.Is(ctx.Err(), context.Canceled):
		return verdict{outcome: canceled, err: ctx.Err()}
	case outcomeOf(err) == timedOut:
		return outage(timedOut, c.o.Pause, errors.New("it did not answer in time"))
	}
	return outage(unreachable, c.o.Pause, errors.New(describe(err)))
}

// outcomeOf tells a connection that failed from one that brought nothing in time.
func outcomeOf(err error) outcome {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return unreachable
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return timedOut
	}
	return unreachable
}

// describe says why there was no answer, in words of our own wherever the service
// could have put words into the error.
func describe(err error) string {
	var inURL *url.Error
	if errors.As(err, &inURL) {
		err = inURL.Err
	}
	var op *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &op) && op.Op == "dial":
		return op.Error()
	case errors.As(err, &certificate):
		return "its certificate is not valid for this host, or nobody vouches for it"
	case errors.As(err, &op), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it closed the connection without an answer"
	}
	return "it does not speak HTTP, or not all of it"
}

// read returns the answer to a question that has succeeded.
func (c *Client) read(ctx context.Context, res *http.Response) ([]byte, verdict) {
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return nil, useless("it is not declared to be JSON")
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxReply+1))
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, verdict{outcome: canceled, err: ctx.Err()}
	case err != nil && outcomeOf(err) == timedOut:
		return nil, outage(timedOut, c.o.Pause, errors.New("its answer did not end in time"))
	case err != nil:
		return nil, useless("it was cut off")
	case len(body) > maxReply:
		return nil, useless("it is longer than " + strconv.Itoa(maxReply>>20) + " MiB")
	case !json.Valid(body):
		return nil, useless("it is not JSON")
	}
	return body, verdict{outcome: ok}
}

// complaint judges an answer that is none.
func (c *Client) complaint(res *http.Response, r Request) verdict {
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxComplaint)) // as much as there is
	v := c.judge(res, r.Model != "" && bytes.Contains(body, []byte(r.Model)))
	v.status, v.code = res.StatusCode, c.code(body)
	return v
}

// judge sorts the statuses of services that speak OpenAI's protocol. Whatever is not
// plainly the question's fault is taken for an outage: then nothing is lost but time.
func (c *Client) judge(res *http.Response, namesModel bool) verdict {
	wait, said := c.retryAfter(res)
	answered := fmt.Errorf("it answered with status %d", res.StatusCode)
	switch s := res.StatusCode; {
	case s == http.StatusBadRequest, s == http.StatusRequestEntityTooLarge, s == http.StatusUnsupportedMediaType,
		s == http.StatusUnprocessableEntity:
		return verdict{outcome: refused, err: &RefusedError{Err: answered}}
	case (s == http.StatusForbidden || s == http.StatusNotFound) && namesModel:
		return verdict{outcome: refused, err: &RefusedError{Err: fmt.Errorf("it has no such model: %w", answered)}}
	case s == http.StatusTooManyRequests && !said:
		return outage(slowDown, slowDownPause, answered)
	case s == http.StatusTooManyRequests, s == http.StatusServiceUnavailable && said:
		return outage(slowDown, wait, answered)
	case s == http.StatusUnauthorized, s == http.StatusPaymentRequired, s == http.StatusForbidden,
		s == http.StatusNotFound, s == http.StatusMethodNotAllowed, s >= 300 && s < 400:
		return outage(denied, settingsPause, answered)
	}
	if !said {
		wait = c.o.Pause
	}
	return outage(failing, wait, answered)
}

// retryAfter returns how long the service wants to be left alone, if it says so: in
// seconds or as a date (RFC 9110, 10.2.3).
func (c *Client) retryAfter(res *http.Response) (wait time.Duration, said bool) {
	value := res.Header.Get("Retry-After")
	seconds, err := strconv.ParseUint(value, 10, 64) // the largest one if it is out of range
	if err == nil || errors.Is(err, strconv.ErrRange) {
		wait = time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = at.Sub(c.o.Now())
	} else {
		return 0, false
	}
	return min(max(wait, time.Second), maxRetryAfter), true
}

// codePattern is what a name of an error looks like. What the service says in its own
// words is not logged: it may quote the question, which is what somebody has said, or
// a part of the key.
var codePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z_]{1,39}$`)

// code finds the name that the service gives to what is wrong, such as
// "context_length_exceeded".
func (c *Client) code(body []byte) string {
	var complaint struct {
		Error struct {
			Code any    `json:"code"`
			Type string `json:"type"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &complaint) != nil {
		return ""
	}
	for _, name := range []any{complaint.Error.Code, complaint.Error.Type} {
		if text, isText := name.(string); isText && text != c.o.Key && codePattern.MatchString(text) {
			return text
		}
	}
	return ""
}

// tell logs what the operator may have to do something about.
func (c *Client) tell(ctx context.Context, v verdict) {
	if v.outcome == ok || v.outcome == canceled {
		return
	}
	attributes := []slog.Attr{slog.String("outcome", string(v.outcome)), slog.Any("error", v.err)}
	if v.status != 0 {
		attributes = append(attributes, slog.Int("status", v.status), slog.String("code", v.code))
	}
	if v.outcome != denied {
		c.log.LogAttrs(ctx, slog.LevelWarn, "a question to the provider failed", attributes...)
		return
	}
	setting := "REPRISE_AI_" + strings.ToUpper(c.o.Name)
	if v.status == http.StatusUnauthorized || v.status == http.StatusPaymentRequired || v.status == http.StatusForbidden {
		setting += "_KEY"
	} else {
		setting += "_URL or _MODEL"
	}
	attributes = append(attributes, slog.String("setting", setting))
	c.log.LogAttrs(ctx, slog.LevelError, "the provider denies everything: a setting is wrong, or there is no credit left", attributes...)
}
