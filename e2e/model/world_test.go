package model

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"reprise/api"
	"reprise/auth"
	"reprise/catalog"
	"reprise/hooks"
	"reprise/internal/pgtest"
	"reprise/processing"
	"reprise/processing/sandbox"
	"reprise/recording"
	"reprise/storage"
	"reprise/upload"
)

const (
	maxSize = 1 << 30
	expiry  = 7 * 24 * time.Hour
	// patience is how long anything may take that is to happen at all.
	patience = 20 * time.Second
)

// world is what outlives the replicas: a database, a storage and the clock.
type world struct {
	t       *testing.T
	pool    *pgxpool.Pool
	catalog *catalog.Catalog
	kind    kind
	open    func(*catalog.Catalog) storage.Store // the same storage, as another process has it
	store   storage.Store
	owner   uuid.UUID
	clock   clock
	client  *http.Client

	replicas []*replica
	closing  []*replica // dead ones
	requests sync.Map   // the requests that no replica has begun with, by their header Request
}

// clock is what the servers take for the time: ahead of the real one.
type clock struct {
	ahead atomic.Int64 // nanoseconds
	// hurry is by how much every look at the clock moves it, so that every piece of a
	// body is committed by itself.
	hurry atomic.Int64

	mu    sync.Mutex
	jumps []jump
}

type jump struct {
	at    time.Time // real
	ahead time.Duration
}

func (c *clock) now() time.Time {
	return time.Now().Add(time.Duration(c.ahead.Add(c.hurry.Load())))
}

// jump moves the clock forward.
func (c *clock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jumps = append(c.jumps, jump{time.Now(), time.Duration(c.ahead.Add(int64(d)))})
}

// was returns what the clock said at a real time.
func (c *clock) was(at time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ahead time.Duration
	for _, j := range c.jumps {
		if !j.at.After(at) {
			ahead = j.ahead
		}
	}
	return at.Add(ahead)
}

// aged is a storage whose entries are as old as the servers' clock says.
type aged struct {
	storage.Store
	clock *clock
}

func (a aged) List(ctx context.Context, fn func(storage.Entry) error) error {
	return a.Store.List(ctx, func(e storage.Entry) error {
		e.ModifiedAt = a.clock.was(e.ModifiedAt)
		return fn(e)
	})
}

type noTicks struct{}

func (noTicks) Publish(context.Context, recording.Event) {}

func newWorld(t *testing.T, k kind) *world {
	t.Helper()
	w := &world{t: t, pool: pgtest.New(t), kind: k, open: k.open(t)}
	w.client = &http.Client{Transport: &http.Transport{}, Timeout: patience}
	t.Cleanup(w.client.CloseIdleConnections)
	w.catalog = w.newCatalog()
	w.store = w.open(w.catalog)
	var err error
	w.owner, err = w.catalog.EnsureUser(t.Context(), "dev:alice")
	must(err)
	for i := range 2 {
		w.replicas = append(w.replicas, w.newReplica(fmt.Sprintf("%c", 'a'+i)))
	}
	t.Cleanup(w.close)
	return w
}

func (w *world) newCatalog() *catalog.Catalog {
	c, err := catalog.New(catalog.Options{Pool: w.pool, Now: w.clock.now})
	must(err)
	return c
}

// close ends every replica.
func (w *world) close() {
	for _, r := range w.replicas {
		r.gate.kill()
	}
	for _, r := range append(w.replicas, w.closing...) {
		r.srv.CloseClientConnections()
		r.srv.Close()
	}
}

// replica is one server.
type replica struct {
	name   string
	gate   *gate
	ledger ledger
	store  store
	srv    *httptest.Server
}

func (w *world) newReplica(name string) *replica {
	r := &replica{name: name, gate: newGate()}
	c := w.newCatalog()
	r.ledger, r.store = ledger{c, r.gate}, store{w.open(c), r.gate}
	log := slog.New(slog.DiscardHandler)
	s, err := upload.New(upload.Options{
		Ledger: r.ledger, Storage: r.store, Hooks: hooks.New(maxSize), Ticks: noTicks{},
		WriteProblem: api.NewProblems(log).Write,
		BasePath:     "/files/", MaxSizeBytes: maxSize, Expiry: expiry,
		Log: log, Metrics: prometheus.NewRegistry(), Now: w.clock.now,
	})
	must(err)
	r.srv = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if sent, ok := w.requests.LoadAndDelete(req.Header.Get("Request")); ok {
			close(sent.(*request).begun)
			defer close(sent.(*request).over)
		}
		s.ServeHTTP(rw, req.WithContext(auth.NewContext(req.Context(), auth.Principal{UserID: w.owner})))
	}))
	return r
}

// replace puts a new replica in the place of a dead one.
func (w *world) replace(r *replica) {
	i := slices.Index(w.replicas, r)
	if i < 0 {
		return
	}
	r.gate.kill()
	r.srv.CloseClientConnections()
	w.closing = append(w.closing, r)
	w.replicas[i] = w.newReplica(r.name + "'")
}

// janitor runs a round of the janitor.
func (w *world) janitor() error {
	j := processing.NewJanitor(w.catalog, aged{w.store, &w.clock}, w.clock.now, slog.New(slog.DiscardHandler))
	_, err := j.RunOnce(context.Background())
	return err
}

// fence is one for all worlds.
var fence = sync.OnceValues(func() (*sandbox.Fence, error) { return sandbox.New(context.Background()) })

// work lets a worker do all jobs that are due.
func (w *world) work() {
	// The queue has a clock of its own.
	eventually(func() error {
		_, err := w.pool.Exec(context.Background(), `UPDATE river_job SET state = 'available', scheduled_at = now()
			WHERE state = 'scheduled' AND scheduled_at <= $1`, w.clock.now())
		return err
	})
	fence, err := fence()
	must(err)
	s, err := processing.New(processing.Options{
		Fence: fence,
		Pool:  w.pool, Catalog: w.catalog, Objects: w.store, Ticks: noTicks{}, WorkDir: w.t.TempDir(),
		Workers: 2, Log: slog.New(slog.DiscardHandler), Now: w.clock.now,
		JanitorInterval: time.Hour,
	})
	must(err)
	must(s.Start(context.Background()))
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		must(s.Stop(ctx))
	}()
	for since := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		jobs, err := w.catalog.JobCounts(context.Background())
		must(err)
		if len(jobs) == 0 {
			return
		}
		if time.Since(since) > patience {
			violated("jobs were not done in time: %+v", jobs)
		}
	}
}

// answer is a response; status 0 says that none came.
type answer struct {
	status int
	header http.Header
	body   string
}

// violation is what a run panics with when a promise is broken: it ends the run
// from wherever that is seen, and run recovers it.
type violation string

func violated(format string, args ...any) { panic(violation(fmt.Sprintf(format, args...))) }

func must(err error) {
	if err != nil {
		violated("%v", err)
	}
}

// request is one that is under way.
type request struct {
	answered    chan answer
	begun, over chan struct{} // closed when the server begins with it and has done with it
}

// send begins a request; header is pairs of name and value.
func (w *world) send(r *replica, method, path string, body io.Reader, header ...string) *request {
	req, err := http.NewRequest(method, r.srv.URL+path, body)
	must(err)
	req.Header.Set("Tus-Resumable", "1.0.0")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	sent := &request{answered: make(chan answer, 1), begun: make(chan struct{}), over: make(chan struct{})}
	id := uuid.NewString()
	req.Header.Set("Request", id)
	w.requests.Store(id, sent)
	go func() {
		resp, err := w.client.Do(req)
		if err != nil {
			sent.answered <- answer{body: err.Error()}
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		sent.answered <- answer{resp.StatusCode, resp.Header, strings.TrimSpace(string(text))}
	}()
	return sent
}

// eventually repeats a question to the database, whose connections may have been
// cut: then it is asked again.
func eventually(ask func() error) {
	err := ask()
	for range 20 {
		if err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
		err = ask()
	}
	must(err)
}

// row returns the ledger's row of an upload.
func (w *world) row(id uuid.UUID) (row recording.Upload) {
	eventually(func() (err error) { row, err = w.catalog.FindUpload(context.Background(), w.owner, id); return err })
	return row
}

// count returns the number that a query gives.
func (w *world) count(sql string, args ...any) (n int) {
	eventually(func() error { return w.pool.QueryRow(context.Background(), sql, args...).Scan(&n) })
	return n
}

// read returns the bytes of an object.
func (w *world) read(key string) []byte {
	o, err := w.store.Open(context.Background(), key)
	must(err)
	defer o.Close()
	b, err := io.ReadAll(o)
	must(err)
	return b
}

// stored lists everything in the storage.
func (w *world) stored() (list []string) {
	must(w.store.List(context.Background(), func(e storage.Entry) error {
		list = append(list, fmt.Sprint(e.Kind, " ", e.Key, e.MultipartID, map[bool]string{true: e.UploadID.String()}[e.UploadID != uuid.Nil]))
		return nil
	}))
	return list
}
