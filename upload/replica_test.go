package upload_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"reprise/internal/pgtest"
	"reprise/recording"
	"reprise/storage/disk"
	"reprise/upload"
)

// counted counts what replicas say to each other.
type counted struct {
	upload.Ledger
	asked atomic.Int64
	heard chan recording.StopWriters
}

func (c *counted) AskWriters(ctx context.Context, id uuid.UUID, epoch int64) error {
	c.asked.Add(1)
	return c.Ledger.AskWriters(ctx, id, epoch)
}

func (c *counted) ListenWriters(ctx context.Context, handle func(recording.StopWriters)) error {
	return c.Ledger.ListenWriters(ctx, func(m recording.StopWriters) {
		handle(m)
		c.heard <- m
	})
}

// replicas are two servers on one database and one folder; deaf ones don't listen
// to each other.
func replicas(t *testing.T, deaf bool) (a, b *rig, ledger *counted) {
	t.Helper()
	pool, dir := pgtest.New(t), t.TempDir()
	ledger = &counted{heard: make(chan recording.StopWriters, 1000)}
	one := func() *rig {
		store, err := disk.New(dir)
		must(t, err)
		t.Cleanup(func() { store.Close() })
		r := newRigOn(t, pool, store, store, func(o *upload.Options) {
			if ledger.Ledger == nil {
				ledger.Ledger = o.Ledger
			}
			o.Ledger = ledger
		})
		if deaf {
			return r
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- r.server.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
		return r
	}
	a, b = one(), one()
	if !deaf {
		waitFor(t, func() bool { // until both listen
			must(t, ledger.Ledger.AskWriters(t.Context(), uuid.New(), 1))
			time.Sleep(10 * time.Millisecond)
			return len(ledger.heard) >= 4
		})
	}
	return a, b, ledger
}

// on gives the address of an upload at another replica.
func (r *rig) on(url string) string { return r.url + url[strings.Index(url, "/files/"):] }

// hang sends part of an upload's body and leaves the request open; it returns when
// the server has read it.
func (r *rig) hang(url string, offset string, p []byte) (phone *io.PipeWriter, hung chan answer) {
	r.t.Helper()
	before := r.received()
	body, phone := io.Pipe()
	hung = make(chan answer, 1)
	go func() { hung <- r.do(http.MethodPatch, url, body, "Upload-Offset", offset) }()
	r.t.Cleanup(func() { phone.Close() })
	_, err := phone.Write(p)
	must(r.t, err)
	waitFor(r.t, func() bool { return r.received() >= before+len(p) })
	return phone, hung
}

func wantTakenOver(t *testing.T, hung chan answer) {
	t.Helper()
	select {
	case a := <-hung:
		if a.status != http.StatusConflict || a.code != "upload_taken_over" {
			t.Errorf("the hung request got %d %s", a.status, a.body)
		}
	case <-time.After(20 * time.Second): // a read times out after 60 s
		t.Error("the hung request still hangs")
	}
}

// TestHeadOnAnotherReplica: what the hung request has brought is committed before
// HEAD answers, so that nothing is sent twice.
func TestHeadOnAnotherReplica(t *testing.T) {
	t.Parallel()
	a, b, ledger := replicas(t, false)
	data := audio(100_000)
	url := a.create(len(data))
	_, hung := a.hang(url, "0", data[:40_000])
	if got := b.offset(b.on(url)); got != 40_000 {
		t.Fatalf("offset %d, want the 40000 that have come", got)
	}
	wantTakenOver(t, hung)
	if got := b.offset(b.on(url)); got != 40_000 || ledger.asked.Load() != 1 {
		t.Errorf("a second HEAD says %d; replicas were asked %d times, want once", got, ledger.asked.Load())
	}
	if a := b.patch(b.on(url), 40_000, data[40_000:]); a.status != http.StatusNoContent {
		t.Fatalf("patch: %d %s", a.status, a.body)
	}
	b.wantReceived(url, data)
}

// TestPatchOnAnotherReplica: a PATCH at the committed offset takes over at once,
// and the hung request ends at once too.
func TestPatchOnAnotherReplica(t *testing.T) {
	t.Parallel()
	a, b, ledger := replicas(t, false)
	data := audio(100_000)
	url := a.create(len(data))
	if a := a.patch(url, 0, data[:10_000]); a.status != http.StatusNoContent {
		t.Fatalf("patch: %d %s", a.status, a.body)
	}
	_, hung := a.hang(url, "10000", bytes.Repeat([]byte("old"), 10_000))
	if a := b.patch(b.on(url), 10_000, data[10_000:]); a.status != http.StatusNoContent {
		t.Fatalf("patch: %d %s", a.status, a.body)
	}
	wantTakenOver(t, hung)
	if ledger.asked.Load() != 0 {
		t.Errorf("PATCHes asked %d times", ledger.asked.Load())
	}
	b.wantReceived(url, data)
}

// TestDeleteOnAnotherReplica: the hung request learns it, and leaves nothing.
func TestDeleteOnAnotherReplica(t *testing.T) {
	t.Parallel()
	a, b, _ := replicas(t, false)
	url := a.create(100_000)
	_, hung := a.hang(url, "0", audio(40_000))
	if a := b.do(http.MethodDelete, b.on(url), nil); a.status != http.StatusNoContent {
		t.Fatalf("delete: %d %s", a.status, a.body)
	}
	wantTakenOver(t, hung)
}

// TestDeafReplica: one that hears nothing costs others a bounded wait, once, and
// harms nothing when it goes on.
func TestDeafReplica(t *testing.T) {
	t.Parallel()
	a, b, ledger := replicas(t, true)
	data := audio(100_000)
	url := a.create(len(data))
	phone, hung := a.hang(url, "0", bytes.Repeat(data[:1000], 40))
	for range 3 {
		if got := b.offset(b.on(url)); got != 0 && got != 40_000 { // it may have been committed for being idle
			t.Fatalf("offset %d", got)
		}
	}
	if ledger.asked.Load() != 1 {
		t.Errorf("asked %d times, want once", ledger.asked.Load())
	}
	at := b.offset(b.on(url))
	want := append(bytes.Repeat(data[:1000], 40)[:at:at], data[at:]...)
	if a := b.patch(b.on(url), at, data[at:]); a.status != http.StatusNoContent {
		t.Fatalf("patch: %d %s", a.status, a.body)
	}
	_, _ = phone.Write(bytes.Repeat([]byte("late"), 100))
	phone.Close()
	wantTakenOver(t, hung)
	b.wantReceived(url, want)
}

// TestQuickHead: no HEAD asks other replicas about an upload that nobody writes
// to, however its last request ended.
func TestQuickHead(t *testing.T) {
	t.Parallel()
	a, b, ledger := replicas(t, false)
	data := audio(10_000)
	ends := map[string]func(url string) answer{
		"new":            func(string) answer { return answer{} },
		"clean":          func(url string) answer { return a.patch(url, 0, data[:1000]) },
		"damaged":        func(url string) answer { return a.patch(url, 0, data[:1000], "Upload-Checksum", sha1Of(data)) },
		"too long":       func(url string) answer { return a.patch(url, 0, audio(10_001)) },
		"declared badly": func(url string) answer { return a.patch(url, 0, data[:1000], "Upload-Length", "5") },
	}
	for name, end := range ends {
		url := a.create(len(data))
		end(url)
		u := a.row(url)
		if u.Writing() || u.WriterOpen != (name == "damaged") || u.PartNumber > 0 != (name == "damaged") {
			t.Errorf("%s: writing %v, open %v, part number %d", name, u.Writing(), u.WriterOpen, u.PartNumber)
		}
		at := b.offset(b.on(url))
		if a := b.patch(b.on(url), at, data[at:]); a.status != http.StatusNoContent {
			t.Errorf("%s: patch: %d %s", name, a.status, a.body)
		}
		b.wantReceived(url, data)
	}
	if ledger.asked.Load() != 0 {
		t.Errorf("asked %d times", ledger.asked.Load())
	}
}
