package app

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// readiness is a list of named checks: the server is ready if all pass.
type readiness struct {
	checks []check
	notes  map[string]func(context.Context) string
}

type check struct {
	name string
	run  func(context.Context) error
}

func (r *readiness) add(name string, run func(context.Context) error) {
	r.checks = append(r.checks, check{name, run})
}

// note adds what an operator should know and what makes nothing unready.
func (r *readiness) note(name, text string) {
	r.watch(name, func(context.Context) string { return text })
}

// watch is note for what changes.
func (r *readiness) watch(name string, say func(context.Context) string) {
	if r.notes == nil {
		r.notes = map[string]func(context.Context) string{}
	}
	r.notes[name] = say
}

// run runs all checks at once and returns what each says, "ok" or why not.
func (r *readiness) run(ctx context.Context) (ready bool, said map[string]string) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	ready, said = true, make(map[string]string, len(r.checks)+len(r.notes))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, say := range r.notes {
		wg.Go(func() {
			text := say(ctx)
			mu.Lock()
			defer mu.Unlock()
			said[name] = text
		})
	}
	for _, c := range r.checks {
		wg.Go(func() {
			err := c.run(ctx)
			mu.Lock()
			defer mu.Unlock()
			said[c.name] = "ok"
			if err != nil {
				ready, said[c.name] = false, err.Error()
			}
		})
	}
	wg.Wait()
	return ready, said
}

// adminHandler serves the operator's side: it is for a private network and asks
// for no token.
func adminHandler(registry *prometheus.Registry, ready *readiness) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ok, said := ready.run(r.Context())
		status, word := http.StatusOK, "ready"
		if !ok {
			status, word = http.StatusServiceUnavailable, "not ready"
		}
		writeJSON(w, status, map[string]any{"status": word, "checks": said})
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	// Without pprof.Cmdline: a secret may be among the flags.
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone: nobody to tell
}
