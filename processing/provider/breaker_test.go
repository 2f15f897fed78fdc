package provider_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"reprise/internal/aiserver"
	"reprise/processing/provider"
)

// heapDuring returns how much memory was allocated during f.
func heapDuring(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func outageOf(t *testing.T, err error) time.Duration {
	t.Helper()
	var outage *provider.OutageError
	if !errors.As(err, &outage) {
		t.Fatalf("got %v, want an outage", err)
	}
	return outage.RetryAfter
}

// An outage costs a few questions, then one for each pause; when the service is back,
// one question finds out for all.
func TestBreaker(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := aiserver.New(t)
	c := newClient(t, s, func(o *provider.Options) { o.Now, o.Pause = clock.now, time.Minute })
	s.Always(aiserver.Status(500))
	for range 5 {
		_, err := ask(t.Context(), c, "k")
		outageOf(t, err)
	}
	before := len(s.Requests())
	clock.advance(20 * time.Second)
	_, err := ask(t.Context(), c, "k")
	if got := outageOf(t, err); got != 40*time.Second || len(s.Requests()) != before || c.BreakerState() != "open" {
		t.Errorf("an open breaker says %s after %d more requests, want 40s after none", got, len(s.Requests())-before)
	}

	clock.advance(40 * time.Second)
	if got := c.BreakerState(); got != "half_open" {
		t.Errorf("the breaker is %s, want half_open", got)
	}
	_, err = ask(t.Context(), c, "k") // the probe, which fails
	outageOf(t, err)
	if c.BreakerState() != "open" {
		t.Error("a probe that failed left the breaker open for more")
	}

	clock.advance(time.Minute)
	probing, answer := make(chan struct{}), make(chan struct{})
	s.Always(func(w http.ResponseWriter, _ *http.Request, work *aiserver.Work) {
		close(probing)
		<-answer
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(work.Answer())
	})
	before = len(s.Requests())
	var probe sync.WaitGroup
	probe.Go(func() {
		if _, err := ask(t.Context(), c, "k"); err != nil {
			t.Errorf("the probe got %v", err)
		}
	})
	<-probing
	for range 10 {
		_, err := ask(t.Context(), c, "other")
		if got := outageOf(t, err); got > 10*time.Second {
			t.Errorf("beside a probe it is to be asked again after %s", got)
		}
	}
	close(answer)
	probe.Wait()
	if n := len(s.Requests()) - before; n != 1 || c.BreakerState() != "closed" {
		t.Errorf("%d requests while half open, now it is %s; want 1, closed", n, c.BreakerState())
	}
	s.Always(nil)
	if _, err := ask(t.Context(), c, "other"); err != nil {
		t.Error(err)
	}
}

// A probe that was cancelled says nothing, and the next question is the probe.
func TestCancelledProbe(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := aiserver.New(t)
	c := newClient(t, s, func(o *provider.Options) { o.Now = clock.now })
	s.Script(aiserver.TooMany(time.Minute))
	_, err := ask(t.Context(), c, "k")
	outageOf(t, err)
	clock.advance(time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ask(ctx, c, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	if _, err := ask(t.Context(), c, "k"); err != nil || c.BreakerState() != "closed" {
		t.Errorf("the next one got %v, and the breaker is %s", err, c.BreakerState())
	}
}

// Many ask at the same time while the service goes away and comes back: each question
// that succeeds is billed once.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := aiserver.New(t)
	c := newClient(t, s, func(o *provider.Options) { o.Now, o.Pause = clock.now, time.Minute })
	s.Script(aiserver.Reset(), aiserver.Status(500), aiserver.Cut(), aiserver.Status(503), aiserver.Reset(), aiserver.TooMany(time.Second),
		aiserver.Garbage(), aiserver.WrongSchema(), aiserver.Reset(), aiserver.Cut(), aiserver.Status(502), aiserver.Reset())
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			for {
				_, err := ask(t.Context(), c, strconv.Itoa(i))
				if err == nil {
					return
				}
				if class(err) == "outage" {
					clock.advance(outageOf(t, err))
				}
			}
		})
	}
	all.Wait()
	for i := range 20 {
		if got := s.BilledOf(strconv.Itoa(i)); got != 1 {
			t.Errorf("question %d was billed %d times", i, got)
		}
	}
}

// The service's own wish counts, in seconds and as a date, for the question and for
// all others, and within bounds.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	clock := newClock()
	for value, want := range map[string]time.Duration{
		"120": 2 * time.Minute,
		clock.now().Add(90 * time.Second).Format(http.TimeFormat):                  90 * time.Second,
		clock.now().Add(90 * time.Second).Format("Monday, 02-Jan-06 15:04:05 MST"): 90 * time.Second, // RFC 850
		clock.now().Add(48 * time.Hour).Format(http.TimeFormat):                    time.Hour,
		"86400":                      time.Hour,
		"99999999999999999999999999": time.Hour,
	} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			clock := newClock()
			s := aiserver.New(t)
			s.Script(aiserver.RetryAfter(429, value))
			c := newClient(t, s, func(o *provider.Options) { o.Now = clock.now })
			_, err := ask(t.Context(), c, "k")
			if got := outageOf(t, err); got != want || len(s.Requests()) != 1 {
				t.Errorf("got %s after %d tries, want %s after one", got, len(s.Requests()), want)
			}
			clock.advance(want - time.Second)
			_, err = ask(t.Context(), c, "other")
			if got := outageOf(t, err); got != time.Second || len(s.Requests()) != 1 {
				t.Errorf("another question got %s after %d tries in all, want 1s after none more", got, len(s.Requests()))
			}
			clock.advance(time.Second)
			if _, err := ask(t.Context(), c, "k"); err != nil {
				t.Errorf("when it is time: %v", err)
			}
		})
	}
}

// What is short enough is waited for within a question.
func TestShortRetryAfter(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := aiserver.New(t)
	c := newClient(t, s, func(o *provider.Options) { o.Now = clock.now })
	for value, want := range map[string]time.Duration{
		"7": 7 * time.Second,
		clock.now().Add(5 * time.Second).Format(http.TimeFormat):  5 * time.Second,
		clock.now().Add(-5 * time.Second).Format(http.TimeFormat): time.Second,
		"0": time.Second, "-3": time.Millisecond, "soon": time.Millisecond, "": time.Millisecond,
	} {
		res := &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {value}}}
		if got := c.Wait(res); got != want {
			t.Errorf("%q: waits %s, want %s", value, got, want)
		}
	}
	s.Script(aiserver.TooMany(time.Second))
	started := time.Now()
	if _, err := ask(t.Context(), c, "k"); err != nil || time.Since(started) < time.Second || len(s.Requests()) != 2 {
		t.Errorf("got %v after %s and %d tries, want an answer after a second and two", err, time.Since(started), len(s.Requests()))
	}
}

// A wrong key does not cost a request per recording, and the log says what to change.
func TestWrongSettings(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault   aiserver.Fault
		setting string
	}{
		"key":   {nil, "REPRISE_AI_TRANSCRIPTION_KEY"},
		"path":  {aiserver.Status(404), "REPRISE_AI_TRANSCRIPTION_URL or _MODEL"},
		"moved": {aiserver.Redirect("https://example.com/"), "REPRISE_AI_TRANSCRIPTION_URL or _MODEL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := aiserver.New(t)
			s.RequireKey("another")
			s.Always(tt.fault)
			if tt.fault != nil {
				s.RequireKey(secret)
			}
			log := &logBuffer{}
			c := newClient(t, s, func(o *provider.Options) {
				o.Name, o.Now, o.Log = "transcription", newClock().now, slog.New(slog.NewTextHandler(log, nil))
			})
			for range 3 {
				_, err := ask(t.Context(), c, "k")
				if got := outageOf(t, err); got != 10*time.Minute {
					t.Errorf("to be asked again after %s, want 10m", got)
				}
			}
			if n := len(s.Requests()); n != 1 || strings.Count(log.String(), "level=ERROR") != 1 || !strings.Contains(log.String(), tt.setting) {
				t.Errorf("%d requests; the log has %s", n, log)
			}
			if strings.Contains(log.String(), secret) {
				t.Error("the key is in the log")
			}
		})
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	const password = "hunter2"
	for _, url := range []string{
		"", "api.openai.com/v1", "ftp://host/", "http://", "http://:80/", "https://user:" + password + "@host/v1",
		"https://host/v1?key=" + password, "https://host/v1#" + password, "http://host:" + password + "/v1", "http://[" + password,
	} {
		if _, err := provider.New(provider.Options{BaseURL: url}); err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("%q: got %v", url, err)
		}
	}
	for _, key := range []string{password + "\n", "\t" + password, "a " + password, password + "é"} {
		if _, err := provider.New(provider.Options{BaseURL: "http://host/v1", Key: key}); err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("key %q: got %v", key, err)
		}
	}
	c, err := provider.New(provider.Options{BaseURL: "http://host/v1"})
	if err != nil || c.HasProxy() {
		t.Errorf("%v, or there is a proxy", err)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	clock := newClock()
	registry := prometheus.NewPedanticRegistry()
	s := aiserver.New(t)
	change := func(name string) func(*provider.Options) {
		return func(o *provider.Options) { o.Name, o.Metrics, o.Now = name, registry, clock.now }
	}
	c, other := newClient(t, s, change("analysis")), newClient(t, s, change("transcription"))
	s.Script(nil, aiserver.Status(500), nil, aiserver.Garbage(), aiserver.Status(400), aiserver.TooMany(time.Minute))
	for range 6 { // the last one is not sent
		_, _ = ask(t.Context(), c, "")
	}
	_, _ = other.Post(t.Context(), provider.Request{Path: "nowhere", Body: func() (io.ReadCloser, error) { return http.NoBody, nil }})
	got := map[string]float64{}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.Metric {
			labels := ""
			for _, l := range m.Label {
				labels += " " + l.GetValue()
			}
			got[family.GetName()+labels] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"reprise_provider_requests_total ok analysis": 2, "reprise_provider_requests_total unusable analysis": 1,
		"reprise_provider_requests_total refused analysis": 1, "reprise_provider_requests_total slow_down analysis": 1,
		"reprise_provider_requests_total paused analysis": 1, "reprise_provider_requests_total denied transcription": 1,
		"reprise_provider_retries_total analysis": 1, "reprise_provider_retries_total transcription": 0,
		"reprise_provider_request_duration_seconds analysis": 5, "reprise_provider_request_duration_seconds transcription": 1,
		"reprise_provider_breaker_state analysis closed": 0, "reprise_provider_breaker_state analysis open": 1,
		"reprise_provider_breaker_state analysis half_open": 0, "reprise_provider_breaker_state transcription closed": 0,
		"reprise_provider_breaker_state transcription open": 1, "reprise_provider_breaker_state transcription half_open": 0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
