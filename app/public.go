package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"reprise/api"
	"reprise/hooks"
	"reprise/limits"
	"reprise/upload"
	"reprise/web"
)

// uploadPath is where uploads are.
const uploadPath = "/files/"

// servePublic serves uploads, REST, events and the console.
func (s *server) servePublic(context.Context) error {
	if !s.o.API {
		return nil
	}
	cfg := s.o.Config
	uploads, err := upload.New(upload.Options{
		Ledger: s.catalog, Storage: s.store, Hooks: hooks.New(int64(cfg.MaxUploadBytes)), Ticks: s.hub,
		Accounts: s.auth, WriteProblem: s.problems.Write,
		BasePath: uploadPath, PublicURL: s.publicURL(),
		MaxSizeBytes: int64(cfg.MaxUploadBytes), Expiry: cfg.UploadExpiry, UploadsAtOnce: cfg.UserUploadsAtOnce,
		Log: s.o.Log, Metrics: s.registry,
	})
	if err != nil {
		return fmt.Errorf("make the upload server: %w", err)
	}
	var signer api.Signer
	if cfg.Reads == "direct" {
		signer = s.store
	}
	graph, err := s.openQuestions()
	if err != nil {
		return err
	}
	s.background("uploads", uploads.Run)
	mux := &router{ServeMux: http.NewServeMux()}
	api.New(mux, api.Options{
		Catalog: s.catalog, Objects: s.store, Signer: signer, Accounts: s.auth, Problems: s.problems, PublicURL: s.publicURL(), Version: s.o.Version,
		Graph: graph, Limits: userLimits(cfg.Quotas), Models: insightModels(cfg.Insights),
	})
	mux.Handle(uploadPath, uploads)
	mux.Handle("/files", uploads)
	mux.Handle("GET /v1/events", s.hub)
	mux.Handle("/", web.Handler())
	s.routes = mux.patterns

	handler := api.Instrument(api.SecureHeaders(uploads.Announce(s.limit(mux))), api.InstrumentOptions{
		Router: mux, Registerer: s.registry, Problems: s.problems, Logger: s.o.Log, Now: time.Now,
	})
	s.serveHTTP("public listener", s.limitConnections(), &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		WriteTimeout: limits.WritePatience,
	}, uploads.Interrupt)
	return nil
}

// router is a mux that can tell what its routes are.
type router struct {
	*http.ServeMux
	patterns []string
}

// Handle implements http.ServeMux.
func (r *router) Handle(pattern string, handler http.Handler) {
	r.patterns = append(r.patterns, pattern)
	r.ServeMux.Handle(pattern, handler)
}

// HandleFunc implements http.ServeMux.
func (r *router) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	r.Handle(pattern, http.HandlerFunc(handler))
}

func (s *server) serveAdmin(ctx context.Context) error {
	if at, ok := s.listeners.admin.Addr().(*net.TCPAddr); ok && !at.IP.IsLoopback() {
		s.o.Log.WarnContext(ctx, "the admin listener can be reached from other machines, and asks for no token: see that only operators reach it (REPRISE_ADMIN_ADDR)",
			slog.String("admin", at.String()))
	}
	s.serveHTTP("admin listener", s.listeners.admin, &http.Server{
		Handler: adminHandler(s.registry, s.ready), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
	}, func() {})
	return nil
}

// serveHTTP serves until the teardown, which calls interrupt for requests that
// would go on for long, and waits for all.
func (s *server) serveHTTP(name string, l net.Listener, srv *http.Server, interrupt func()) {
	// net/http tells of broken connections by itself; like everything it goes into our log.
	srv.ErrorLog = slog.NewLogLogger(s.o.Log.With(slog.String("component", "http")).Handler(), slog.LevelWarn)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("%s: %w", name, err)
		}
	}()
	s.life.onStop(name, func(ctx context.Context) error {
		// Shutdown closes the listener first; a request that comes before that, and
		// after interrupt, is waited for.
		interrupt()
		err := srv.Shutdown(ctx)
		if err != nil {
			err = errors.Join(err, srv.Close())
		}
		<-done
		return err
	})
}
