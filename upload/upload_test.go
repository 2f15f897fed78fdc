package upload_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
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
	"reprise/recording"
	"reprise/storage"
	"reprise/storage/disk"
	"reprise/upload"
)

const maxSize = 1 << 20

// rig is a server on a real database and a real disk, with two users.
type rig struct {
	t       *testing.T
	pool    *pgxpool.Pool
	catalog *catalog.Catalog
	store   storage.Store
	server  *upload.Server
	handler http.Handler // server, behind the authentication
	url     string
	alice   uuid.UUID
	bob     uuid.UUID
	metrics *prometheus.Registry
}

type noTicks struct{}

func (noTicks) Publish(context.Context, recording.Event) {}

func newRig(t *testing.T, change ...func(*upload.Options)) *rig {
	t.Helper()
	pool := pgtest.New(t)
	store, err := disk.New(t.TempDir())
	must(t, err)
	return newRigOn(t, pool, store, store, change...)
}

// newRigOn makes a rig whose uploads go to writers and whose objects lie in store.
// Change, if given, has the last word on the server's options.
func newRigOn(t *testing.T, pool *pgxpool.Pool, store storage.Store, writers upload.Storage, change ...func(*upload.Options)) *rig {
	t.Helper()
	c, err := catalog.New(catalog.Options{Pool: pool})
	must(t, err)
	log := slog.New(slog.DiscardHandler)
	metrics := prometheus.NewRegistry()
	o := upload.Options{
		Ledger: c, Storage: writers, Hooks: hooks.New(maxSize), Ticks: noTicks{},
		WriteProblem: api.NewProblems(log).Write,
		BasePath:     "/files/", MaxSizeBytes: maxSize, Expiry: time.Hour,
		Log: log, Metrics: metrics,
	}
	for _, f := range change {
		f(&o)
	}
	s, err := upload.New(o)
	must(t, err)
	r := &rig{t: t, pool: pool, catalog: c, store: store, server: s, metrics: metrics}
	r.alice, err = c.EnsureUser(t.Context(), "dev:alice")
	must(t, err)
	r.bob, err = c.EnsureUser(t.Context(), "dev:bob")
	must(t, err)
	users := map[string]uuid.UUID{"alice": r.alice, "bob": r.bob}
	tickets := auth.New(auth.Options{WriteProblem: o.WriteProblem, TicketPath: "/files/"}) // no test sends a token
	r.handler = tickets.Middleware(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if id, ok := users[req.Header.Get("Test-User")]; ok {
			req = req.WithContext(auth.NewContext(req.Context(), auth.Principal{UserID: id}))
		}
		s.ServeHTTP(w, req)
	}))
	srv := httptest.NewServer(r.handler)
	t.Cleanup(srv.Close)
	r.url = srv.URL
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answer is a response whose body has been read.
type answer struct {
	status int
	header http.Header
	code   string // of a problem
	body   []byte
}

// do sends a request as alice; header is pairs of name and value, and an empty
// value removes a default.
func (r *rig) do(method, url string, body io.Reader, header ...string) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, url, body)
	must(r.t, err)
	req.Header.Set("Test-User", "alice")
	req.Header.Set("Tus-Resumable", "1.0.0")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/offset+octet-stream")
	}
	for i := 0; i < len(header); i += 2 {
		if req.Header.Del(header[i]); header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	must(r.t, err)
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	a.body, err = io.ReadAll(resp.Body)
	must(r.t, err)
	var problem struct{ Code string }
	if resp.Header.Get("Content-Type") == "application/problem+json" && method != http.MethodHead {
		must(r.t, json.Unmarshal(a.body, &problem))
		a.code = problem.Code
	}
	return a
}

// create makes an upload of size bytes and returns its URL.
func (r *rig) create(size int, header ...string) string {
	r.t.Helper()
	a := r.do(http.MethodPost, r.url+"/files/", nil, append([]string{"Upload-Length", strconv.Itoa(size)}, header...)...)
	if a.status != http.StatusCreated {
		r.t.Fatalf("create: %d %s", a.status, a.body)
	}
	if _, err := uuid.Parse(a.header.Get("Reprise-Recording")); err != nil {
		r.t.Fatalf("Reprise-Recording is %q", a.header.Get("Reprise-Recording"))
	}
	return a.header.Get("Location")
}

func (r *rig) patch(url string, offset int, p []byte, header ...string) answer {
	r.t.Helper()
	return r.do(http.MethodPatch, url, bytes.NewReader(p), append([]string{"Upload-Offset", strconv.Itoa(offset)}, header...)...)
}

// offset is what HEAD says, -1 if it does not say.
func (r *rig) offset(url string) int {
	r.t.Helper()
	a := r.do(http.MethodHead, url, nil)
	n, err := strconv.Atoi(a.header.Get("Upload-Offset"))
	if a.status != http.StatusOK || err != nil {
		return -1
	}
	return n
}

// audio returns n bytes that pass for audio.
func audio(n int) []byte {
	p := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
	_, _ = r.Read(p)
	copy(p, "fLaC")
	return p
}

// wantReceived checks that an upload was received once: its digest, one
// recording, one job, one event, and that its parts make the object.
func (r *rig) wantReceived(url string, want []byte) {
	r.t.Helper()
	ctx := r.t.Context()
	id := uuid.MustParse(url[strings.LastIndex(url, "/")+1:])
	u, err := r.catalog.FindUpload(ctx, r.alice, id)
	must(r.t, err)
	if !u.Complete() || u.Offset != int64(len(want)) {
		r.t.Fatalf("upload is %s at %d, want received at %d", u.State, u.Offset, len(want))
	}
	rec, err := r.catalog.Recording(ctx, r.alice, u.RecordingID)
	must(r.t, err)
	if sum := sha256.Sum256(want); !bytes.Equal(rec.SHA256, sum[:]) {
		r.t.Errorf("digest is %x, want %x", rec.SHA256, sum)
	}
	var jobs, events int
	must(r.t, r.pool.QueryRow(ctx, `SELECT count(*) FROM river_job WHERE kind = 'stage' AND args->>'recordingId' = $1`, rec.ID.String()).Scan(&jobs))
	must(r.t, r.pool.QueryRow(ctx, `SELECT count(*) FROM events WHERE recording_id = $1 AND type = 'upload.received'`, rec.ID).Scan(&events))
	if jobs != 1 || events != 1 {
		r.t.Errorf("%d jobs and %d events, want one of each", jobs, events)
	}
	must(r.t, r.store.Assemble(ctx, u))
	o, err := r.store.Open(ctx, u.ObjectKey)
	must(r.t, err)
	defer o.Close()
	got, err := io.ReadAll(o)
	must(r.t, err)
	if !bytes.Equal(got, want) {
		r.t.Errorf("object has %d bytes that differ from the %d sent", len(got), len(want))
	}
}

func TestWholeFile(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := audio(300_000)
	url := r.create(len(data))
	if a := r.patch(url, 0, data); a.status != http.StatusNoContent || a.header.Get("Upload-Offset") != "300000" {
		t.Fatalf("patch: %d at %s %s", a.status, a.header.Get("Upload-Offset"), a.body)
	}
	if got := r.offset(url); got != len(data) {
		t.Errorf("offset %d", got)
	}
	r.wantReceived(url, data)
}

func TestChunks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, sizes := range [][]int{{1, 1, 1, 20}, {15, 1, 1}, {5, 0, 11, 1000, 30_000}, {40_000, 40_000}} {
		total := 0
		for _, n := range sizes {
			total += n
		}
		data := audio(total)
		url := r.create(total)
		at := 0
		for _, n := range sizes {
			if a := r.patch(url, at, data[at:at+n]); a.status != http.StatusNoContent {
				t.Fatalf("patch of %d at %d: %d %s", n, at, a.status, a.body)
			}
			if at += n; r.offset(url) != at {
				t.Fatalf("offset %d, want %d", r.offset(url), at)
			}
		}
		r.wantReceived(url, data)
		u, err := r.catalog.FindUpload(t.Context(), r.alice, uuid.MustParse(url[strings.LastIndex(url, "/")+1:]))
		must(t, err)
		if len(u.Parts) != 1 {
			t.Errorf("chunks %v left %d parts; clean ones continue one", sizes, len(u.Parts))
		}
	}
}

func TestCreationWithUpload(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := audio(5000)
	a := r.do(http.MethodPost, r.url+"/files/", bytes.NewReader(data[:3000]),
		"Upload-Length", "5000", "Content-Type", "application/offset+octet-stream")
	if a.status != http.StatusCreated || a.header.Get("Upload-Offset") != "3000" {
		t.Fatalf("create: %d at %s %s", a.status, a.header.Get("Upload-Offset"), a.body)
	}
	url := a.header.Get("Location")
	if a := r.patch(url, 3000, data[3000:]); a.status != http.StatusNoContent {
		t.Fatalf("patch: %d %s", a.status, a.body)
	}
	r.wantReceived(url, data)
}

func TestEmptyUpload(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.wantReceived(r.create(0), nil)
}

func TestDeferredLength(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := audio(2000)
	create := func() string {
		a := r.do(http.MethodPost, r.url+"/files/", nil, "Upload-Defer-Length", "1")
		if a.status != http.StatusCreated {
			t.Fatalf("create: %d %s", a.status, a.body)
		}
		return a.header.Get("Location")
	}
	t.Run("with the last chunk", func(t *testing.T) {
		url := create()
		r.patch(url, 0, data[:500])
		if a := r.do(http.MethodHead, url, nil); a.header.Get("Upload-Defer-Length") != "1" {
			t.Errorf("HEAD says Upload-Defer-Length %q", a.header.Get("Upload-Defer-Length"))
		}
		if a := r.patch(url, 500, data[500:], "Upload-Length", "2000"); a.status != http.StatusNoContent {
			t.Fatalf("patch: %d %s", a.status, a.body)
		}
		r.wantReceived(url, data)
	})
	t.Run("after the last byte", func(t *testing.T) {
		url := create()
		r.patch(url, 0, data)
		if a := r.patch(url, 2000, nil, "Upload-Length", "2000"); a.status != http.StatusNoContent {
			t.Fatalf("patch: %d %s", a.status, a.body)
		}
		r.wantReceived(url, data)
	})
	t.Run("wrong", func(t *testing.T) {
		url := create()
		r.patch(url, 0, data)
		wrong := func(length string, status int, detail string) {
			t.Helper()
			if a := r.patch(url, 2000, nil, "Upload-Length", length); a.status != status || !strings.Contains(string(a.body), detail) {
				t.Errorf("length %s: %d %s", length, a.status, a.body)
			}
		}
		wrong("1999", 400, "below the 2000 bytes that the upload has")
		wrong("-1", 400, "not a whole number")
		wrong("x", 400, "not a whole number")
		wrong(strconv.Itoa(maxSize+1), 413, fmt.Sprintf("At most %d bytes are accepted.", maxSize))
		r.patch(url, 2000, nil, "Upload-Length", "3000")
		wrong("4000", 400, "declared before: it is 3000 bytes")
	})
	t.Run("beyond the limit", func(t *testing.T) {
		url := create()
		if a := r.patch(url, 0, audio(maxSize+1)); a.status != http.StatusRequestEntityTooLarge || a.code != "too_large" {
			t.Errorf("got %d %s", a.status, a.body)
		}
	})
}

func TestClientID(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := audio(4000)
	meta := []string{"Upload-Metadata", "clientId " + base64.StdEncoding.EncodeToString([]byte("phone-1"))}
	url := r.create(len(data), meta...)
	if again := r.create(len(data), meta...); again != url {
		t.Errorf("a repeated create gave %s, want %s", again, url)
	}
	r.patch(url, 0, data[:1000])

	a := r.do(http.MethodPost, r.url+"/files/", bytes.NewReader(data),
		append(meta, "Upload-Length", "4000", "Content-Type", "application/offset+octet-stream")...)
	if a.status != http.StatusCreated || a.header.Get("Location") != url || a.header.Get("Upload-Offset") != "1000" {
		t.Fatalf("a repeated create with a body: %d %s at %q", a.status, a.header.Get("Location"), a.header.Get("Upload-Offset"))
	}
	if a := r.do(http.MethodPost, r.url+"/files/", nil, append(meta, "Upload-Length", "5000")...); a.status != http.StatusConflict || a.code != "client_id_conflict" {
		t.Errorf("another length: %d %s", a.status, a.body)
	}
	if a := r.do(http.MethodPost, r.url+"/files/", nil, append(meta, "Upload-Length", "4000", "Test-User", "bob")...); a.header.Get("Location") == url {
		t.Error("another owner got the upload")
	}
	r.patch(url, 1000, data[1000:])
	r.wantReceived(url, data)
	if again := r.create(len(data), meta...); again != url {
		t.Errorf("after the end a repeated create gave %s", again)
	}
	if a := r.do(http.MethodDelete, url, nil); a.status != http.StatusNoContent {
		t.Fatalf("delete: %d", a.status)
	}
}

func TestClientIDRace(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	urls := make(chan string)
	const n = 8
	for range n {
		go func() {
			urls <- r.do(http.MethodPost, r.url+"/files/", nil, "Upload-Length", "100",
				"Upload-Metadata", "clientId "+base64.StdEncoding.EncodeToString([]byte("x"))).header.Get("Location")
		}()
	}
	first := <-urls
	for range n - 1 {
		if got := <-urls; got != first || got == "" {
			t.Errorf("got %q and %q", first, got)
		}
	}
	var recordings int
	must(t, r.pool.QueryRow(t.Context(), `SELECT count(*) FROM recordings`).Scan(&recordings))
	if recordings != 1 {
		t.Errorf("%d recordings", recordings)
	}
}

func TestNotAudio(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, first := range map[string][]byte{"at once": []byte("<!DOCTYPE html><html>"), "in small chunks": []byte("<!DOC")} {
		t.Run(name, func(t *testing.T) {
			url := r.create(1000)
			a := r.patch(url, 0, first)
			if a.status == http.StatusNoContent { // too few to tell
				a = r.patch(url, len(first), bytes.Repeat([]byte("x"), 100))
			}
			if a.status != http.StatusUnsupportedMediaType || a.code != "not_audio" {
				t.Fatalf("got %d %s", a.status, a.body)
			}
			if at := a.header.Get("Upload-Expires"); at != "" {
				t.Errorf("what has ended is said to expire %s", at)
			}
			if a := r.do(http.MethodHead, url, nil); a.status != http.StatusGone {
				t.Errorf("HEAD afterwards: %d", a.status)
			}
			if a := r.patch(url, 0, audio(10)); a.status != http.StatusGone || a.code != "upload_gone" {
				t.Errorf("PATCH afterwards: %d %s", a.status, a.body)
			}
		})
	}
	list, err := r.catalog.Recordings(t.Context(), r.alice, recording.Page{Limit: 10})
	must(t, err)
	for _, rec := range list {
		if rec.State != recording.StateRejected || rec.Reason != recording.ReasonNotAudio {
			t.Errorf("recording is %s %s", rec.State, rec.Reason)
		}
	}
}

// TestProtocol goes through the statuses of tus 1.0.
func TestProtocol(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	files := r.url + "/files/"
	half := r.create(100)
	r.patch(half, 0, audio(50))
	full := r.create(50)
	r.patch(full, 0, audio(50))
	gone := r.create(10)
	if a := r.do(http.MethodDelete, gone, nil); a.status != http.StatusNoContent {
		t.Fatalf("terminate: %d %s", a.status, a.body)
	}
	meta := func(s string) []string { return []string{"Upload-Length", "1", "Upload-Metadata", s} }
	tests := []struct {
		name, method, url string
		body              []byte
		header            []string
		status            int
		code              string
	}{
		{"no token", "POST", files, nil, []string{"Test-User", "", "Upload-Length", "1"}, 401, "unauthenticated"},
		{"no version", "POST", files, nil, []string{"Tus-Resumable", "", "Upload-Length", "1"}, 412, "unsupported_version"},
		{"other version", "PATCH", half, nil, []string{"Tus-Resumable", "0.2.2", "Upload-Offset", "50"}, 412, "unsupported_version"},
		{"other version in HEAD", "HEAD", half, nil, []string{"Tus-Resumable", "2.0.0"}, 412, ""},
		{"HEAD without version", "HEAD", half, nil, []string{"Tus-Resumable", ""}, 200, ""},
		{"no length", "POST", files, nil, nil, 400, "invalid_request"},
		{"negative length", "POST", files, nil, []string{"Upload-Length", "-1"}, 400, "invalid_request"},
		{"overflowing length", "POST", files, nil, []string{"Upload-Length", "92233720368547758080"}, 400, "invalid_request"},
		{"both lengths", "POST", files, nil, []string{"Upload-Length", "1", "Upload-Defer-Length", "1"}, 400, "invalid_request"},
		{"wrong defer", "POST", files, nil, []string{"Upload-Defer-Length", "2"}, 400, "invalid_request"},
		{"too large", "POST", files, nil, []string{"Upload-Length", strconv.Itoa(maxSize + 1)}, 413, "too_large"},
		{"bad metadata", "POST", files, nil, meta("filename !!!"), 400, "invalid_metadata"},
		{"key twice", "POST", files, nil, meta("a YQ==,a YQ=="), 400, "invalid_metadata"},
		{"control character", "POST", files, nil, meta("a Cg=="), 400, "invalid_metadata"},
		{"long metadata", "POST", files, nil, meta("a " + strings.Repeat("AAAA", 1025)), 400, "invalid_metadata"},
		{"declared image", "POST", files, nil, meta("filetype aW1hZ2UvcG5n"), 415, "unsupported_type"},
		{"unknown id", "HEAD", files + uuid.NewString(), nil, nil, 404, ""},
		{"unknown id patched", "PATCH", files + uuid.NewString(), nil, []string{"Upload-Offset", "0"}, 404, "not_found"},
		{"no id at all", "HEAD", files + "../../etc/passwd", nil, nil, 404, ""},
		{"id in capitals", "HEAD", strings.ToUpper(half[len(half)-36:]), nil, nil, 404, ""},
		{"somebody else's", "PATCH", half, nil, []string{"Test-User", "bob", "Upload-Offset", "50"}, 404, "not_found"},
		{"somebody else's HEAD", "HEAD", half, nil, []string{"Test-User", "bob"}, 404, ""},
		{"somebody else's DELETE", "DELETE", half, nil, []string{"Test-User", "bob"}, 404, "not_found"},
		{"override", "POST", half, nil, []string{"X-HTTP-Method-Override", "DELETE"}, 405, "method_not_allowed"},
		{"download", "GET", half, nil, nil, 405, "method_not_allowed"},
		{"wrong offset", "PATCH", half, audio(1), []string{"Upload-Offset", "49"}, 409, "offset_mismatch"},
		{"no offset", "PATCH", half, audio(1), nil, 400, "invalid_request"},
		{"negative offset", "PATCH", half, audio(1), []string{"Upload-Offset", "-1"}, 400, "invalid_request"},
		{"wrong content type", "PATCH", half, audio(1), []string{"Upload-Offset", "50", "Content-Type", "audio/flac"}, 415, "invalid_content_type"},
		{"no content type", "PATCH", half, audio(1), []string{"Upload-Offset", "50", "Content-Type", ""}, 415, "invalid_content_type"},
		{"beyond the length", "PATCH", half, audio(51), []string{"Upload-Offset", "50"}, 413, "too_large"},
		{"another length", "PATCH", half, audio(1), []string{"Upload-Offset", "50", "Upload-Length", "101"}, 400, "invalid_request"},
		{"the same length again", "PATCH", half, nil, []string{"Upload-Offset", "50", "Upload-Length", "100"}, 204, ""},
		{"offset is length", "PATCH", full, nil, []string{"Upload-Offset", "50"}, 204, ""},
		{"offset is length, and a byte", "PATCH", full, audio(1), []string{"Upload-Offset", "50"}, 413, "too_large"},
		{"terminated HEAD", "HEAD", gone, nil, nil, 410, ""},
		{"terminated PATCH", "PATCH", gone, nil, []string{"Upload-Offset", "0"}, 410, "upload_gone"},
		{"terminated twice", "DELETE", gone, nil, nil, 410, "upload_gone"},
		{"options", "OPTIONS", files, nil, []string{"Test-User", "", "Tus-Resumable", ""}, 200, ""},
		{"still half", "HEAD", half, nil, nil, 200, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url := tt.url
			if !strings.HasPrefix(url, "http") {
				url = files + url
			}
			a := r.do(tt.method, url, bytes.NewReader(tt.body), tt.header...)
			if a.status != tt.status || a.code != tt.code {
				t.Errorf("got %d %q, want %d %q\n%s", a.status, a.code, tt.status, tt.code, a.body)
			}
			if a.header.Get("Tus-Resumable") != "1.0.0" {
				t.Error("no Tus-Resumable")
			}
			if a.status == http.StatusPreconditionFailed && a.header.Get("Tus-Version") != "1.0.0" {
				t.Error("412 without Tus-Version")
			}
		})
	}
	a := r.do(http.MethodOptions, files, nil)
	for name, want := range map[string]string{
		"Tus-Version": "1.0.0", "Tus-Max-Size": strconv.Itoa(maxSize),
		"Tus-Extension": "creation,creation-with-upload,termination,concatenation,creation-defer-length,checksum,expiration",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("OPTIONS says %s: %q, want %q", name, got, want)
		}
	}
	// A body that doesn't say how long it is.
	for body, status := range map[string]int{"": 204, "x": 413} {
		if a := r.do(http.MethodPatch, full, struct{ io.Reader }{strings.NewReader(body)}, "Upload-Offset", "50"); a.status != status {
			t.Errorf("%q beyond the length: %d %s, want %d", body, a.status, a.body, status)
		}
	}
	if got := r.offset(half); got != 50 {
		t.Errorf("the offset is %d after all that, want 50", got)
	}
	h := r.do(http.MethodHead, full, nil).header
	if h.Get("Cache-Control") != "no-store" || h.Get("Upload-Length") != "50" {
		t.Errorf("HEAD says %v", h)
	}
}

// TestTakeover: a request hangs in the middle of its body; the client comes back
// and goes on at once, with the bytes that the hung one had brought.
func TestTakeover(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := audio(100_000)
	url := r.create(len(data))
	body, phone := io.Pipe()
	hung := make(chan answer)
	go func() {
		hung <- r.do(http.MethodPatch, url, body, "Upload-Offset", "0")
	}()
	_, err := phone.Write(data[:40_000])
	must(t, err)
	waitFor(t, func() bool { return r.received() >= 40_000 })
	if got := r.offset(url); got != 40_000 {
		t.Fatalf("offset %d, want the 40000 that have come", got)
	}
	if a := r.patch(url, 40_000, data[40_000:]); a.status != http.StatusNoContent {
		t.Fatalf("patch: %d %s", a.status, a.body)
	}
	phone.Close()
	if a := <-hung; a.status != http.StatusConflict || a.code != "upload_taken_over" {
		t.Errorf("the hung request got %d %s", a.status, a.body)
	}
	r.wantReceived(url, data)
}

// received is how many bytes the server has read from all uploads.
func (r *rig) received() int {
	families, err := r.metrics.Gather()
	must(r.t, err)
	for _, f := range families {
		if f.GetName() == "reprise_upload_bytes_received_total" {
			return int(f.GetMetric()[0].GetCounter().GetValue())
		}
	}
	return 0
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("it did not happen within 5 seconds")
}

// TestRacingPatches: many requests at one offset; exactly one wins.
func TestRacingPatches(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	rounds := 5
	if os.Getenv("REPRISE_SOAK") != "" {
		rounds = 200
	}
	for round := range rounds {
		data := audio(20_000 + round)
		url := r.create(len(data))
		const n = 50
		answers := make(chan answer)
		for range n {
			go func() { answers <- r.patch(url, 0, data) }()
		}
		won := 0
		for range n {
			switch a := <-answers; a.status {
			case http.StatusNoContent:
				won++
			case http.StatusConflict:
			default:
				t.Errorf("got %d %s", a.status, a.body)
			}
		}
		if won != 1 {
			t.Errorf("%d requests won", won)
		}
		r.wantReceived(url, data)
	}
}

// TestStaleWriter: a writer on another replica, whose epoch is over, commits.
func TestStaleWriter(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	data := audio(3000)
	url := r.create(len(data))
	id := uuid.MustParse(url[strings.LastIndex(url, "/")+1:])

	stale, _, err := r.catalog.AcquireUpload(ctx, id, recording.Claim{Write: true})
	must(t, err)
	w, err := r.store.NewWriter(ctx, stale)
	must(t, err)
	defer w.Close()
	_, err = w.Write(bytes.Repeat([]byte("old"), 1000))
	must(t, err)

	if a := r.patch(url, 0, data[:1000]); a.status != http.StatusNoContent {
		t.Fatalf("patch: %d %s", a.status, a.body)
	}
	flushed, err := w.Flush(ctx)
	must(t, err)
	err = r.catalog.CommitChunk(ctx, recording.Chunk{UploadID: id, Epoch: stale.Epoch, From: 0, To: 3000, Parts: flushed.Parts, ExpiresAt: time.Now()})
	if recording.CodeOf(err) != recording.CodeTakenOver {
		t.Fatalf("the stale commit gave %v", err)
	}
	if got := r.offset(url); got != 1000 {
		t.Fatalf("offset %d", got)
	}
	if a := r.patch(url, 1000, data[1000:]); a.status != http.StatusNoContent {
		t.Fatalf("patch: %d %s", a.status, a.body)
	}
	_, err = w.Write([]byte("older"))
	must(t, err)
	r.wantReceived(url, data)
}

// failingStorage gives writers whose nth write or flush fails.
type failingStorage struct {
	upload.Storage
	fail func(op string) error
}

type failingWriter struct {
	recording.PartWriter
	fail func(op string) error
}

func (s failingStorage) NewWriter(ctx context.Context, u recording.Upload) (recording.PartWriter, error) {
	if err := s.fail("open"); err != nil {
		return nil, err
	}
	w, err := s.Storage.NewWriter(ctx, u)
	return failingWriter{w, s.fail}, err
}

func (w failingWriter) Write(p []byte) (int, error) {
	if err := w.fail("write"); err != nil {
		return 0, err
	}
	return w.PartWriter.Write(p)
}

func (w failingWriter) Flush(ctx context.Context) (recording.Flushed, error) {
	if err := w.fail("flush"); err != nil {
		return recording.Flushed{}, err
	}
	return w.PartWriter.Flush(ctx)
}

// TestStorageFaults: whatever fails, the client learns the truth and the upload
// goes on from a committed offset.
func TestStorageFaults(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"open", "write", "flush"} {
		for _, fault := range []struct {
			err    error
			status int
		}{{fmt.Errorf("wrapped: %w", storage.ErrFull), http.StatusInsufficientStorage}, {io.ErrShortWrite, http.StatusInternalServerError}} {
			t.Run(fmt.Sprint(op, fault.status), func(t *testing.T) {
				t.Parallel()
				store, err := disk.New(t.TempDir())
				must(t, err)
				broken := false
				r := newRigOn(t, pgtest.New(t), store, failingStorage{store, func(at string) error {
					if broken && at == op {
						return fault.err
					}
					return nil
				}})
				data := audio(9000)
				url := r.create(len(data))
				r.patch(url, 0, data[:3000])
				broken = true
				a := r.patch(url, 3000, data[3000:])
				if a.status != fault.status || bytes.Contains(a.body, []byte("wrapped")) {
					t.Errorf("got %d %s", a.status, a.body)
				}
				broken = false
				if got := r.offset(url); got != 3000 {
					t.Fatalf("offset %d, want 3000", got)
				}
				if a := r.patch(url, 3000, data[3000:]); a.status != http.StatusNoContent {
					t.Fatalf("patch: %d %s", a.status, a.body)
				}
				r.wantReceived(url, data)
			})
		}
	}
}

// TestInterrupt: a shutdown commits what a slow phone has sent.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := audio(50_000)
	url := r.create(len(data))
	body, phone := io.Pipe()
	defer phone.Close()
	slow := make(chan answer)
	go func() { slow <- r.do(http.MethodPatch, url, body, "Upload-Offset", "0") }()
	_, err := phone.Write(data[:20_000])
	must(t, err)
	waitFor(t, func() bool { return r.received() >= 20_000 })
	r.server.Interrupt()
	if a := <-slow; a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("got %d %v", a.status, a.header)
	}
	if got := r.offset(url); got != 20_000 {
		t.Errorf("offset %d", got)
	}
}

// TestDatabaseGone: a ledger that can't be reached is 503, and nothing is lost.
func TestDatabaseGone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	url := r.create(100)
	r.pool.Close()
	if a := r.patch(url, 0, audio(100)); a.status < 500 || strings.Contains(string(a.body), "pool") {
		t.Errorf("got %d %s", a.status, a.body)
	}
}
