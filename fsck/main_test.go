package fsck_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"reprise/catalog"
	"reprise/fsck"
	"reprise/internal/pgtest"
	"reprise/internal/s3test"
	"reprise/recording"
	"reprise/storage"
	"reprise/storage/disk"
)

func TestMain(m *testing.M) { pgtest.Main(s3test.With(m)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is an installation without its servers.
type world struct {
	t       testing.TB
	pool    *pgxpool.Pool
	catalog *catalog.Catalog
	store   storage.Store
	root    string // of a store in a folder
	owner   uuid.UUID
	data    string // of uploads
}

// newWorld returns one whose storage is a folder.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := newLedger(t)
	w.root, w.data = t.TempDir(), content
	store, err := disk.New(w.root)
	must(t, err)
	t.Cleanup(func() { store.Close() })
	w.store = store
	return w
}

// newLedger returns a world without a storage.
func newLedger(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, pool: pgtest.New(t)}
	var err error
	w.catalog, err = catalog.New(catalog.Options{Pool: w.pool, DeletedRetention: time.Hour})
	must(t, err)
	w.owner, err = w.catalog.EnsureUser(t.Context(), "dev:alice")
	must(t, err)
	return w
}

const content = "sixteen bytes ok"

// create makes an upload of data without a byte.
func (w *world) create(partial bool) recording.Upload {
	w.t.Helper()
	length := int64(len(w.data))
	n := recording.NewUpload{
		UploadID: recording.NewID(), RecordingID: recording.NewID(), OwnerID: w.owner, Length: &length,
		Metadata: map[string]string{}, ExpiresAt: time.Now().Add(time.Hour),
	}
	n.ObjectKey = "recordings/" + n.RecordingID.String() + "/original"
	if partial {
		n.Partial, n.RecordingID, n.ObjectKey = true, uuid.Nil, "uploads/"+n.UploadID.String()+"/partial"
	}
	u, _, err := w.catalog.CreateUpload(w.t.Context(), n)
	must(w.t, err)
	return u
}

// append commits the bytes of data from the upload's offset up to to, as a part of
// their own.
func (w *world) append(u recording.Upload, to int64) recording.Upload {
	w.t.Helper()
	must(w.t, w.tryAppend(w.t.Context(), u, to))
	return w.reload(u)
}

func (w *world) tryAppend(ctx context.Context, u recording.Upload, to int64) error {
	u, ok, err := w.catalog.AcquireUpload(ctx, u.ID, recording.Claim{Write: true, Offset: u.Offset})
	if err != nil || !ok {
		return errors.Join(errors.New("not acquired"), err)
	}
	u.WriterOpen = true // so that each piece is a part of its own
	writer, err := w.store.NewWriter(ctx, u)
	if err != nil {
		return err
	}
	defer writer.Close()
	if _, err := writer.Write([]byte(w.data[u.Offset:to])); err != nil {
		return err
	}
	flushed, err := writer.Flush(ctx)
	if err != nil {
		return err
	}
	chunk := recording.Chunk{
		UploadID: u.ID, Epoch: u.Epoch, From: u.Offset, To: to, Parts: flushed.Parts, CloseWrite: true, ExpiresAt: time.Now().Add(time.Hour),
		Dropped: flushed.Dropped, MultipartID: flushed.MultipartID, PartNumber: max(u.PartNumber, flushed.PartNumber),
		Segmented: flushed.Segmented, ObjectKey: flushed.ObjectKey,
	}
	if to == int64(len(w.data)) && !u.Partial {
		chunk.Receipt = w.receipt(u)
	}
	return w.catalog.CommitChunk(ctx, chunk)
}

func (w *world) receipt(u recording.Upload) *recording.Receipt {
	sum := sha256.Sum256([]byte(w.data))
	return &recording.Receipt{
		SizeBytes: int64(len(w.data)), SHA256: sum[:], Job: recording.StageJob{RecordingID: u.RecordingID, Stage: recording.StageStore},
		Event: recording.NewEvent(w.owner, u.RecordingID, recording.EventUploadReceived, time.Now(), nil),
	}
}

func (w *world) reload(u recording.Upload) recording.Upload {
	w.t.Helper()
	u, err := w.catalog.UploadByID(w.t.Context(), u.ID)
	must(w.t, err)
	return u
}

func (w *world) receiving() recording.Upload { w.t.Helper(); return w.append(w.create(false), 5) }

func (w *world) received() recording.Upload {
	w.t.Helper()
	return w.append(w.receiving(), int64(len(w.data)))
}

// ready makes a recording with two artifacts, as the stages do.
func (w *world) ready() recording.Upload {
	w.t.Helper()
	u := w.received()
	must(w.t, w.process(w.t.Context(), u))
	return w.reload(u)
}

func (w *world) process(ctx context.Context, u recording.Upload) error {
	if err := w.store.Assemble(ctx, u); err != nil {
		return err
	}
	if err := w.catalog.CompleteStage(ctx, u.RecordingID, recording.StageStore, recording.StageResult{Next: recording.StageVerify}); err != nil {
		return err
	}
	if err := w.store.DiscardParts(ctx, u); err != nil {
		return err
	}
	if err := w.catalog.CompleteStage(ctx, u.RecordingID, recording.StageVerify, recording.StageResult{Next: recording.StageTranscode}); err != nil {
		return err
	}
	var res recording.StageResult
	for _, kind := range []recording.ArtifactKind{recording.ArtifactAAC, recording.ArtifactOpus} {
		key := "recordings/" + u.RecordingID.String() + "/" + string(kind) + "-" + uuid.NewString()
		if _, err := w.store.Put(ctx, key, strings.NewReader(content)); err != nil {
			return err
		}
		sum := sha256.Sum256([]byte(content))
		res.Artifacts = append(res.Artifacts, recording.Artifact{Kind: kind, ObjectKey: key, SizeBytes: int64(len(content)), SHA256: sum[:]})
	}
	return w.catalog.CompleteStage(ctx, u.RecordingID, recording.StageTranscode, res)
}

// artifact returns the key of an artifact.
func (w *world) artifact(u recording.Upload) string {
	w.t.Helper()
	work, err := w.catalog.Work(w.t.Context(), u.RecordingID)
	must(w.t, err)
	return work.Recording.Artifacts[0].ObjectKey
}

func (w *world) put(key, content string) {
	w.t.Helper()
	_, err := w.store.Put(w.t.Context(), key, strings.NewReader(content))
	must(w.t, err)
}

func (w *world) delete(key string) {
	w.t.Helper()
	must(w.t, w.store.Delete(w.t.Context(), key))
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	_, err := w.pool.Exec(w.t.Context(), sql, args...)
	must(w.t, err)
}

// age makes everything in the store two days old.
func (w *world) age() {
	w.t.Helper()
	old := time.Now().Add(-48 * time.Hour)
	must(w.t, filepath.WalkDir(w.root, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chtimes(path, old, old))
	}))
}

// list is a report that keeps what it is told.
type list struct {
	problems []fsck.Problem
	summary  fsck.Summary
}

func (l *list) Problem(p fsck.Problem) error { l.problems = append(l.problems, p); return nil }
func (l *list) Done(s fsck.Summary) error    { l.summary = s; return nil }

// fsck runs it, with the options that change sets.
func (w *world) fsck(change func(*fsck.Options)) ([]fsck.Problem, error) {
	w.t.Helper()
	var l list
	o := fsck.Options{Ledger: w.catalog, Storage: w.store, Report: &l, OlderThan: 24 * time.Hour, Pause: time.Millisecond}
	if change != nil {
		change(&o)
	}
	_, err := fsck.Run(w.t.Context(), o)
	return l.problems, err
}
