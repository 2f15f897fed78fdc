package clients

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"reprise/config"
)

// What an operator is promised to see, and what nobody is.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	u := s.user(t, "Mallory-the-user")
	w := u.watch(100)
	recordingID, _ := u.upload(makeFLAC(t), map[string]string{"filename": "secret-filename.flac", "title": "secret-title", "clientId": "secret-client"})
	w.reached(t, recordingID, "recording.ready")
	rejected, _ := u.upload(made("a.wav", "-t", "0.05", "-i", speech)(t), nil)
	w.reached(t, rejected, "recording.rejected")
	uploadURL, _ := u.create(100, nil)
	u.do(http.MethodGet, "/v1/recordings/"+recordingID+"/audio?token=secret-query", nil)
	u.do(http.MethodGet, "/secret-path", nil)
	me := get[struct{ ID string }](u, "/v1/me")
	u.do(http.MethodDelete, "/v1/recordings/"+rejected, nil) // its purge is a job that waits for its day

	text := string(u.do(http.MethodGet, s.admin+"/metrics", nil).body)
	for _, want := range []string{
		`reprise_http_requests_total{method="POST",route="/files/",status="201"} 3`,
		`reprise_http_request_duration_seconds_bucket{method="PATCH",route="/files/",status="204",le="1"}`,
		"reprise_upload_bytes_received_total ", "reprise_uploads_created_total 3",
		`reprise_uploads_ended_total{outcome="received"} 2`, "reprise_upload_duration_seconds_count 2",
		`reprise_jobs{kind="purge",state="scheduled"} 1`, `reprise_jobs_oldest_seconds{kind="purge",state="scheduled"} 0`,
		`reprise_stage_duration_seconds_count{outcome="done",stage="transcode"} 1`,
		`reprise_recordings_rejected_total{reason="too_short"} 1`,
		"reprise_transcode_realtime_factor_count 1",
		"reprise_events_connections 1", `reprise_events_sent_total{kind="milestone"}`,
		"reprise_db_pool_connections ", "reprise_build_info{", "go_goroutines ", "process_cpu_seconds_total ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	secrets := []string{
		"Mallory", "secret", me.ID, recordingID, rejected, uploadURL[strings.LastIndex(uploadURL, "/")+1:], u.token, strings.Split(u.token, ".")[2],
	}
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("/metrics has %q in it", secret)
		}
	}
	// Ids are in the log, to find things by; what users call them is not.
	log := s.log.String()
	for _, secret := range append(secrets[:2:2], secrets[6:]...) {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %q in it", secret)
		}
	}
}

type readyView struct {
	Status string
	Checks map[string]string
}

func (s *server) readyz(t *testing.T) (status int, v readyView) {
	t.Helper()
	got := user{t: t, s: s}.do(http.MethodGet, s.admin+"/readyz", nil)
	if err := json.Unmarshal(got.body, &v); err != nil {
		t.Fatalf("%v: %v", got, err)
	}
	return got.status, v
}

// overLine makes the server reach its database over a line.
func overLine(t *testing.T, l *line) func(*config.Config) {
	return func(c *config.Config) {
		db, err := pgx.ParseConfig(string(c.DatabaseURL))
		if err != nil {
			t.Fatal(err)
		}
		network, addr := pgconn.NetworkAddress(db.Host, db.Port)
		l.dial = func() (net.Conn, error) { return net.Dial(network, addr) }
		newLine(t, l)
		u := url.URL{Scheme: "postgres", User: url.UserPassword(db.User, db.Password), Host: l.addr, Path: "/" + db.Database, RawQuery: "sslmode=disable"}
		c.DatabaseURL = config.Secret(u.String())
	}
}

// The database goes away and comes back: the server says so, answers what can be
// tried again, and goes on by itself.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	l := &line{}
	s := newServer(t, overLine(t, l))
	u := s.user(t, "alice")
	w := u.watch(2)
	data := makeFLAC(t)
	url, id := u.create(len(data), nil)
	if got := u.patch(url, 0, data[:1000]); got.status != http.StatusNoContent {
		t.Fatal(got)
	}
	if status, v := s.readyz(t); status != http.StatusOK || v.Status != "ready" || v.Checks["database"] != "ok" || v.Checks["storage"] != "ok" || v.Checks["sandbox"] == "" {
		t.Errorf("ready: %d %+v", status, v)
	}

	l.down.Store(true)
	l.cut()
	began := time.Now()
	status, v := s.readyz(t)
	if status != http.StatusServiceUnavailable || v.Status != "not ready" || v.Checks["database"] == "ok" || v.Checks["database"] == "" || v.Checks["storage"] != "ok" {
		t.Errorf("not ready: %d %+v", status, v)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("/readyz took %s", took)
	}
	for _, got := range []answer{
		u.do(http.MethodGet, "/v1/recordings", nil), u.head(url), u.patch(url, 1000, data[1000:]),
		u.do(http.MethodPost, "/files/", nil, "Tus-Resumable", "1.0.0", "Upload-Length", "10"),
	} {
		if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || len(got.body) > 0 && got.code() != "unavailable" {
			t.Errorf("without a database: %v", got)
		}
		if strings.Contains(string(got.body), l.addr) {
			t.Errorf("an answer tells where the database is: %v", got)
		}
	}
	if got := u.do(http.MethodGet, s.admin+"/healthz", nil); got.status != http.StatusOK {
		t.Errorf("it lives, but /healthz says: %v", got)
	}

	l.down.Store(false)
	deadline := time.Now().Add(patience)
	for status, v := s.readyz(t); status != http.StatusOK; status, v = s.readyz(t) {
		if time.Now().After(deadline) {
			t.Fatalf("not ready again: %+v", v)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if got := u.patch(url, 1000, data[1000:]); got.status != http.StatusNoContent {
		t.Fatalf("go on: %v", got)
	}
	if got := describe(w.reached(t, id, "recording.ready")); !slices.Equal(got, ready()) {
		t.Errorf("events: %q", got)
	}
	w.finish(t, u.recordings())
}

// Pages of listed origins may use the server from a browser, others may not.
func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	const app = "https://app.example.com"
	open, closed := newServer(t, func(c *config.Config) { c.AllowedOrigins = []string{app} }), newServer(t)
	tests := []struct {
		s       *server
		origin  string
		allowed bool
	}{
		{open, app, true},
		{open, "https://app.example.com.evil.example", false},
		{open, "http://app.example.com", false},
		{open, "https://evil.example/https://app.example.com", false},
		{open, "https://xapp.example.com", false},
		{open, "https://app.example.com:443", false},
		{open, "https://APP.example.com", false},
		{open, "null", false},
		{closed, app, false},
	}
	for _, tt := range tests {
		nobody, u := user{t: t, s: tt.s}, tt.s.user(t, "alice")
		want := ""
		if tt.allowed {
			want = tt.origin
		}
		for path, method := range map[string]string{"/files/": http.MethodPost, "/files/x": http.MethodPatch, "/v1/recordings/x": http.MethodDelete, "/v1/recordings": http.MethodGet} {
			got := nobody.do(http.MethodOptions, path, nil, "Origin", tt.origin, "Access-Control-Request-Method", method,
				"Access-Control-Request-Headers", "authorization,content-type,tus-resumable,upload-complete,upload-draft-interop-version,upload-length,upload-metadata,upload-offset")
			if got.header.Get("Access-Control-Allow-Origin") != want {
				t.Errorf("preflight of %s %s from %s: %v", method, path, tt.origin, got)
			}
			if tt.allowed && (got.status >= 300 || !strings.Contains(got.header.Get("Access-Control-Allow-Methods"), method) ||
				!strings.Contains(strings.ToLower(got.header.Get("Access-Control-Allow-Headers")), "upload-offset")) {
				t.Errorf("preflight of %s %s from %s: %v", method, path, tt.origin, got)
			}
		}
		got := u.do(http.MethodPost, "/files/", nil, "Tus-Resumable", "1.0.0", "Upload-Length", "10", "Origin", tt.origin)
		exposed := strings.ToLower(strings.Join(got.header.Values("Access-Control-Expose-Headers"), ","))
		if got.header.Get("Access-Control-Allow-Origin") != want || strings.Contains(exposed, "reprise-recording") != tt.allowed || strings.Contains(exposed, "location") != tt.allowed {
			t.Errorf("creation from %s: %v", tt.origin, got)
		}
		if got.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("credentials are allowed: %v", got)
		}
		// An error must be readable too, wherever it comes from.
		for _, e := range []struct {
			who          user
			method, path string
			header       []string
			status       int
		}{
			{nobody, http.MethodGet, "/v1/me", nil, http.StatusUnauthorized},
			{nobody, http.MethodGet, "/v1/me", []string{"Authorization", "Bearer x"}, http.StatusUnauthorized},
			{u, http.MethodGet, "/v1/nothing", nil, http.StatusNotFound},
			{u, http.MethodGet, "/nothing", nil, http.StatusNotFound},
			{u, http.MethodPatch, "/files/01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c", []string{"Tus-Resumable", "1.0.0"}, http.StatusNotFound},
			{u, http.MethodPost, "/files/", []string{"Tus-Resumable", "1.0.0", "X-HTTP-Method-Override", "PATCH"}, http.StatusBadRequest},
			{u, http.MethodPost, "/v1/me", nil, http.StatusMethodNotAllowed},
		} {
			got := e.who.do(e.method, e.path, nil, append(e.header, "Origin", tt.origin)...)
			if got.status != e.status || got.header.Get("Access-Control-Allow-Origin") != want || tt.s == open && !slices.Contains(got.header.Values("Vary"), "Origin") {
				t.Errorf("%s %s for %s: %v", e.method, e.path, tt.origin, got)
			}
		}
	}
}
