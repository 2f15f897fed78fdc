package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"reprise/recording"
)

// syncBuffer is a log that a server's goroutines write.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

type instrumented struct {
	http.Handler
	registry *prometheus.Registry
	log      *syncBuffer
}

func newInstrumented(mux *http.ServeMux) *instrumented {
	i := &instrumented{registry: prometheus.NewRegistry(), log: &syncBuffer{}}
	logger := slog.New(slog.NewJSONHandler(i.log, nil))
	// As app does, something between the two copies the request.
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mux.ServeHTTP(w, r.WithContext(r.Context())) })
	i.Handler = Instrument(inner, InstrumentOptions{
		Router: mux, Registerer: i.registry, Problems: NewProblems(logger), Logger: logger, Now: time.Now,
	})
	return i
}

func (i *instrumented) get(path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for n := 0; n+1 < len(headers); n += 2 {
		r.Header.Set(headers[n], headers[n+1])
	}
	w := httptest.NewRecorder()
	i.ServeHTTP(w, r)
	return w
}

// lastLine returns the last line of the log without its time.
func (i *instrumented) lastLine(t *testing.T) map[string]any {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(i.log.String()), "\n")
	var line map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &line); err != nil {
		t.Fatal(err)
	}
	delete(line, "time")
	return line
}

func TestRequestsAreCountedTimedAndLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /v1/recordings/{id}", func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(20 * time.Millisecond)
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "short")
			_, _ = io.WriteString(w, " and stout")
		})
		mux.HandleFunc("/files/", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints) // not the answer yet
			w.WriteHeader(http.StatusNoContent)
		})
		mux.HandleFunc("GET /silent", func(http.ResponseWriter, *http.Request) {})
		i := newInstrumented(mux)

		w := i.get("/v1/recordings/secret-id?token=hunter2", "X-Request-Id", "from-the-proxy.1")
		if got := w.Header().Get("X-Request-Id"); got != "from-the-proxy.1" {
			t.Errorf("X-Request-Id %q", got)
		}
		want := map[string]any{
			"level": "INFO", "msg": "request served", "method": "GET", "route": "/v1/recordings/{id}", "status": 418.0,
			"duration": 2e7, "bytes": 15.0, "requestId": "from-the-proxy.1",
		}
		if diff := cmp.Diff(want, i.lastLine(t)); diff != "" {
			t.Error(diff)
		}
		i.get("/files/secret-id")
		i.get("/silent")
		i.get("/nowhere/secret-id")
		brew := httptest.NewRequest("BREW", "/files/x", nil)
		i.ServeHTTP(httptest.NewRecorder(), brew)
		if log := i.log.String(); strings.Contains(log, "secret-id") || strings.Contains(log, "hunter2") {
			t.Errorf("the log has what it must not: %s", log)
		}
		expected := `
# HELP reprise_http_requests_total Requests served, by route, method and status.
# TYPE reprise_http_requests_total counter
reprise_http_requests_total{method="GET",route="/files/",status="204"} 1
reprise_http_requests_total{method="GET",route="/silent",status="200"} 1
reprise_http_requests_total{method="GET",route="/v1/recordings/{id}",status="418"} 1
reprise_http_requests_total{method="GET",route="unmatched",status="404"} 1
reprise_http_requests_total{method="OTHER",route="/files/",status="204"} 1
`
		if err := testutil.GatherAndCompare(i.registry, strings.NewReader(expected), "reprise_http_requests_total"); err != nil {
			t.Error(err)
		}
		metrics := dump(t, i.registry)
		for _, line := range []string{
			`reprise_http_request_duration_seconds_bucket{method="GET",route="/v1/recordings/{id}",status="418",le="0.01"} 0`,
			`reprise_http_request_duration_seconds_bucket{method="GET",route="/v1/recordings/{id}",status="418",le="0.025"} 1`,
			`reprise_http_requests_in_flight 0`,
		} {
			if !strings.Contains(metrics, line+"\n") {
				t.Errorf("no %s in\n%s", line, metrics)
			}
		}
	})
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, RequestID(r.Context())) })
	i := newInstrumented(mux)
	for id, taken := range map[string]bool{
		"abc-DEF_1.2": true, strings.Repeat("a", 64): true,
		"": false, strings.Repeat("a", 65): false, "a b": false, "a\nb": false, "é": false, `"`: false,
	} {
		w := i.get("/", "X-Request-Id", id)
		got := w.Body.String()
		if got == "" || got != w.Header().Get("X-Request-Id") || (got == id) != taken {
			t.Errorf("%q became %q in the handler, %q in the header", id, got, w.Header().Get("X-Request-Id"))
		}
	}
	if got := RequestID(t.Context()); got != "" {
		t.Errorf("outside of a request: %q", got)
	}
}

func TestPanicBecomesAProblem(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) { panic("hunter2") })
	i := newInstrumented(mux)
	w := i.get("/")
	p := wantProblem(t, w, recording.CodeInternal)
	log := i.log.String()
	if strings.Contains(w.Body.String(), "hunter2") || !strings.Contains(log, p.ID) || !strings.Contains(log, "instrument_test.go") {
		t.Errorf("answer %s, log %s", w.Body, log)
	}
	if got := i.lastLine(t)["status"]; got != 500.0 {
		t.Errorf("status %v in the access log", got)
	}
}

func TestPanicAfterTheHeaderCutsTheConnection(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/late", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("half of it", 1000))
		panic("late")
	})
	mux.HandleFunc("/abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	i := newInstrumented(mux)
	server := httptest.NewServer(i)
	defer server.Close()
	for _, path := range []string{"/late", "/abort"} {
		response, err := server.Client().Get(server.URL + path)
		if err == nil {
			_, err = io.ReadAll(response.Body)
			_ = response.Body.Close()
		}
		if err == nil {
			t.Errorf("%s looks complete", path)
		}
	}
	if log := i.log.String(); strings.Count(log, "panic: ") != 1 || strings.Count(log, "request served") != 2 {
		t.Errorf("log: %s", log)
	}
}

func TestConnectionCanBeReached(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	flushed := make(chan struct{})
	mux.HandleFunc("/flush", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first\n")
		err := http.NewResponseController(w).Flush()
		if err != nil {
			t.Error(err)
		}
		<-flushed
	})
	mux.HandleFunc("/deadline", func(w http.ResponseWriter, _ *http.Request) {
		c := http.NewResponseController(w)
		if err := errors.Join(c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Time{}), c.EnableFullDuplex()); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("/hijack", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.Close()
	})
	i := newInstrumented(mux)
	server := httptest.NewServer(i)
	defer server.Close()

	response, err := server.Client().Get(server.URL + "/flush")
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(response.Body).ReadString('\n') // while the handler runs
	close(flushed)
	if line != "first\n" || err != nil {
		t.Errorf("%q, %v", line, err)
	}
	_ = response.Body.Close()

	response, err = server.Client().Get(server.URL + "/deadline")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()

	response, err = server.Client().Get(server.URL + "/hijack")
	if err == nil {
		_ = response.Body.Close()
	}
	server.Close() // waits for the handlers
	if metrics := dump(t, i.registry); !strings.Contains(metrics, `reprise_http_requests_total{method="GET",route="/hijack",status="101"} 1`) {
		t.Error(metrics)
	}
}

// dump returns every metric as /metrics shows it.
func dump(t *testing.T, g prometheus.Gatherer) string {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(g, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatal(w.Body)
	}
	return w.Body.String()
}
