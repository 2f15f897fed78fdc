// Package app wires Reprise together: it constructs every part, joins what one
// package needs with what another offers, starts what runs, and stops it in the
// opposite order. It decides nothing else.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"reprise/api"
	"reprise/auth"
	"reprise/catalog"
	"reprise/config"
	"reprise/events"
	"reprise/graphsync"
	"reprise/limits"
	"reprise/processing"
	"reprise/storage"
)

// Options say what to serve. The Config has passed its Check.
type Options struct {
	Config  config.Config
	API     bool // serve uploads, REST, events and the console
	Worker  bool // process recordings
	Log     *slog.Logger
	Version string

	// Tracer, if set, is told of every query to the database, with the context of the
	// request that it is made for.
	Tracer pgx.QueryTracer
	// Transport reaches the identity provider; nil means http.DefaultTransport.
	Transport http.RoundTripper

	// Started, if set, is called once everything runs.
	Started func(Addresses)
}

// Addresses are where a running server listens.
type Addresses struct {
	PublicURL string // how clients reach the public listener; "" without the api role
	Admin     string // host:port of the admin listener
	// Routes are the patterns of the public listener, as http.ServeMux reads them.
	Routes []string
}

// Serve runs the server until ctx ends, then stops it in order. The database
// must be up to date: see Migrate.
func Serve(ctx context.Context, o Options) error {
	l, err := listen(o)
	if err != nil {
		return err
	}
	return serve(ctx, o, l)
}

// Migrate brings the database up to date, and the graph if there is one.
func Migrate(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	pool, err := openPool(ctx, string(cfg.DatabaseURL), nil)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := catalog.Migrate(ctx, pool, log); err != nil {
		return err
	}
	return migrateGraph(ctx, cfg, log)
}

// listeners are bound before anything else is started: a port that is in use is
// the most common reason why nothing works.
type listeners struct {
	public, admin net.Listener // public is nil without the api role
}

func (l listeners) close() {
	if l.public != nil {
		l.public.Close()
	}
	l.admin.Close()
}

func listen(o Options) (l listeners, err error) {
	if l.admin, err = bind(o.Config.AdminAddr, "--admin-addr or REPRISE_ADMIN_ADDR"); err != nil {
		return l, err
	}
	if !o.API {
		return l, nil
	}
	if l.public, err = bind(o.Config.Addr, "--addr or REPRISE_ADDR"); err != nil {
		l.admin.Close()
	}
	return l, err
}

func bind(addr, setting string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use by another program: stop that, or choose another address with %s", addr, setting)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("no permission to listen on %s: ports below 1024 need privileges; choose another with %s", addr, setting)
	case err != nil:
		return nil, fmt.Errorf("listen on %s (%s): %w", addr, setting, err)
	}
	return l, nil
}

// server is what serve has constructed so far.
type server struct {
	o         Options
	listeners listeners
	registry  *prometheus.Registry
	ready     *readiness
	life      *lifecycle
	failed    chan error // a part has ended by itself

	pool     *pgxpool.Pool
	catalog  *catalog.Catalog
	store    storage.Store
	refusals *limits.Refusals
	problems *api.Problems
	auth     *auth.Authenticator
	hub      *events.Hub
	graph    *graphsync.Graph // nil if there is none
	routes   []string         // of the public listener
}

func serve(ctx context.Context, o Options, l listeners) (err error) {
	s := &server{
		o: o, listeners: l,
		registry: prometheus.NewRegistry(),
		ready:    &readiness{},
		life:     &lifecycle{log: o.Log, timeout: o.Config.ShutdownTimeout},
		failed:   make(chan error, 4),
	}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(o.Version))
	s.life.onStop("listeners", func(context.Context) error { l.close(); return nil })
	defer func() { err = errors.Join(err, s.life.stop()) }()

	for _, start := range []func(context.Context) error{
		s.openDatabase, s.openStorage, s.openIdentity, s.startEvents, s.startProcessing, s.startGraph, s.servePublic, s.serveAdmin,
	} {
		if err := start(ctx); err != nil {
			return err
		}
	}
	at := Addresses{Admin: l.admin.Addr().String()}
	if o.API {
		at.PublicURL, at.Routes = s.publicURL(), s.routes
	}
	o.Log.InfoContext(ctx, "serving", slog.Bool("api", o.API), slog.Bool("worker", o.Worker),
		slog.String("publicUrl", at.PublicURL), slog.String("admin", at.Admin), slog.String("version", o.Version))
	if o.Started != nil {
		o.Started(at)
	}
	select {
	case <-ctx.Done():
		o.Log.Info("stopping")
		return nil
	case err := <-s.failed:
		return err
	}
}

// publicURL is how clients reach this server, without a slash at its end.
func (s *server) publicURL() string {
	if s.o.Config.PublicURL != "" {
		return s.o.Config.PublicURL
	}
	return "http://" + s.listeners.public.Addr().String()
}

// defaultPoolSize is how many connections a process opens at the most, unless
// pool_max_conns in the URL says otherwise. An upload needs one for a moment per
// commit.
const defaultPoolSize = 16

func openPool(ctx context.Context, url string, tracer pgx.QueryTracer) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("REPRISE_DATABASE_URL can't be used: it is not a PostgreSQL URL") // the error quotes the password
	}
	cfg.ConnConfig.Tracer = tracer
	if !strings.Contains(url, "pool_max_conns") {
		cfg.MaxConns = defaultPoolSize
	}
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	// A process that is stopped, or whose host is gone, between two statements of a
	// transaction holds its rows, among them those of the upload and of its owner:
	// nobody could go on with either. None of ours waits that long on purpose.
	if params := cfg.ConnConfig.RuntimeParams; params["idle_in_transaction_session_timeout"] == "" {
		params["idle_in_transaction_session_timeout"] = "10s"
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("the database can't be reached: %w", err)
	}
	return pool, nil
}

func (s *server) openDatabase(ctx context.Context) (err error) {
	if s.pool, err = openPool(ctx, string(s.o.Config.DatabaseURL), s.o.Tracer); err != nil {
		return err
	}
	s.life.onStop("database pool", func(context.Context) error { s.pool.Close(); return nil })
	if err := catalog.CheckMigrated(ctx, s.pool, s.o.Log); err != nil {
		return err
	}
	s.catalog, err = catalog.New(catalog.Options{Pool: s.pool, DeletedRetention: s.o.Config.DeletedRetention, Limits: userLimits(s.o.Config.Quotas)})
	if err != nil {
		return err
	}
	s.ready.add("database", s.catalog.Ping)
	s.registry.MustRegister(newPoolCollector(s.pool), newJobCollector(s.catalog, s.o.Log))
	return nil
}

// startEvents starts the hub, which a worker needs too: it sends the ticks.
func (s *server) startEvents(context.Context) error {
	cfg := s.o.Config
	s.hub = events.New(events.Options{
		Store: s.catalog, Relay: s.catalog, Auth: s.auth, Logger: s.o.Log,
		Metrics: s.registry, Origins: cfg.AllowedOrigins, PerUser: cfg.UserSockets, Total: cfg.MaxSockets,
	})
	s.background("events", s.hub.Run)
	return nil
}

func (s *server) startProcessing(ctx context.Context) error {
	if !s.o.Worker {
		return nil
	}
	cfg := s.o.Config
	fence, err := s.openSandbox(ctx)
	if err != nil {
		return err
	}
	workDir, err := makeWorkDir(cfg.Storage, os.TempDir())
	if err != nil {
		return err
	}
	engine, analyst, err := s.openInsights(ctx, fence)
	if err != nil {
		return err
	}
	service, err := processing.New(processing.Options{
		Pool: s.pool, Catalog: s.catalog, Objects: s.store, Ticks: s.hub,
		Engine: engine, Analyst: analyst, Pieces: cfg.AIPieces,
		WorkDir: workDir, Fence: fence,
		Workers: cfg.Workers, MinDuration: cfg.MinDuration, MaxDuration: cfg.MaxDuration,
		Log: s.o.Log, Metrics: s.registry, Refused: s.refusals.Count,
	})
	if err != nil {
		return err
	}
	if err := service.Check(ctx); err != nil {
		return fmt.Errorf("ffmpeg does not run in its sandbox: %w", err)
	}
	if err := service.Start(ctx); err != nil {
		return fmt.Errorf("start the workers: %w", err)
	}
	s.life.onStop("workers", service.Stop)
	return nil
}

// background runs a loop until the teardown.
func (s *server) background(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := run(ctx)
		if ctx.Err() == nil {
			s.failed <- fmt.Errorf("%s ended: %w", name, err)
		}
		done <- err
	}()
	s.life.onStop(name, func(stopping context.Context) error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-stopping.Done():
			return stopping.Err()
		}
	})
}
