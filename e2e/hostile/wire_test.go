package hostile

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"reprise/app"
	"reprise/auth"
	"reprise/config"
	"reprise/internal/pgtest"
)

// patience bounds every wait. It is generous: the machine may be busy.
const patience = 2 * time.Minute

// target is a running server with a ledger that the tests look into.
type target struct {
	t     *testing.T
	url   string
	token string // of alice
	db    *pgxpool.Pool
}

func newTarget(t *testing.T) *target {
	t.Helper()
	key := bytes.Repeat([]byte{9}, 32)
	cfg := config.Default()
	cfg.Addr, cfg.AdminAddr = "127.0.0.1:0", "127.0.0.1:0"
	databaseURL := pgtest.NewURL(t)
	cfg.DatabaseURL, cfg.StorageURL = config.Secret(databaseURL), "file://"+t.TempDir()
	cfg.DevKey = config.Secret(hex.EncodeToString(key))
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	started, ended := make(chan app.Addresses, 1), make(chan error, 1)
	go func() {
		ended <- app.Serve(ctx, app.Options{
			Config: cfg, API: true, Worker: true, Version: "test", Log: slog.New(slog.DiscardHandler),
			Started: func(at app.Addresses) { started <- at },
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with: %v", err)
		}
	})
	x := &target{t: t}
	select {
	case at := <-started:
		x.url = at.PublicURL
	case err := <-ended:
		ended <- nil
		t.Fatalf("the server did not start: %v", err)
	}
	var err error
	if x.token, err = auth.IssueDevToken(key, "alice", time.Hour, time.Now()); err != nil {
		t.Fatal(err)
	}
	if x.db, err = pgxpool.New(context.Background(), databaseURL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.db.Close)
	return x
}

// reply is what came back.
type reply struct {
	status int
	header http.Header
	body   string
}

func (r reply) String() string { return fmt.Sprintf("%d %v %.300s", r.status, r.header, r.body) }

// code returns the code of a problem, "" if it is none.
func (r reply) code() string {
	var p struct{ Code, Detail string }
	if r.header.Get("Content-Type") != "application/problem+json" || json.Unmarshal([]byte(r.body), &p) != nil || p.Detail == "" {
		return ""
	}
	return p.Code
}

// send writes a request as it stands, on a connection of its own. Lines are the
// header's, of which Host and Connection are added if there is no Host.
func (x *target) send(method, path string, lines []string, body string) reply {
	x.t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nConnection: close\r\n", method, path)
	if !has(lines, "Host") {
		lines = append([]string{"Host: " + strings.TrimPrefix(x.url, "http://")}, lines...)
	}
	if !has(lines, "Content-Length") && !has(lines, "Transfer-Encoding") {
		lines = append(lines, fmt.Sprintf("Content-Length: %d", len(body)))
	}
	for _, line := range lines {
		text.WriteString(line + "\r\n")
	}
	text.WriteString("\r\n" + body)
	conn, err := net.Dial("tcp", strings.TrimPrefix(x.url, "http://"))
	if err != nil {
		x.t.Fatalf("the server is gone: %v", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	// A server that refuses a header may close before it has read all of it.
	_, _ = io.WriteString(conn, text.String())
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		x.t.Fatalf("%s %s %.200q: no answer: %v", method, path, lines, err)
	}
	defer res.Body.Close()
	answered, err := io.ReadAll(res.Body)
	if err != nil {
		x.t.Fatalf("%s %s %.200q: %v", method, path, lines, err)
	}
	return reply{res.StatusCode, res.Header, string(answered)}
}

func has(lines []string, name string) bool {
	for _, line := range lines {
		if before, _, ok := strings.Cut(line, ":"); ok && strings.EqualFold(before, name) {
			return true
		}
	}
	return false
}

// asAlice is header lines with alice's token.
func (x *target) asAlice(lines ...string) []string {
	return append([]string{"Authorization: Bearer " + x.token}, lines...)
}

// create begins an upload and returns its path.
func (x *target) create(lines ...string) string {
	x.t.Helper()
	r := x.send(http.MethodPost, "/files/", x.asAlice(append(lines, "Tus-Resumable: 1.0.0")...), "")
	location, ok := strings.CutPrefix(r.header.Get("Location"), x.url)
	if r.status != http.StatusCreated || !ok {
		x.t.Fatalf("create: %v", r)
	}
	return location
}

// ledger is a digest of everything that a request may change, but for epochs: taking an
// upload over is not to change it.
func (x *target) ledger() string {
	x.t.Helper()
	var sum string
	err := x.db.QueryRow(context.Background(), `SELECT md5(string_agg(line, E'\n' ORDER BY line)) FROM (
		SELECT concat_ws('|', 'upload', id, state, length, committed_offset, client_id, metadata) AS line FROM uploads
		UNION ALL SELECT concat_ws('|', 'recording', id, state, stage, title, filename, version) FROM recordings
		UNION ALL SELECT concat_ws('|', 'part', upload_id, number, size, ref) FROM upload_parts
		UNION ALL SELECT concat_ws('|', 'event', owner_id, seq) FROM events
		UNION ALL SELECT concat_ws('|', 'user', id, subject) FROM users
		UNION ALL SELECT concat_ws('|', 'job', id) FROM river_job WHERE kind NOT IN ('janitor', 'sweep')) AS lines`).Scan(&sum)
	if err != nil {
		x.t.Fatal(err)
	}
	return sum
}

// wav is a second of a tone.
func wav() string {
	const rate, seconds = 16000, 1
	var data bytes.Buffer
	for i := range rate * seconds {
		_ = binary.Write(&data, binary.LittleEndian, int16(8000*math.Sin(float64(i)*2*math.Pi*440/rate)))
	}
	var file bytes.Buffer
	file.WriteString("RIFF")
	_ = binary.Write(&file, binary.LittleEndian, uint32(36+data.Len()))
	file.WriteString("WAVEfmt ")
	for _, v := range []any{uint32(16), uint16(1), uint16(1), uint32(rate), uint32(2 * rate), uint16(2), uint16(16)} {
		_ = binary.Write(&file, binary.LittleEndian, v)
	}
	file.WriteString("data")
	_ = binary.Write(&file, binary.LittleEndian, uint32(data.Len()))
	return file.String() + data.String()
}
