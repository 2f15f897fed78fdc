package crash

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for the server. It is the time within which a
// killed worker's job must run again; usually it takes seconds.
const patience = 2 * time.Minute

// server is a process of "reprise serve".
type server struct {
	t     *testing.T
	name  string // in messages of tests with several
	cmd   *exec.Cmd
	log   *serverLog
	url   string // of the public listener
	admin string // of the admin listener
	ended chan struct{}
}

// launch starts a server in world and waits until it serves. With a point it
// dies or stops there (see package failpoint), which may be before it serves:
// jobs begin first.
func (w *world) launch(name, point string, flags ...string) *server {
	w.t.Helper()
	s := w.spawn(name, point, flags...)
	select {
	case at := <-s.log.serving:
		s.serves(at)
	case <-s.ended:
		if s.log.wasHit() {
			return s
		}
		w.t.Fatalf("%s did not start: %v\n%s", name, s.cmd.ProcessState, s.log.tail(20))
	case <-time.After(patience):
		w.t.Fatalf("%s did not serve in time", name)
	}
	return s
}

// spawn starts a server and waits for nothing.
func (w *world) spawn(name, point string, flags ...string) *server {
	w.t.Helper()
	s := &server{t: w.t, name: name, log: &serverLog{serving: make(chan addresses, 1), hit: make(chan struct{})}, ended: make(chan struct{})}
	s.cmd = exec.Command(program(w.t), append([]string{"serve"}, flags...)...)
	s.cmd.Env = append(w.env(name), "REPRISE_FAILPOINT="+point)
	s.cmd.Stderr = s.log
	s.cmd.WaitDelay = 5 * time.Second
	if err := s.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait() // how it ended is in its state
		close(s.ended)
	}()
	w.t.Cleanup(func() {
		s.kill()
		if w.t.Failed() {
			w.t.Logf("the end of the log of %s (%s):\n%s", name, point, s.log.tail(80))
		}
	})
	return s
}

func (s *server) serves(at addresses) { s.url, s.admin = at.PublicURL, "http://"+at.Admin }

// kill ends the server without a warning, if it still runs.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// stop tells the server to end and wants it to end well.
func (s *server) stop() {
	s.t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatalf("%s did not stop in time", s.name)
	}
	if !s.cmd.ProcessState.Success() {
		s.t.Errorf("%s ended with %v", s.name, s.cmd.ProcessState)
	}
	s.sane()
}

func (s *server) hasEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// awaitDeath waits until the server has killed itself at its point.
func (s *server) awaitDeath() {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatalf("%s did not come to its point", s.name)
	}
	status := s.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !status.Signaled() || status.Signal() != syscall.SIGKILL || !s.log.wasHit() {
		s.t.Fatalf("%s ended with %v instead of at its point", s.name, s.cmd.ProcessState)
	}
	s.sane()
}

// awaitStop waits until the server has stopped itself at its point.
func (s *server) awaitStop() {
	s.t.Helper()
	select {
	case <-s.log.hit:
	case <-s.ended:
		s.t.Fatalf("%s ended with %v instead of stopping at its point", s.name, s.cmd.ProcessState)
	case <-time.After(patience):
		s.t.Fatalf("%s did not come to its point", s.name)
	}
}

func (s *server) freeze() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }
func (s *server) thaw()   { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

// sane wants no panic and no data race in what the server has said.
func (s *server) sane() {
	s.t.Helper()
	for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: ", "\npanic("} {
		if i := strings.Index(s.log.String(), bad); i >= 0 {
			s.t.Errorf("%s said:\n%s", s.name, s.log.String()[i:min(len(s.log.String()), i+4000)])
		}
	}
}

type addresses struct {
	PublicURL string `json:"publicUrl"`
	Admin     string `json:"admin"`
}

// serverLog keeps what a server says and picks out what tests wait for.
type serverLog struct {
	serving chan addresses
	hit     chan struct{} // closed at the point

	mu      sync.Mutex
	text    bytes.Buffer
	scanned int // so many bytes of text were complete lines
}

func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	for {
		line, _, complete := bytes.Cut(l.text.Bytes()[l.scanned:], []byte("\n"))
		if !complete {
			return len(p), nil
		}
		l.scanned += len(line) + 1
		l.scan(line)
	}
}

func (l *serverLog) scan(line []byte) {
	if bytes.HasPrefix(line, []byte("failpoint ")) {
		close(l.hit)
		return
	}
	var entry struct {
		Msg string
		addresses
	}
	if json.Unmarshal(line, &entry) == nil && entry.Msg == "serving" {
		l.serving <- entry.addresses
	}
}

func (l *serverLog) wasHit() bool {
	select {
	case <-l.hit:
		return true
	default:
		return false
	}
}

func (l *serverLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *serverLog) tail(lines int) string {
	all := strings.Split(l.String(), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// env is the environment of a server in this world. Its name is also that of its
// connections to the database.
func (w *world) env(name string) []string {
	database, err := url.Parse(w.databaseURL)
	if err != nil {
		w.t.Fatal(err)
	}
	query := database.Query()
	query.Set("application_name", name)
	database.RawQuery = query.Encode()
	env := []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + os.Getenv("HOME"),
		"GORACE=halt_on_error=0",
		"REPRISE_ADDR=127.0.0.1:0",
		"REPRISE_ADMIN_ADDR=127.0.0.1:0",
		"REPRISE_DATABASE_URL=" + database.String(),
		"REPRISE_AUTH=dev",
		"REPRISE_DEV_KEY=" + fmt.Sprintf("%x", w.key),
		"REPRISE_DELETED_RETENTION=0",
		"REPRISE_ADDRESS_CONNECTIONS=0", // all phones have one address here
		"REPRISE_LOG_LEVEL=info",
		"REPRISE_AI_TRANSCRIPTION=off", // which takes time; a test that is about it says so
	}
	return slices.Concat(env, w.storageEnv(), w.settings)
}
