package s3_test

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"reprise/api"
	"reprise/auth"
	"reprise/catalog"
	"reprise/hooks"
	"reprise/internal/pgtest"
	"reprise/internal/s3test"
	"reprise/processing"
	"reprise/processing/sandbox"
	"reprise/recording"
	"reprise/storage/s3"
	"reprise/upload"
)

const (
	kib = 1 << 10
	mib = 1 << 20

	maxSize = 1 << 30
	// attemptTime is how long a hanging S3 server is waited for: less than the store
	// itself would.
	attemptTime = 2 * time.Second
	// patience is for what takes seconds, on a machine that has much else to do.
	patience = 3 * time.Minute
)

// world is some replicas of the server on one database and one bucket.
type world struct {
	t        *testing.T
	server   *s3test.Server
	proxy    *s3test.Proxy // every request of the replicas goes through it
	bucket   string
	pool     *pgxpool.Pool
	catalog  *catalog.Catalog
	owner    uuid.UUID
	replicas []*replica
	// attemptTime is the limit of the replicas' HTTP clients; 0 leaves it to the store.
	attemptTime time.Duration
}

// replica is one process of the server, as far as uploads need it.
type replica struct {
	url   string // without the path
	store *s3.Store
}

// newWorld makes a world without replicas.
func newWorld(t *testing.T, server *s3test.Server) *world {
	t.Helper()
	w := &world{t: t, server: server, bucket: server.Bucket(t), proxy: server.Proxy(t), pool: pgtest.New(t), attemptTime: attemptTime}
	var err error
	if w.catalog, err = catalog.New(catalog.Options{Pool: w.pool}); err != nil {
		t.Fatal(err)
	}
	if w.owner, err = w.catalog.EnsureUser(t.Context(), "dev:alice"); err != nil {
		t.Fatal(err)
	}
	return w
}

// onBoth runs a test on both S3 servers.
func onBoth(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	for _, server := range s3test.Servers(t) {
		t.Run(server.Name, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t, server))
		})
	}
}

// kept says where the tails of PATCHes go: up to so many bytes into the ledger.
type kept int64

const (
	keptInLedger kept = 1 * mib // the default of the server
	keptInS3     kept = 0
)

// addReplica starts a replica. Extra are parameters of the storage URL.
func (w *world) addReplica(tails kept, extra ...string) *replica {
	w.t.Helper()
	location, err := s3.ParseURL(w.proxy.URL(w.bucket, extra...))
	if err != nil {
		w.t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	w.t.Cleanup(transport.CloseIdleConnections)
	log := slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, err := s3.New(w.t.Context(), s3.Options{
		Location: location, Ledger: w.catalog,
		MemoryBytes: 256 * mib, InlineBytes: int64(tails), InlineRate: maxSize,
		Log: log, Metrics: prometheus.NewRegistry(), HTTPClient: &http.Client{Transport: transport, Timeout: w.attemptTime}, Now: time.Now,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	uploads, err := upload.New(upload.Options{
		Ledger: w.catalog, Storage: store, Hooks: hooks.New(maxSize), Ticks: noTicks{}, WriteProblem: api.NewProblems(log).Write,
		BasePath: "/files/", MaxSizeBytes: maxSize, Expiry: time.Hour, Log: log, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		uploads.ServeHTTP(rw, r.WithContext(auth.NewContext(r.Context(), auth.Principal{UserID: w.owner})))
	}))
	w.t.Cleanup(server.Close)
	r := &replica{url: server.URL, store: store}
	w.replicas = append(w.replicas, r)
	return r
}

type noTicks struct{}

func (noTicks) Publish(context.Context, recording.Event) {}

// phone returns a phone that knows all replicas and has data to upload in PATCHes of
// chunk bytes.
func (w *world) phone(data []byte, chunk int) *phone {
	transport := &http.Transport{}
	w.t.Cleanup(transport.CloseIdleConnections)
	p := &phone{http: &http.Client{Transport: transport}, data: data, chunk: chunk}
	for _, r := range w.replicas {
		p.bases = append(p.bases, r.url)
	}
	return p
}

// audio returns bytes that pass for the beginning of a FLAC file, up to the stage
// that looks closely.
func audio(seed uint64, size int) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(data)
	copy(data, "fLaC")
	return data
}

// assemble does what the stage store does.
func (w *world) assemble(id uuid.UUID) recording.Upload {
	w.t.Helper()
	work, err := w.catalog.Work(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.replicas[0].store.Assemble(w.t.Context(), work.Upload); err != nil {
		w.t.Fatal(err)
	}
	return work.Upload
}

// startWorkers runs every stage, and the janitor once a round.
func (w *world) startWorkers() {
	w.t.Helper()
	fence, err := sandbox.New(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	service, err := processing.New(processing.Options{
		Fence: fence,
		Pool:  w.pool, Catalog: w.catalog, Objects: w.replicas[0].store, Ticks: noTicks{}, WorkDir: w.t.TempDir(),
		Workers: 4, JanitorInterval: time.Hour, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := service.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := service.Stop(ctx); err != nil {
			w.t.Errorf("stop the workers: %v", err)
		}
	})
}

// until waits for something to become true.
func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if is() {
			return
		}
	}
	w.t.Fatalf("%s: not within %v", what, patience)
}

// processed waits for the verdict about a recording. What these tests upload is no
// audio to ffmpeg, so it is StateRejected once the object was verified.
func (w *world) processed(id uuid.UUID) recording.Work {
	w.t.Helper()
	var work recording.Work
	w.until("a verdict", func() bool {
		var err error
		if work, err = w.catalog.Work(w.t.Context(), id); err != nil {
			w.t.Fatal(err)
		}
		return work.Recording.State == recording.StateRejected || work.Recording.State == recording.StateFailed
	})
	return work
}

// wantObject fails the test unless the upload's object has these bytes.
func (w *world) wantObject(u recording.Upload, data []byte) {
	w.t.Helper()
	if got := w.server.Object(w.t, w.bucket, "objects/"+u.ObjectKey); !bytes.Equal(got, data) {
		w.t.Errorf("the object of upload %s has %d bytes, and they are not the %d sent", u.ID, len(got), len(data))
	}
}

// wantStored fails the test unless a recording was processed up to the look at its
// bytes, from one chain of jobs, and its object is what was sent.
func (w *world) wantStored(id uuid.UUID, data []byte) recording.Upload {
	w.t.Helper()
	work := w.processed(id)
	if work.Recording.State != recording.StateRejected {
		w.t.Fatalf("the recording is %s at stage %s: %s", work.Recording.State, work.Recording.Stage, work.Recording.Reason)
	}
	w.wantObject(work.Upload, data)
	rows, err := w.pool.Query(w.t.Context(), "SELECT args->>'stage' FROM river_job WHERE kind = 'stage' AND args->>'recordingId' = $1 ORDER BY id", id.String())
	if err != nil {
		w.t.Fatal(err)
	}
	stages, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"store", "verify", "probe"}, stages); diff != "" {
		w.t.Errorf("not one chain of jobs: %s", diff)
	}
	return work.Upload
}
