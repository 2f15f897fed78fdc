package processing

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"reprise/catalog"
	"reprise/internal/pgtest"
	"reprise/internal/s3test"
	"reprise/processing/sandbox"
	"reprise/recording"
	"reprise/storage/disk"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	pgtest.Main(s3test.With(m))
}

// fence is one for all tests.
var fence = sync.OnceValues(func() (*sandbox.Fence, error) { return sandbox.New(context.Background()) })

// world is a server without its HTTP side.
type world struct {
	t       *testing.T
	pool    *pgxpool.Pool
	catalog *catalog.Catalog
	store   *disk.Store
	root    string // of the store
	workDir string
	ticks   *tickList
	owner   uuid.UUID
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, pool: pgtest.New(t), root: t.TempDir(), workDir: t.TempDir(), ticks: &tickList{}}
	var err error
	if w.catalog, err = catalog.New(catalog.Options{Pool: w.pool}); err != nil {
		t.Fatal(err)
	}
	if w.store, err = disk.New(w.root); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	if w.owner, err = w.catalog.EnsureUser(t.Context(), "dev:alice"); err != nil {
		t.Fatal(err)
	}
	return w
}

// start starts a service; change, if not nil, changes its options.
func (w *world) start(change func(*Options)) *Service {
	w.t.Helper()
	fence, err := fence()
	if err != nil {
		w.t.Fatal(err)
	}
	o := Options{
		Fence: fence, Pool: w.pool, Catalog: w.catalog, Objects: w.store, Ticks: w.ticks, WorkDir: w.workDir,
		Workers: 2, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := s.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			w.t.Errorf("stop: %v", err)
		}
	})
	return s
}

// upload makes a received upload of data in two parts and returns the
// recording's id. Metadata may be nil; sum is what the ledger takes for the
// digest, nil for the true one.
func (w *world) upload(data []byte, metadata map[string]string, sum []byte) uuid.UUID {
	w.t.Helper()
	ctx := w.t.Context()
	uploadID, id := recording.NewID(), recording.NewID()
	length := int64(len(data))
	if sum == nil {
		h := sha256.Sum256(data)
		sum = h[:]
	}
	receipt := &recording.Receipt{
		SizeBytes: length, SHA256: sum, Job: recording.StageJob{RecordingID: id, Stage: recording.StageStore},
		Event: recording.NewEvent(w.owner, id, recording.EventUploadReceived, time.Now(), nil),
	}
	if metadata == nil {
		metadata = map[string]string{}
	}
	n := recording.NewUpload{
		UploadID: uploadID, RecordingID: id, OwnerID: w.owner, Length: &length,
		ObjectKey: "recordings/" + id.String() + "/original", Metadata: metadata, ExpiresAt: time.Now().Add(time.Hour),
	}
	if length == 0 {
		n.Receipt = receipt
	}
	if _, _, err := w.catalog.CreateUpload(ctx, n); err != nil {
		w.t.Fatal(err)
	}
	var offset int64
	for _, piece := range [][]byte{data[:len(data)/2], data[len(data)/2:]} {
		if len(piece) > 0 {
			offset = w.append(uploadID, offset, piece, length, receipt)
		}
	}
	return id
}

// append commits a piece. An upload without a receipt to come has expired.
func (w *world) append(uploadID uuid.UUID, offset int64, piece []byte, length int64, receipt *recording.Receipt) int64 {
	w.t.Helper()
	ctx := w.t.Context()
	u, ok, err := w.catalog.AcquireUpload(ctx, uploadID, recording.Claim{Write: true, Offset: offset})
	if err != nil || !ok {
		w.t.Fatal(ok, err)
	}
	u.WriterOpen = true // so that each piece is a part of its own
	writer, err := w.store.NewWriter(ctx, u)
	if err != nil {
		w.t.Fatal(err)
	}
	defer writer.Close()
	if _, err := writer.Write(piece); err != nil {
		w.t.Fatal(err)
	}
	flushed, err := writer.Flush(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	to := offset + int64(len(piece))
	expires := time.Now().Add(time.Hour)
	if receipt == nil {
		expires = time.Now().Add(-time.Hour)
	}
	chunk := recording.Chunk{UploadID: uploadID, Epoch: u.Epoch, From: offset, To: to, Parts: flushed.Parts, CloseWrite: true, ExpiresAt: expires}
	if to == length {
		chunk.Receipt = receipt
	}
	if err := w.catalog.CommitChunk(ctx, chunk); err != nil {
		w.t.Fatal(err)
	}
	return to
}

// wait waits until the recording is in one of the states.
func (w *world) wait(id uuid.UUID, states ...recording.State) recording.Recording {
	w.t.Helper()
	var last recording.Recording
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		work, err := w.catalog.Work(w.t.Context(), id)
		if err != nil {
			w.t.Fatal(err)
		}
		if last = work.Recording; slices.Contains(states, last.State) {
			return last
		}
	}
	w.t.Fatalf("the recording is %s, stage %q, reason %q", last.State, last.Stage, last.Reason)
	return last
}

// awaitStage waits until a job of the recording's stage runs.
func (w *world) awaitStage(id uuid.UUID, stage recording.Stage) {
	w.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var running bool
		err := w.pool.QueryRow(w.t.Context(), `SELECT EXISTS (SELECT FROM river_job
			WHERE state = 'running' AND args->>'recordingId' = $1 AND args->>'stage' = $2)`, id.String(), stage).Scan(&running)
		if err != nil {
			w.t.Fatal(err)
		}
		if running {
			return
		}
	}
	w.t.Fatalf("no job runs for stage %s", stage)
}

func (w *world) work(id uuid.UUID) recording.Work {
	w.t.Helper()
	work, err := w.catalog.Work(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return work
}

// jobs returns the states of the jobs of stages.
func (w *world) jobs() (states []string) {
	w.t.Helper()
	rows, err := w.pool.Query(w.t.Context(), "SELECT state::text || ' ' || attempt FROM river_job WHERE kind = 'stage' ORDER BY id")
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			w.t.Fatal(err)
		}
		states = append(states, s)
	}
	return states
}

// stored returns everything in the store by kind.
func (w *world) stored() map[recording.StoredKind][]string {
	w.t.Helper()
	found := map[recording.StoredKind][]string{}
	err := w.store.List(w.t.Context(), func(e recording.StoredEntry) error {
		name := e.Key
		if e.Kind == recording.StoredParts {
			name = e.UploadID.String()
		}
		found[e.Kind] = append(found[e.Kind], name)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

type tickList struct {
	mu   sync.Mutex
	list []recording.Event
}

func (l *tickList) Publish(_ context.Context, e recording.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, e)
}

// badFetch is a storage whose Fetch fails a number of times.
type badFetch struct {
	Objects
	mu   sync.Mutex
	left int
}

func (b *badFetch) Fetch(ctx context.Context, key, path string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left--; b.left >= 0 {
		return errors.New("the storage is away")
	}
	return b.Objects.Fetch(ctx, key, path)
}

// spoken returns a few seconds of it, as a file of this kind.
func spoken(t *testing.T, ext string, args ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "speech."+ext)
	all := append([]string{"-v", "error", "-nostdin", "-t", "4", "-i", "../testdata/speech.flac"}, args...)
	if out, err := exec.Command("ffmpeg", append(all, path)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
