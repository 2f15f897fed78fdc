package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/rs/cors"

	"reprise/api"
	"reprise/hooks"
	"reprise/upload"
	"reprise/web"
)

// servePublic serves uploads, REST, events and the console.
func (s *server) servePublic(context.Context) error {
	if !s.o.API {
		return nil
	}
	cfg := s.o.Config
	uploads, err := upload.New(upload.Options{
		Ledger: s.catalog, Storage: s.store, Hooks: hooks.New(int64(cfg.MaxUploadBytes)), Ticks: s.hub,
		WriteProblem: s.problems.Write,
		BasePath:     "/files/", PublicURL: s.publicURL(),
		MaxSizeBytes: int64(cfg.MaxUploadBytes), Expiry: cfg.UploadExpiry,
		Log: s.o.Log, Metrics: s.registry,
	})
	if err != nil {
		return fmt.Errorf("make the upload server: %w", err)
	}
	var signer api.Signer
	if cfg.Reads == "direct" {
		signer = s.store
	}
	s.background("uploads", uploads.Run)
	mux := http.NewServeMux()
	if _, err := api.New(mux, api.Options{
		Catalog: s.catalog, Objects: s.store, Signer: signer, Problems: s.problems, PublicURL: s.publicURL(), Version: s.o.Version,
	}); err != nil {
		return fmt.Errorf("make the API: %w", err)
	}
	mux.Handle("/files/", uploads)
	mux.Handle("/files", uploads)
	mux.Handle("GET /v1/events", s.hub)
	mux.Handle("/", web.Handler())

	handler := api.Instrument(crossOrigin(cfg.AllowedOrigins, uploads.Announce(s.auth.Middleware(mux))), api.InstrumentOptions{
		Router: mux, Registerer: s.registry, Problems: s.problems, Logger: s.o.Log, Now: time.Now,
	})
	// Slow phones need minutes for a body, so there's no limit on reading one:
	// uploads set a deadline for each read.
	s.serveHTTP("public listener", s.listeners.public, &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
	}, uploads.Interrupt)
	return nil
}

func (s *server) serveAdmin(context.Context) error {
	s.serveHTTP("admin listener", s.listeners.admin, &http.Server{
		Handler: adminHandler(s.registry, s.ready), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
	}, func() {})
	return nil
}

// serveHTTP serves until the teardown, which calls interrupt for requests that
// would go on for long, and waits for all.
func (s *server) serveHTTP(name string, l net.Listener, srv *http.Server, interrupt func()) {
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

// crossOrigin lets pages of these origins use the server from a browser, with
// the headers that tus clients send and read. Without origins it answers no
// preflight, so only the server's own pages can.
func crossOrigin(origins []string, next http.Handler) http.Handler {
	if len(origins) == 0 {
		return next
	}
	return cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodDelete},
		AllowedHeaders: []string{
			"Authorization", "Content-Type", "If-Match", "If-None-Match", "If-Range", "Range", "X-Request-ID",
			"Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Metadata", "Upload-Defer-Length", "Upload-Concat", "Upload-Checksum",
		},
		ExposedHeaders: []string{
			"Location", "Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm",
			"Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Defer-Length", "Upload-Concat", "Upload-Expires", "Reprise-Recording",
			"Content-Range", "Content-Disposition", "ETag", "Retry-After", "X-Request-ID",
		},
		MaxAge: int((10 * time.Minute).Seconds()),
	}).Handler(next)
}
