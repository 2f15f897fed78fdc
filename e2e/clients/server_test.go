package clients

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"reprise/app"
	"reprise/auth"
	"reprise/config"
	"reprise/graphsync"
	"reprise/internal/neo4jtest"
	"reprise/internal/pgtest"
	"reprise/recording"
)

// patience bounds every wait for the server. It is generous: the machine may be
// busy with other tests.
const patience = 60 * time.Second

// server is a running Reprise.
type server struct {
	url   string // of the public listener
	line  string // the same, as tus clients reach it
	admin string // http://host:port of the admin listener
	disk  string // the folder of its storage
	http  *http.Client
	key   []byte
	log   *logText

	graph    bool     // it has one
	database string   // its URL
	routes   []string // the patterns of the public listener
}

// newServer starts a server on a new database and an empty folder, and stops it
// when the test ends. change may change its configuration.
func newServer(t *testing.T, change ...func(*config.Config)) *server {
	t.Helper()
	return newTracedServer(t, nil, change...)
}

// newTracedServer is newServer with somebody who is told of every query.
func newTracedServer(t *testing.T, tracer pgx.QueryTracer, change ...func(*config.Config)) *server {
	t.Helper()
	s := &server{key: bytes.Repeat([]byte{7}, 32), log: &logText{}, disk: t.TempDir(), http: &http.Client{
		Transport: &http.Transport{}, Timeout: patience,
		// Go takes the token along to another port of the same host, where it doesn't
		// belong.
		CheckRedirect: func(r *http.Request, _ []*http.Request) error { r.Header.Del("Authorization"); return nil },
	}}
	cfg := s.config(t, change...)
	s.graph = cfg.Neo4jURL != ""
	ctx, stop := context.WithCancel(context.Background())
	started, ended := make(chan app.Addresses, 1), make(chan error, 1)
	go func() {
		ended <- app.Serve(ctx, app.Options{
			Config: cfg, API: true, Worker: true, Version: "test", Tracer: tracer,
			Log:     slog.New(slog.NewTextHandler(s.log, nil)),
			Started: func(at app.Addresses) { started <- at },
		})
	}()
	t.Cleanup(func() {
		s.http.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with: %v", err)
		}
		if t.Failed() {
			t.Logf("the end of the server's log:\n%s", s.log.tail(100))
		}
	})
	select {
	case at := <-started:
		s.url, s.line, s.admin, s.routes = at.PublicURL, at.PublicURL, "http://"+at.Admin, at.Routes
	case err := <-ended:
		ended <- nil
		t.Fatalf("the server did not start: %v", err)
	}
	return s
}

func (s *server) config(t *testing.T, change ...func(*config.Config)) config.Config {
	t.Helper()
	cfg := config.Default()
	cfg.Addr, cfg.AdminAddr = "127.0.0.1:0", "127.0.0.1:0"
	s.database = pgtest.NewURL(t)
	cfg.DatabaseURL = config.Secret(s.database)
	cfg.StorageURL = "file://" + s.disk
	cfg.AITranscription = "off" // which takes time; a test that is about it says so
	cfg.DevKey = config.Secret(hex.EncodeToString(s.key))
	for _, c := range change {
		c(&cfg)
	}
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// onGraph has a server use the graph that all tests share, with users of its own.
func onGraph(t *testing.T) func(*config.Config) {
	t.Helper()
	at := neo4jtest.Shared(t)
	graph, err := graphsync.Open(graphsync.Options{URL: at.URL, User: at.User, Password: at.Password})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(graph.Migrate(t.Context(), slog.New(slog.DiscardHandler)), graph.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	return func(c *config.Config) {
		c.Neo4jURL, c.Neo4jUser, c.Neo4jPassword = at.URL, at.User, config.Secret(at.Password)
		c.GraphTimeout = patience // a Neo4j that was asked nothing yet, on a busy machine, takes long
	}
}

// failToServe starts a server that is expected to end with an error.
func failToServe(t *testing.T, change ...func(*config.Config)) error {
	t.Helper()
	s := &server{key: make([]byte, 32)}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return app.Serve(ctx, app.Options{
		Config: s.config(t, change...), API: true, Worker: true, Log: slog.New(slog.DiscardHandler), Version: "test",
	})
}

// stored lists the files in storage that belong to an upload or a recording.
func (s *server) stored(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, folder := range []string{"parts", "objects"} {
		err := filepath.WalkDir(filepath.Join(s.disk, folder), func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
				return nil
			}
			if err == nil && !entry.IsDir() {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// user returns somebody with a valid token.
func (s *server) user(t *testing.T, name string) user {
	t.Helper()
	token, err := auth.IssueDevToken(s.key, name, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return user{t: t, s: s, token: token}
}

// administrator is user for somebody with the role admin.
func (s *server) administrator(t *testing.T, name string) user {
	t.Helper()
	token, err := auth.IssueDevTokenAs(s.key, name, recording.RoleAdmin, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	u := user{t: t, s: s, token: token}
	u.id = get[struct{ ID string }](u, "/v1/me").ID
	return u
}

// logText keeps what a server logs.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logText) tail(lines int) string {
	all := strings.Split(l.String(), "\n")
	// The tests' own asking whether something is done by now says nothing.
	all = slices.DeleteFunc(all, func(line string) bool {
		return strings.Contains(line, "method=GET route=/v1/recordings/{id} status=200")
	})
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
