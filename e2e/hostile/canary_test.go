package hostile

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"reprise/auth"
	"reprise/internal/pgtest"
	"reprise/internal/s3server"
	"reprise/internal/s3test"
)

// bird begins every canary that the test can choose; the rest are the other secrets.
const bird = "zqcana"

// mine is a running server whose every secret is a canary.
type mine struct {
	*target
	admin    string
	cmd      *exec.Cmd
	log      *syncBuffer
	stopped  bool
	database string // without its canary

	mu       sync.Mutex
	secrets  []string // canaries besides bird
	seen     []string // what must have none: error bodies, metrics, process arguments
	children map[string]bool
}

type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// newMine builds and starts the program itself: only a process has arguments, children
// and everything that libraries print.
func newMine(t *testing.T, storageURL string) *mine {
	t.Helper()
	program := filepath.Join(t.TempDir(), "reprise")
	if out, err := exec.Command("go", "build", "-o", program, "reprise/cmd/reprise").CombinedOutput(); err != nil {
		t.Fatalf("build the server: %v\n%s", err, out)
	}
	key := bytes.Repeat([]byte{0xca, 0x4a, 0x21}, 11)[:32]
	m := &mine{target: &target{t: t}, log: &syncBuffer{}, children: map[string]bool{}, database: pgtest.NewURL(t)}
	withPassword, err := url.Parse(m.database)
	if err != nil {
		t.Fatal(err)
	}
	withPassword.User = url.UserPassword(withPassword.User.Username(), bird+"ry-password") // the server trusts everybody
	m.cmd = exec.Command(program, "serve", "--database-url="+withPassword.String())        // by a flag: the worst place
	m.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "REPRISE_ADDR=127.0.0.1:0", "REPRISE_ADMIN_ADDR=127.0.0.1:0",
		"REPRISE_STORAGE_URL=" + storageURL, "REPRISE_DEV_KEY=" + hex.EncodeToString(key), "REPRISE_LOG_LEVEL=debug",
		"REPRISE_ALLOWED_ORIGINS=https://app.example.com",
	}
	for name, value := range s3server.Environment() {
		m.cmd.Env = append(m.cmd.Env, name+"="+value)
	}
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.stop)
	m.secret(hex.EncodeToString(key), s3server.SecretKey)
	m.awaitServing()
	if m.token, err = auth.IssueDevToken(key, bird+"ry-user", time.Hour, time.Now()); err != nil {
		t.Fatal(err)
	}
	m.secret(m.token, m.token[strings.LastIndex(m.token, ".")+1:])
	if m.db, err = pgxpool.New(context.Background(), m.database); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.db.Close)
	return m
}

func (m *mine) secret(texts ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, text := range texts {
		if len(text) < 8 {
			m.t.Fatalf("the secret %q is too short to be looked for", text)
		}
		m.secrets = append(m.secrets, text)
	}
}

func (m *mine) awaitServing() {
	m.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for line := range strings.Lines(m.log.String()) {
			var entry struct{ Msg, PublicURL, Admin string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" {
				m.url, m.admin = entry.PublicURL, "http://"+entry.Admin
				return
			}
		}
	}
	m.t.Fatalf("the server does not serve:\n%s", m.log)
}

func (m *mine) stop() {
	if m.stopped {
		return
	}
	m.stopped = true
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	if err := m.cmd.Wait(); err != nil {
		m.t.Errorf("the server ended with %v", err)
	}
}

// try sends a request and keeps what an error says.
func (m *mine) try(method, path string, lines []string, body string) reply {
	m.t.Helper()
	r := m.send(method, path, append(lines, "Tus-Resumable: 1.0.0"), body)
	if r.status >= 400 {
		m.keep(fmt.Sprintf("the answer to %s %s", method, path), r.String())
	}
	return r
}

func (m *mine) keep(what, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = append(m.seen, what+": "+text)
}

// asked reads an address of the admin listener.
func (m *mine) asked(path string) int {
	m.t.Helper()
	res, err := http.Get(m.admin + path)
	if err != nil {
		m.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	m.keep(path, string(body))
	http.DefaultClient.CloseIdleConnections()
	return res.StatusCode
}

// watchChildren keeps the arguments and the environment of every process that the server
// starts, until the test ends.
func (m *mine) watchChildren() {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(3 * time.Millisecond):
			}
			paths, _ := filepath.Glob("/proc/[0-9]*/stat")
			for _, path := range paths {
				stat, _ := os.ReadFile(path)
				_, after, _ := strings.Cut(string(stat), ") ")
				if fields := strings.Fields(after); len(fields) < 2 || fields[1] != strconv.Itoa(m.cmd.Process.Pid) {
					continue
				}
				args, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
				environ, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "environ"))
				// Between fork and exec a child is the server itself.
				if len(args) > 0 && !bytes.Contains(args, []byte("--database-url")) {
					m.mu.Lock()
					m.children[string(args)+"\x00"+string(environ)] = true
					m.mu.Unlock()
				}
			}
		}
	}()
	m.t.Cleanup(func() { close(stop); <-done })
}

// ends waits until a recording has ended and returns its state.
func (m *mine) ends(recording string) (state string) {
	m.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err := m.db.QueryRow(context.Background(), "SELECT state FROM recordings WHERE id = $1", recording).Scan(&state); err != nil {
			m.t.Fatal(err)
		}
		if slices.Contains([]string{"ready", "rejected", "failed"}, state) {
			return state
		}
	}
	m.t.Fatalf("recording %s is still %s", recording, state)
	return ""
}

func (m *mine) send201(file, name string) (recording string) {
	m.t.Helper()
	r := m.try(http.MethodPost, "/files/", m.asAlice("Upload-Length: "+strconv.Itoa(len(file)), "Content-Type: application/offset+octet-stream",
		"Upload-Metadata: filename "+encoded(bird+"ry-"+name)+",title "+encoded(bird+"ry-title")+",clientId "+encoded(bird+"ry-"+name)+
			",filetype "+encoded("audio/x-"+bird+"ry")+",language "+encoded("x-"+bird)+",other "+encoded(bird+"ry-other")), file)
	if r.status != http.StatusCreated {
		m.t.Fatal(r)
	}
	return r.header.Get("Reprise-Recording")
}

// tagged makes a Matroska file that says canaries wherever it can, and a copy whose codec
// and document type, which ffmpeg quotes, are canaries too.
func tagged(t *testing.T) (good, bad string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tagged.mka")
	args := []string{"-nostdin", "-v", "error", "-f", "lavfi", "-i", "sine=duration=2", "-c:a", "libopus"}
	for _, tag := range []string{"title", "artist", "comment", "lyrics", "description"} {
		args = append(args, "-metadata", tag+"="+bird+"ry-"+tag+"\nmy transcript: "+bird)
	}
	if out, err := exec.Command("ffmpeg", append(args, path)...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	good = string(data)
	return good, strings.Replace(strings.Replace(good, "A_OPUS", bird, 1), "matroska", "x\n"+bird, 1)
}

// A canary in each secret, token, ticket, name, title and tag is seen nowhere but by its
// owner, whatever is asked for and whatever fails.
func TestCanariesAreNotSeen(t *testing.T) {
	t.Parallel()
	storage := s3test.Servers(t)[0]
	proxy := storage.Proxy(t)
	m := newMine(t, proxy.URL(storage.Bucket(t)))
	m.watchChildren()
	good, bad := tagged(t)

	ready := m.send201(good, "good.mka")
	if state := m.ends(ready); state != "ready" {
		t.Fatalf("the good file is %s", state)
	}
	var title string
	if err := m.db.QueryRow(context.Background(), "SELECT title FROM recordings WHERE id = $1", ready).Scan(&title); err != nil || !strings.HasPrefix(title, bird) {
		t.Fatalf("the canary is not even where it belongs: %q, %v", title, err)
	}
	if r := m.try(http.MethodGet, "/v1/recordings/"+ready, m.asAlice(), ""); !strings.Contains(r.body, title) {
		t.Fatalf("its owner does not see it: %v", r)
	}
	if state := m.ends(m.send201(bad, "bad.mka")); state != "rejected" {
		t.Errorf("the bad file is %s", state)
	}
	m.ends(m.send201(wav()[:20000], "cut.wav"))
	m.strangeRequests(ready)

	// The storage is down.
	fault := s3test.InternalError()
	proxy.Fail(func(s3test.Request) s3test.Fault { return fault })
	m.asked("/readyz")
	m.try(http.MethodGet, "/v1/recordings/"+ready+"/audio?redirect=false", m.asAlice(), "")
	m.try(http.MethodPost, "/files/", m.asAlice("Upload-Length: 9000000", "Content-Type: application/offset+octet-stream",
		"Upload-Metadata: filename "+encoded(bird+"ry-unstored")), good)
	proxy.Fail(nil)

	// The database is down.
	m.refuseDatabase(true)
	m.asked("/readyz")
	m.strangeRequests(ready)
	m.asked("/metrics")
	m.refuseDatabase(false)

	for _, path := range []string{"/metrics", "/readyz", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/"} {
		m.asked(path)
	}
	if status := m.asked("/debug/pprof/cmdline"); status != http.StatusNotFound {
		t.Errorf("the command line is shown: %d", status)
	}
	m.keepRows()
	m.stop()
	m.keep("the log", m.log.String())
	m.check()
}

// strangeRequests asks for things that exist and for things that don't, with canaries
// wherever a request has room.
func (m *mine) strangeRequests(ready string) {
	m.t.Helper()
	as := m.asAlice("User-Agent: "+bird+"ry-agent", "Referer: https://x.example/"+bird, "X-Request-ID: "+bird+" ry", "Cookie: a="+bird, "Origin: https://"+bird+".example")
	ticket := m.try(http.MethodPost, "/v1/events/ticket", as, "")
	var issued struct{ Ticket string }
	if json.Unmarshal([]byte(ticket.body), &issued) == nil && issued.Ticket != "" {
		m.secret(issued.Ticket)
		m.try(http.MethodGet, "/v1/events?ticket="+issued.Ticket, as, "")
		m.try(http.MethodGet, "/v1/events", append(as, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 12", "Sec-WebSocket-Key: x",
			"Sec-WebSocket-Protocol: reprise.v1, ticket."+issued.Ticket), "")
	}
	if r := m.try(http.MethodGet, "/v1/recordings/"+ready+"/audio", as, ""); r.status == http.StatusTemporaryRedirect {
		at, err := url.Parse(r.header.Get("Location"))
		if err != nil || at.Query().Get("X-Amz-Signature") == "" || at.Query().Get("X-Amz-Expires") != "300" {
			m.t.Errorf("redirected to %v", at)
		}
		m.secret(at.Query().Get("X-Amz-Signature"))
	}
	for _, path := range []string{"/files/" + bird, "/v1/recordings/" + bird, "/v1/" + bird, "/" + bird, "/v1/me?token=" + bird, "/v1/events?access_token=" + bird,
		"/v1/recordings?cursor=" + bird, "/v1/recordings/" + ready + "/audio?format=" + bird, "/v1/recordings/%ff" + bird} {
		for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete, "B" + strings.ToUpper(bird)} {
			if !strings.Contains(path, ready) || method == http.MethodGet {
				m.try(method, path, as, "")
			}
		}
	}
	m.try(http.MethodPatch, "/v1/recordings/"+ready, append(as, "Content-Type: application/json"), `{"title":"`+bird+strings.Repeat("x", 300)+`"}`)
	m.try(http.MethodPatch, "/v1/recordings/"+ready, append(as, "Content-Type: application/json"), `{"title":`+bird)
	m.try(http.MethodPatch, "/v1/recordings/"+ready, append(as, "Content-Type: text/"+bird), `{}`)
	for _, header := range []string{"Upload-Length: " + bird, "Upload-Checksum: " + bird + " x", "Upload-Concat: final;/" + bird, "Upload-Metadata: title " + bird + "!",
		"Upload-Metadata: filetype " + encoded("image/"+bird), "Upload-Metadata: storyId " + encoded(bird), "Upload-Metadata: language " + encoded(bird+"-"+bird+"-1")} {
		m.try(http.MethodPost, "/files/", append(as, "Upload-Length: 5", header), "")
	}
	for _, token := range []string{bird, m.token + bird, "x " + m.token} {
		m.try(http.MethodGet, "/v1/me", []string{"Authorization: Bearer " + token}, "")
	}
}

// refuseDatabase takes the database away from the server, or gives it back.
func (m *mine) refuseDatabase(refused bool) {
	m.t.Helper()
	u, err := url.Parse(m.database)
	if err != nil {
		m.t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	other, err := pgxpool.New(context.Background(), u.String())
	if err != nil {
		m.t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Exec(context.Background(), fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS %t", name, !refused)); err != nil {
		m.t.Fatal(err)
	}
	if refused {
		if _, err := other.Exec(context.Background(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name); err != nil {
			m.t.Fatal(err)
		}
	}
}

// keepRows keeps the rows that operators and other users may come to see.
func (m *mine) keepRows() {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, query := range []string{
		"SELECT coalesce(string_agg(j::text, E'\\n'), '') FROM river_job j",
		"SELECT coalesce(string_agg(e::text, E'\\n'), '') FROM events e",
		"SELECT string_agg(concat_ws('|', reason, detail, media, object_key), E'\\n') FROM recordings",
	} {
		var text string
		var err error
		for range 50 { // connections that were cut are made anew
			if err = m.db.QueryRow(ctx, query).Scan(&text); err == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if err != nil {
			m.t.Fatal(err)
		}
		m.keep(query, text)
	}
}

func (m *mine) check() {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	programs := 0
	for args := range m.children {
		m.seen = append(m.seen, "a child's arguments and environment: "+args)
		if strings.Contains(args, "ffmpeg") || strings.Contains(args, "ffprobe") {
			programs++
		}
	}
	if programs == 0 {
		m.t.Error("no child of the server was seen")
	}
	canaries := append([]string{bird, encoded(bird)[:8], "X-Amz-Signature="}, m.secrets...)
	for _, text := range m.seen {
		for _, canary := range canaries {
			what, said, _ := strings.Cut(text, ": ")
			if i := strings.Index(strings.ToLower(said), strings.ToLower(canary)); i >= 0 {
				m.t.Errorf("a canary (%.20s…) is in %.200s: …%s…", canary, what, said[max(0, i-300):min(len(said), i+100)])
			}
		}
	}
}
