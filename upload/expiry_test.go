package upload_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"reprise/catalog"
	"reprise/internal/pgtest"
	"reprise/recording"
	"reprise/storage/disk"
	"reprise/upload"
)

// clockedRig is a rig whose server and ledger have a clock that can be moved.
func clockedRig(t *testing.T) (*rig, *atomic.Int64) {
	t.Helper()
	var ahead atomic.Int64 // seconds
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load()) * time.Second) }
	pool := pgtest.New(t)
	store, err := disk.New(t.TempDir())
	must(t, err)
	c, err := catalog.New(catalog.Options{Pool: pool, Now: now})
	must(t, err)
	return newRigOn(t, pool, store, store, func(o *upload.Options) { o.Ledger, o.Now = c, now }), &ahead
}

// expires reads Upload-Expires.
func expires(t *testing.T, a answer) time.Time {
	t.Helper()
	at, err := time.Parse(http.TimeFormat, a.header.Get("Upload-Expires"))
	if err != nil {
		t.Errorf("%d with Upload-Expires %q", a.status, a.header.Get("Upload-Expires"))
	}
	return at
}

// TestExpires: every answer about an unfinished upload says when it ends, each
// commit puts that off, and a complete one has no end.
func TestExpires(t *testing.T) {
	t.Parallel()
	r, ahead := clockedRig(t)
	data := audio(3000)
	meta := append(clientID("x"), "Upload-Length", "3000")
	created := r.do(http.MethodPost, r.url+"/files/", nil, meta...)
	url, first := created.header.Get("Location"), expires(t, created)
	if d := time.Until(first); d > time.Hour || d < 50*time.Minute {
		t.Errorf("it expires in %v", d)
	}
	ahead.Store(1800)
	if at := expires(t, r.do(http.MethodHead, url, nil)); !at.Equal(first) {
		t.Errorf("HEAD says %v, want %v", at, first)
	}
	later := expires(t, r.patch(url, 0, data[:1000]))
	if !later.After(first.Add(20 * time.Minute)) {
		t.Errorf("after a PATCH it expires at %v, before it was %v", later, first)
	}
	if at := expires(t, r.patch(url, 5, data[5:])); !at.Equal(later) {
		t.Errorf("a PATCH at a wrong offset says %v, want %v", at, later)
	}
	if at := expires(t, r.do(http.MethodPost, r.url+"/files/", nil, meta...)); !at.Equal(later) {
		t.Errorf("a repeated creation says %v, want %v", at, later)
	}
	if a := r.patch(url, 1000, data[1000:]); a.status != http.StatusNoContent || a.header.Get("Upload-Expires") != "" {
		t.Errorf("last PATCH: %d, Upload-Expires %q", a.status, a.header.Get("Upload-Expires"))
	}
	ahead.Store(1e6)
	if a := r.do(http.MethodHead, url, nil); a.status != http.StatusOK || a.header.Get("Upload-Expires") != "" {
		t.Errorf("HEAD of a complete one: %d, Upload-Expires %q", a.status, a.header.Get("Upload-Expires"))
	}
	r.wantReceived(url, data)
}

// TestExpired: from that moment on every verb says 410, before and after the
// janitor came, and nothing revives the upload.
func TestExpired(t *testing.T) {
	t.Parallel()
	r, ahead := clockedRig(t)
	data := audio(3000)
	meta := append(clientID("x"), "Upload-Length", "3000")
	url := r.create(len(data), meta...)
	r.patch(url, 0, data[:1000])
	running := r.row(url)
	ahead.Store(3601)
	wantGone := func() {
		t.Helper()
		if a := r.do(http.MethodHead, url, nil); a.status != http.StatusGone {
			t.Errorf("HEAD: %d", a.status)
		}
		if a := r.patch(url, 1000, data[1000:]); a.status != http.StatusGone || a.code != "upload_gone" {
			t.Errorf("PATCH: %d %s", a.status, a.body)
		}
		if a := r.do(http.MethodDelete, url, nil); a.status != http.StatusGone {
			t.Errorf("DELETE: %d", a.status)
		}
	}
	wantGone()
	c, err := catalog.New(catalog.Options{Pool: r.pool, Now: func() time.Time { return time.Now().Add(3601 * time.Second) }})
	must(t, err)
	for _, claim := range []recording.Claim{{}, {Write: true, Offset: 1000}} {
		if _, acquired, err := c.AcquireUpload(t.Context(), running.ID, claim); acquired || err != nil {
			t.Errorf("acquired %v, %v", acquired, err)
		}
	}
	// A request that began before commits after it.
	err = c.CommitChunk(t.Context(), recording.Chunk{UploadID: running.ID, Epoch: running.Epoch, From: 1000, To: 1000, HashState: running.HashState,
		ExpiresAt: time.Now().Add(5 * time.Hour)})
	if recording.CodeOf(err) != recording.CodeTakenOver {
		t.Errorf("the commit gave %v", err)
	}
	wantGone()

	again := r.create(len(data), meta...)
	if again == url {
		t.Fatal("a creation with its clientId gave the expired upload")
	}
	if u := r.row(url); u.State != recording.UploadExpired {
		t.Errorf("the expired upload is %s", u.State)
	}
	if a := r.patch(again, 0, data); a.status != http.StatusNoContent {
		t.Errorf("PATCH of the new one: %d %s", a.status, a.body)
	}
	wantGone()
	if _, err := c.ExpireUploads(t.Context(), time.Now().Add(3601*time.Second)); err != nil {
		t.Error(err)
	}
	wantGone()
	var recordings int
	must(t, r.pool.QueryRow(t.Context(), `SELECT count(*) FROM recordings WHERE state <> 'deleted'`).Scan(&recordings))
	if recordings != 1 {
		t.Errorf("%d recordings live, want the new one", recordings)
	}
}
