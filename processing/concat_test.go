package processing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

// partial makes a partial upload of data in two parts, which is received.
func (w *world) partial(data []byte) uuid.UUID {
	w.t.Helper()
	ctx := w.t.Context()
	id, length := recording.NewID(), int64(len(data))
	if _, _, err := w.catalog.CreateUpload(ctx, recording.NewUpload{
		UploadID: id, OwnerID: w.owner, Length: &length, Partial: true,
		ObjectKey: "uploads/" + id.String() + "/partial", Metadata: map[string]string{}, ExpiresAt: time.Now().Add(time.Hour),
	}); err != nil {
		w.t.Fatal(err)
	}
	var offset int64
	h := sha256.New()
	for _, piece := range [][]byte{data[:len(data)/2], data[len(data)/2:]} {
		if len(piece) == 0 {
			continue
		}
		u, ok, err := w.catalog.AcquireUpload(ctx, id, recording.Claim{Write: true, Offset: offset})
		if err != nil || !ok {
			w.t.Fatal(ok, err)
		}
		u.WriterOpen = true // so that each piece is a part of its own
		h.Write(piece)
		state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			w.t.Fatal(err)
		}
		to := offset + int64(len(piece))
		if err := w.catalog.CommitChunk(ctx, recording.Chunk{
			UploadID: id, Epoch: u.Epoch, From: offset, To: to, HashState: state, Parts: w.write(u, piece),
			CloseWrite: true, ExpiresAt: time.Now().Add(time.Hour),
		}); err != nil {
			w.t.Fatal(err)
		}
		offset = to
	}
	return id
}

// write makes parts of bytes.
func (w *world) write(u recording.Upload, p []byte) []recording.Part {
	w.t.Helper()
	writer, err := w.store.NewWriter(w.t.Context(), u)
	if err != nil {
		w.t.Fatal(err)
	}
	defer writer.Close()
	if _, err := writer.Write(p); err != nil {
		w.t.Fatal(err)
	}
	flushed, err := writer.Flush(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return flushed.Parts
}

// join makes a final upload and returns its recording's id.
func (w *world) join(metadata map[string]string, ids ...uuid.UUID) uuid.UUID {
	w.t.Helper()
	id := recording.NewID()
	n := recording.NewUpload{
		UploadID: recording.NewID(), RecordingID: id, OwnerID: w.owner, PartialIDs: ids, Metadata: metadata,
		ObjectKey: "recordings/" + id.String() + "/original", ExpiresAt: time.Now().Add(time.Hour),
	}
	_, created, err := w.catalog.JoinUploads(w.t.Context(), n, func(partials []recording.Upload) (recording.Receipt, error) {
		r := recording.Receipt{
			Job:   recording.StageJob{RecordingID: id, Stage: recording.StageStore},
			Event: recording.NewEvent(w.owner, id, recording.EventUploadReceived, time.Now(), nil),
		}
		for _, p := range partials {
			if p.State != recording.UploadReceived {
				w.t.Fatalf("a partial upload is %s", p.State)
			}
			r.SizeBytes += p.Offset
		}
		return r, nil
	})
	if err != nil || !created {
		w.t.Fatal(created, err)
	}
	return id
}

// cut makes three partial uploads of data, and an empty one between them.
func (w *world) cut(data []byte) []uuid.UUID {
	w.t.Helper()
	a, b := len(data)/3, len(data)/2
	return []uuid.UUID{w.partial(data[:a]), w.partial(data[a:b]), w.partial(nil), w.partial(data[b:])}
}

func (w *world) count(sql string, args ...any) int {
	w.t.Helper()
	var n int
	if err := w.pool.QueryRow(w.t.Context(), sql, args...).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// content returns the bytes of an object.
func (w *world) content(key string) []byte {
	w.t.Helper()
	o, err := w.store.Open(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	defer o.Close()
	data, err := io.ReadAll(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

// waitEmpty waits until nothing is in storage.
func (w *world) waitEmpty() {
	w.t.Helper()
	for start := time.Now(); len(w.stored()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 30*time.Second {
			w.t.Fatalf("left: %v", w.stored())
		}
	}
}

func TestJoinedSpeechBecomesPlayable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	data := spoken(t, "m4a")
	sum := sha256.Sum256(data)
	id := w.join(map[string]string{"sha256": hex.EncodeToString(sum[:])}, w.cut(data)...)
	w.start(nil)
	r := w.wait(id, recording.StateReady, recording.StateRejected, recording.StateFailed)
	if r.State != recording.StateReady || *r.SizeBytes != int64(len(data)) || !bytes.Equal(r.SHA256, sum[:]) {
		t.Fatalf("%s at stage %q: %s %s, %d bytes, digest %x", r.State, r.Stage, r.Reason, r.Detail, *r.SizeBytes, r.SHA256)
	}
	if !bytes.Equal(w.content(r.ObjectKey), data) {
		t.Error("the object is not the file")
	}
	if s := w.stored(); len(s[recording.StoredObject]) != 5 || len(s[recording.StoredParts]) != 0 || len(s[recording.StoredTemp]) != 0 {
		t.Errorf("left in storage: %v", s)
	}
	if n := w.count(`SELECT count(*) FROM uploads WHERE state = 'joined'`); n != 4 {
		t.Errorf("%d partial uploads are joined", n)
	}
	if n := w.count(`SELECT count(*) FROM upload_parts`); n != 0 {
		t.Errorf("%d parts are left in the ledger", n)
	}
	w.checkEvents(recording.EventUploadCreated, recording.EventUploadReceived, recording.EventStageCompleted, recording.EventStageCompleted,
		recording.EventStageCompleted, recording.EventStageCompleted, recording.EventRecordingReady)
}

// countdown is a storage that is away from a number of calls on: every call fails,
// and so does each read of what was opened.
type countdown struct {
	Objects
	mu   sync.Mutex
	left int
}

var errAway = errors.New("the storage is away")

func (c *countdown) tick() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left < 0 {
		return errAway
	}
	return nil
}

func (c *countdown) Assemble(ctx context.Context, u recording.Upload) error {
	if err := c.tick(); err != nil {
		return err
	}
	return c.Objects.Assemble(ctx, u)
}

func (c *countdown) Open(ctx context.Context, key string) (recording.Object, error) {
	if err := c.tick(); err != nil {
		return nil, err
	}
	o, err := c.Objects.Open(ctx, key)
	return &countedObject{o, c}, err
}

func (c *countdown) Put(ctx context.Context, key string, r io.Reader) (recording.ObjectInfo, error) {
	if err := c.tick(); err != nil {
		return recording.ObjectInfo{}, err
	}
	info, err := c.Objects.Put(ctx, key, r)
	if err == nil {
		err = c.tick() // stored, and not known to be
	}
	return info, err
}

func (c *countdown) Delete(ctx context.Context, key string) error {
	if err := c.tick(); err != nil {
		return err
	}
	return c.Objects.Delete(ctx, key)
}

func (c *countdown) DiscardParts(ctx context.Context, u recording.Upload) error {
	if err := c.tick(); err != nil {
		return err
	}
	return c.Objects.DiscardParts(ctx, u)
}

type countedObject struct {
	recording.Object
	c *countdown
}

func (o *countedObject) Read(p []byte) (int, error) {
	if err := o.c.tick(); err != nil {
		return 0, err
	}
	return o.Object.Read(p[:min(len(p), 2000)])
}

// TestJoinRunsAgain: the stages that move bytes break off at every call of the
// storage, one call later each time, and run again until they are done. In the
// end they run once more, as a stale worker would.
func TestJoinRunsAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	data := bytes.Repeat([]byte("all that was received "), 500)
	sum := sha256.Sum256(data)
	id := w.join(map[string]string{}, w.cut(data)...)
	stale, err := w.catalog.Work(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	run := func(st func(Objects) stage, next recording.Stage) {
		t.Helper()
		for calls := 0; ; calls++ {
			work, err := w.catalog.Work(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			res, err := st(&countdown{Objects: w.store, left: calls}).run(ctx, work, t.TempDir())
			if errors.Is(err, errAway) {
				continue
			}
			if err != nil {
				t.Fatalf("after %d calls: %v", calls, err)
			}
			t.Logf("%s makes %d calls", work.Recording.Stage, calls)
			res.Next = next
			if err := w.catalog.CompleteStage(ctx, id, work.Recording.Stage, res); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	run(func(o Objects) stage { return &storeStage{o} }, recording.StageVerify)
	run(func(o Objects) stage { return &verifyStage{o} }, recording.StageProbe)

	if _, err := (&storeStage{w.store}).run(ctx, stale, t.TempDir()); err == nil {
		t.Error("a stale run found what is purged")
	}
	r, err := w.catalog.Recording(ctx, w.owner, id)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.SHA256, sum[:]) || !bytes.Equal(w.content(r.ObjectKey), data) {
		t.Errorf("digest %x, %d bytes", r.SHA256, len(w.content(r.ObjectKey)))
	}
	if s := w.stored(); len(s) != 1 || len(s[recording.StoredObject]) != 1 {
		t.Errorf("left in storage: %v", s)
	}
}

// TestDamagedPartial: what a partial upload's object holds is not what was
// received. The recording fails, and the bytes stay for whoever looks into it.
func TestDamagedPartial(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(w *world, key string, data []byte) error{
		"another byte": func(w *world, key string, data []byte) error {
			data[0]++
			_, err := w.store.Put(w.t.Context(), key, bytes.NewReader(data))
			return err
		},
		"its parts are gone": func(w *world, key string, _ []byte) error {
			id := uuid.MustParse(filepath.Base(filepath.Dir(key)))
			return w.store.DiscardParts(w.t.Context(), recording.Upload{ID: id})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			first, second := []byte("the first half, "), []byte("the second half")
			a, b := w.partial(first), w.partial(second)
			id := w.join(map[string]string{}, a, b)
			if err := damage(w, "uploads/"+b.String()+"/partial", bytes.Clone(second)); err != nil {
				t.Fatal(err)
			}
			w.start(nil)
			r := w.wait(id, recording.StateReady, recording.StateRejected, recording.StateFailed)
			if r.State != recording.StateFailed || r.Reason != recording.ReasonStorage || r.Stage != recording.StageStore {
				t.Errorf("%s at %s: %s", r.State, r.Stage, r.Reason)
			}
			if got := w.content("uploads/" + a.String() + "/partial"); !bytes.Equal(got, first) {
				t.Errorf("the other partial upload holds %q", got)
			}
			if err := w.catalog.DeleteRecording(t.Context(), w.owner, id); err != nil {
				t.Fatal(err)
			}
			w.waitEmpty()
		})
	}
}

// TestPartialsLeaveNothing: partial uploads end in every way there is, and nothing
// of them stays in storage but what a recording needs.
func TestPartialsLeaveNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	expired, given, half := w.partial([]byte("never joined")), w.partial([]byte("given up")), w.partial([]byte("half"))
	if _, err := w.pool.Exec(ctx, `UPDATE uploads SET expires_at = now() - interval '1 second' WHERE id = $1 OR id = $2`, expired, half); err != nil {
		t.Fatal(err)
	}
	if _, err := w.pool.Exec(ctx, `UPDATE uploads SET state = 'receiving', length = 5 WHERE id = $1`, half); err != nil {
		t.Fatal(err)
	}
	if err := w.catalog.TerminateUpload(ctx, w.owner, given); err != nil {
		t.Fatal(err)
	}
	deleted := w.join(map[string]string{}, w.partial([]byte("deleted before")), w.partial([]byte("it was stored")))
	if err := w.catalog.DeleteRecording(ctx, w.owner, deleted); err != nil {
		t.Fatal(err)
	}
	rejected := w.join(map[string]string{"sha256": strings.Repeat("0", 64)}, w.partial([]byte("of another")), w.partial([]byte("digest")))

	w.start(func(o *Options) { o.JanitorInterval = 100 * time.Millisecond })
	r := w.wait(rejected, recording.StateReady, recording.StateRejected, recording.StateFailed)
	if r.State != recording.StateRejected || r.Reason != recording.ReasonChecksumMismatch {
		t.Errorf("%s: %s", r.State, r.Reason)
	}
	if err := w.catalog.DeleteRecording(ctx, w.owner, rejected); err != nil {
		t.Fatal(err)
	}
	w.waitEmpty()
	for start := time.Now(); w.count(`SELECT count(*) FROM upload_parts`) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 30*time.Second {
			t.Fatal("parts are left in the ledger")
		}
	}
	if n := w.count(`SELECT count(*) FROM uploads WHERE partial AND state IN ('receiving', 'received', 'joined')`); n != 0 {
		t.Errorf("%d partial uploads live", n)
	}
}

// TestJanitorKeepsPartials: the objects of partial uploads are not orphans until
// the recording has come to its end, however old they are.
func TestJanitorKeepsPartials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	data := []byte("kept until it is joined")
	id := w.join(map[string]string{}, w.cut(data)...)
	waiting := w.partial([]byte("not joined yet"))
	work, err := w.catalog.Work(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range work.Upload.Partials { // and there the worker is killed
		if err := w.store.Assemble(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	w.age()
	j := NewJanitor(w.catalog, w.store, time.Now, slog.New(slog.DiscardHandler))
	if _, err := j.RunOnce(ctx); err != nil {
		t.Fatal(err)
	}
	res, err := (&storeStage{w.store}).run(ctx, work, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	res.Next = recording.StageVerify
	if err := w.catalog.CompleteStage(ctx, id, recording.StageStore, res); err != nil {
		t.Fatal(err)
	}
	w.age()
	if res, err := j.RunOnce(ctx); err != nil || res.Objects+res.Parts != 0 {
		t.Fatal(res, err)
	}
	if err := w.catalog.CompleteStage(ctx, id, recording.StageVerify, recording.StageResult{}); err != nil {
		t.Fatal(err)
	}
	if _, err := j.RunOnce(ctx); err != nil {
		t.Fatal(err)
	}
	got := w.stored()
	if len(got[recording.StoredObject]) != 1 || len(got[recording.StoredParts]) != 1 || got[recording.StoredParts][0] != waiting.String() {
		t.Errorf("stored: %v", got)
	}
	if !bytes.Equal(w.content(work.Upload.ObjectKey), data) {
		t.Error("the object is not the file")
	}
}
