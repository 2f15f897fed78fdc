package crash

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"reprise/auth"
	"reprise/internal/pgtest"
	"reprise/internal/s3test"
)

// observer is how the tests' own connections call themselves, so that those of
// the servers can be told apart.
const observer = "observer"

// world is what outlives the servers of a test: a database, a folder, and
// phones that go to whichever server there is.
type world struct {
	t           *testing.T
	databaseURL string
	pool        *pgxpool.Pool
	root        string         // of the storage, or on S3 of what workers keep beside it
	s3          *s3test.Server // of the bucket that is the storage; nil if the folder is
	bucket      string
	settings    []string // more of the servers' environment
	key         []byte
	mayFail     bool // workers die so often that a recording may fail, and is tried again

	mu      sync.Mutex
	servers []*server // where phones go, in turns
	turn    int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, pgtest.NewURL(t))
}

// newWorldOn is newWorld with a database that is there already.
func newWorldOn(t *testing.T, databaseURL string) *world {
	t.Helper()
	w := &world{t: t, databaseURL: databaseURL, key: bytes.Repeat([]byte{7}, 32)}
	w.root = filepath.Join(t.TempDir(), "storage")
	cfg, err := pgxpool.ParseConfig(w.databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnConfig.RuntimeParams["application_name"] = observer
	cfg.MaxConns = 4
	if w.pool, err = pgxpool.NewWithConfig(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.pool.Close)
	return w
}

// start launches a server and sends the phones there.
func (w *world) start(name, point string) *server {
	w.t.Helper()
	s := w.launch(name, point)
	if s.url != "" { // else it has ended before it served
		w.use(s)
	}
	return s
}

// use says which servers the phones ask, in turns.
func (w *world) use(servers ...*server) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers = servers
}

// base is the server whose turn it is, of those that have not ended.
func (w *world) base() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var s *server
	for range w.servers {
		w.turn++
		if s = w.servers[w.turn%len(w.servers)]; !s.hasEnded() {
			break
		}
	}
	if s == nil { // the first one has died before it served; the next comes soon
		return "http://127.0.0.1:0"
	}
	return s.url
}

// phone returns somebody with a file to upload.
func (w *world) phone(user string, data []byte, way way) *phone {
	w.t.Helper()
	token, err := auth.IssueDevToken(w.key, user, 24*time.Hour, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	transport := &http.Transport{}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &phone{
		token: token, base: w.base, http: &http.Client{Transport: transport},
		data: data, clientID: uuid.NewString(), way: way,
	}
}

// begin lets phones upload; the function it returns waits for them.
func (w *world) begin(phones ...*phone) (wait func()) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	w.t.Cleanup(cancel)
	errs := make(chan error, len(phones))
	for _, p := range phones {
		go func() { errs <- p.upload(ctx) }()
	}
	return func() {
		w.t.Helper()
		for range phones {
			if err := <-errs; err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// cut closes the database connections of a server, or of all with "".
func (w *world) cut(name string) (connections int) {
	w.t.Helper()
	w.outside(func(conn *pgx.Conn) error {
		return conn.QueryRow(context.Background(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = $1 AND backend_type = 'client backend' AND application_name <> $2 AND ($3 = '' OR application_name = $3)`,
			w.database(), observer, name).Scan(&connections)
	})
	return connections
}

// admit says whether the database takes new connections.
func (w *world) admit(yes bool) {
	w.t.Helper()
	w.outside(func(conn *pgx.Conn) error {
		_, err := conn.Exec(context.Background(), fmt.Sprintf("ALTER DATABASE %s WITH ALLOW_CONNECTIONS %v", w.database(), yes))
		return err
	})
}

// database is the name of the database of this world's servers.
func (w *world) database() string { return w.pool.Config().ConnConfig.Database }

// outside runs do on a connection to another database of the same cluster: one
// that is there whether or not the world's own database admits anybody.
func (w *world) outside(do func(*pgx.Conn) error) {
	w.t.Helper()
	cfg := w.pool.Config().ConnConfig
	cfg.Database = "postgres"
	conn, err := pgx.ConnectConfig(context.Background(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := do(conn); err != nil {
		w.t.Fatal(err)
	}
}

// eventually waits until done says so.
func (w *world) eventually(what string, done func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// query returns the one value that an SQL query gives.
func query[T any](w *world, sql string, args ...any) T {
	w.t.Helper()
	var v T
	if err := w.pool.QueryRow(context.Background(), sql, args...).Scan(&v); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// rebase returns the path of a URL, with its query.
func rebase(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return link
	}
	return u.RequestURI()
}
