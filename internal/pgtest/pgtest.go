// Package pgtest gives each test a PostgreSQL database of its own, with
// Reprise's schema and River's in it.
//
// The databases are copies of one template, which is migrated once per server
// and named after a hash of the migrations. The server is the one in
// REPRISE_TEST_POSTGRES_URL, which `go run ./internal/testenv` sets; without it,
// the test binary starts a server of its own at the first need. A package that
// uses pgtest calls [Main] in its TestMain.
package pgtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"go.uber.org/goleak"

	"reprise/catalog"
	"reprise/migrations"
	"reprise/pgcluster"
)

const (
	envURL = "REPRISE_TEST_POSTGRES_URL"

	maxConns    = 8 // of one test's pool
	setupTime   = 60 * time.Second
	cleanupTime = 15 * time.Second

	// templateLock is the advisory lock held while the template is made.
	templateLock = 7_239_002
)

// server is the PostgreSQL server of this test binary, shared by its tests.
var server struct {
	sync.Mutex
	hasMain  bool
	tried    bool
	err      error // why there is no server
	url      string
	template string
	cluster  *pgcluster.Cluster // nil if somebody else's
	tmp      string
}

// Tests are a package's tests: a *testing.M, or one that something is wrapped
// around, as s3test.With does.
type Tests interface{ Run() int }

// Main runs the package's tests, stops the server if one was started, checks
// that no goroutine is left and exits:
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
func Main(m Tests, opts ...goleak.Option) { os.Exit(Run(m, opts...)) }

// Run is Main for a TestMain that has something to clear up itself: it returns
// the exit code.
func Run(m Tests, opts ...goleak.Option) int {
	server.Lock()
	server.hasMain = true
	server.Unlock()

	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		code = max(code, 1)
	}
	if code == 0 {
		if err := goleak.Find(opts...); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest: goroutines are left after the tests:", err)
			code = 1
		}
	}
	return code
}

// New returns a pool of connections to a new, migrated database, which is
// dropped when the test ends. The test must have given every connection back
// by then.
func New(t testing.TB) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(NewURL(t))
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	config.MaxConns = maxConns
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		closed := make(chan struct{})
		go func() { pool.Close(); close(closed) }()
		select {
		case <-closed:
		case <-time.After(cleanupTime):
			t.Errorf("pgtest: %d connections were not given back", pool.Stat().AcquiredConns())
		}
	})
	return pool
}

// NewURL returns the URL of a new, migrated database, which is dropped, together
// with what is still connected to it, when the test ends.
func NewURL(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), setupTime)
	defer cancel()
	if err := start(ctx); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	name := "test_" + strings.ToLower(rand.Text()[:16])
	if err := exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+server.template); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
		defer cancel()
		if err := exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return databaseURL(server.url, name)
}

// exec runs a statement outside of any test's database.
func exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, server.url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// start finds or starts the server and makes the template, once.
func start(ctx context.Context) error {
	server.Lock()
	defer server.Unlock()
	if !server.tried {
		server.tried = true
		server.err = startServer(ctx)
	}
	return server.err
}

// startServer fills in server, whose lock the caller holds.
func startServer(ctx context.Context) error {
	if !server.hasMain {
		return errors.New("call pgtest.Main(m) in this package's TestMain")
	}
	server.url = os.Getenv(envURL)
	if server.url == "" {
		var err error
		if server.tmp, err = os.MkdirTemp("", "reprise-pgtest-"); err != nil {
			return err
		}
		server.cluster, err = pgcluster.Start(ctx, pgcluster.Options{Dir: filepath.Join(server.tmp, "postgres"), MaxConnections: 300})
		if err != nil {
			return err
		}
		server.url = server.cluster.URL("postgres")
	}
	var err error
	if server.template, err = templateName(); err != nil {
		return err
	}
	if err := makeTemplate(ctx, server.url, server.template); err != nil {
		return fmt.Errorf("make the template database: %w", err)
	}
	return nil
}

func stop() error {
	server.Lock()
	defer server.Unlock()
	if server.cluster != nil {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
		defer cancel()
		if err := server.cluster.Stop(ctx); err != nil {
			return err
		}
	}
	if server.tmp == "" {
		return nil
	}
	return os.RemoveAll(server.tmp)
}

// templateName depends on every migration, so that a server that outlives a
// change of theirs gets a new template.
func templateName() (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(migrations.Postgres, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := migrations.Postgres.ReadFile(path)
		fmt.Fprintf(sum, "%s\n%d\n%s", path, len(text), text)
		return err
	})
	if err != nil {
		return "", err
	}
	queue, err := rivermigrate.New(riverpgxv5.New(nil), nil)
	if err != nil {
		return "", err
	}
	for _, m := range queue.AllVersions() {
		fmt.Fprintf(sum, "%d\n%s", m.Version, m.SQLUp)
	}
	return "template_" + hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

// makeTemplate makes the template unless it exists. Other test binaries may try
// at the same time: one does it, the others wait.
func makeTemplate(ctx context.Context, serverURL, name string) error {
	conn, err := pgx.Connect(ctx, serverURL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) // ends the lock, too
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", templateLock); err != nil {
		return err
	}
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists); err != nil || exists {
		return err
	}
	// It gets its name only when it is complete.
	making := name + "_making"
	for _, sql := range []string{"DROP DATABASE IF EXISTS " + making + " WITH (FORCE)", "CREATE DATABASE " + making + " TEMPLATE template0"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	if err := migrate(ctx, databaseURL(serverURL, making)); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "ALTER DATABASE "+making+" RENAME TO "+name)
	return err
}

func migrate(ctx context.Context, databaseURL string) error {
	pool, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	return catalog.Migrate(ctx, pool, slog.New(slog.DiscardHandler))
}

// databaseURL returns the server's URL with another database.
func databaseURL(serverURL, database string) string {
	u, err := url.Parse(serverURL)
	if err != nil { // pgx has connected to it already
		panic("pgtest: " + err.Error())
	}
	u.Path = "/" + database
	return u.String()
}
