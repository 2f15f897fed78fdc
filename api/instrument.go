package api

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// InstrumentOptions is what Instrument needs. Every field is needed.
type InstrumentOptions struct {
	// Router tells which route a request takes; it is asked, not served by.
	Router interface {
		Handler(r *http.Request) (h http.Handler, pattern string)
	}
	Registerer prometheus.Registerer
	Problems   *Problems
	Logger     *slog.Logger // gets one line per request
	Now        func() time.Time
}

// Instrument wraps everything that a listener serves: it gives each request an
// id, counts and times it by route, method and status, writes the access log,
// and turns a panic into a 500. No id, path or query is in a label or a log
// line, only the route's pattern.
//
// It is to be the outermost handler. The handlers below reach what the
// connection can do through http.ResponseController or Unwrap.
func Instrument(next http.Handler, o InstrumentOptions) http.Handler {
	labels := []string{"route", "method", "status"}
	m := &instrument{
		next: next,
		o:    o,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reprise_http_requests_total",
			Help: "Requests served, by route, method and status.",
		}, labels),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "reprise_http_request_duration_seconds",
			Help: "Time from a request's header to the end of its answer; for a WebSocket, to its end.",
			// An upload's request may take minutes.
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, labels),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "reprise_http_requests_in_flight",
			Help: "Requests being served now, WebSockets among them.",
		}),
	}
	o.Registerer.MustRegister(m.requests, m.seconds, m.inFlight)
	return m
}

type instrument struct {
	next     http.Handler
	o        InstrumentOptions
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

// ServeHTTP implements http.Handler.
func (m *instrument) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := m.o.Now()
	id := requestID(r)
	w.Header().Set("X-Request-Id", id)
	r.Header.Set("X-Request-Id", id) // tusd logs it as it came
	r = r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id))
	// Found out before it is served: middlewares below copy the request, so that
	// the pattern the router sets is not seen here.
	_, pattern := m.o.Router.Handler(r)
	rec := &responseRecorder{ResponseWriter: w}
	m.inFlight.Inc()
	defer func() {
		aborted := m.recovered(rec, r, recover())
		m.inFlight.Dec()
		m.observe(r, rec, routeOf(pattern), m.o.Now().Sub(start))
		if aborted {
			panic(http.ErrAbortHandler) // closes the connection, so that nobody takes the answer for whole
		}
	}()
	m.next.ServeHTTP(rec, r)
}

// recovered deals with a panic and reports whether the connection has to end.
func (m *instrument) recovered(rec *responseRecorder, r *http.Request, v any) (abort bool) {
	switch {
	case v == nil:
		return false
	case v == http.ErrAbortHandler: // somebody below wants exactly this
		return true
	}
	err := fmt.Errorf("panic: %v\n%s", v, debug.Stack())
	if rec.status != 0 {
		m.o.Problems.Of(r.Context(), err) // for the log; the answer has begun already
		return true
	}
	m.o.Problems.Write(rec, r, err)
	return false
}

func (m *instrument) observe(r *http.Request, rec *responseRecorder, route string, took time.Duration) {
	status, method := rec.status, methodOf(r.Method)
	if status == 0 {
		status = http.StatusOK // what net/http sends for a handler that writes nothing
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route, method, strconv.Itoa(status)).Observe(took.Seconds())
	m.o.Logger.InfoContext(r.Context(), "request served",
		slog.String("method", method),
		slog.String("route", route),
		slog.Int("status", status),
		slog.Duration("duration", took),
		slog.Int64("bytes", rec.bytes),
		slog.String("requestId", RequestID(r.Context())),
	)
}

// routeOf takes the method off a pattern.
func routeOf(pattern string) string {
	if pattern == "" {
		return "unmatched"
	}
	return pattern[strings.IndexByte(pattern, ' ')+1:]
}

// methodOf bounds the methods that make a label to those somebody serves.
func methodOf(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "OTHER"
}

type requestIDKey struct{}

// RequestID returns the id of the request that ctx belongs to; "" outside of
// one.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

const maxRequestIDBytes = 64

// requestID takes over the id that a proxy has given the request, if it is
// harmless in a log.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	harmless := func(c rune) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.'
	}
	if id == "" || len(id) > maxRequestIDBytes || strings.ContainsFunc(id, func(c rune) bool { return !harmless(c) }) {
		return rand.Text()
	}
	return id
}

// responseRecorder sees what an answer is. It hides what the writer below it
// can do besides; Unwrap leads there.
type responseRecorder struct {
	http.ResponseWriter
	status int // 0 until the header is written
	bytes  int64
}

// Unwrap is for http.ResponseController.
func (w *responseRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *responseRecorder) WriteHeader(status int) {
	// Other 1xx are only announcements; 101 is the last that HTTP has to say.
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *responseRecorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}
