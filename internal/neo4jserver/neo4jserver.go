// Package neo4jserver runs Neo4j's community server, for tests and for development.
//
// It only starts and stops it; package neo4jtest is what tests use. `scripts/setup.sh
// neo4j` has put its libraries into the cache folder, with a few lines of Java that
// start them.
//
// It promises that a server listens for Bolt on loopback only, on a port that was
// free, asks for a password that was made for it, and ends with its parent, on Linux
// even if that was killed. What it has is in a folder of its own, so that the next
// start finds it; a second server in that folder is refused at once.
package neo4jserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"reprise/internal/child"
)

var errRunning = errors.New("another server runs in this folder; stop it first")

// User is whom a server knows.
const User = "neo4j"

const (
	// On a machine that has other tests to run; alone it takes about 5 seconds.
	startTime = 3 * time.Minute
	// A port that was free a moment ago may be taken by somebody else.
	startTries = 3
)

// Options of a server.
type Options struct {
	Dir string // where it keeps everything; made if it is not there
	// Fast has Java compile as well as it can, with memory for a million edges, for
	// measurements. Without it a server starts in half the time, and is slower later.
	Fast bool
}

// Where is how a running server is reached.
type Where struct {
	URL      string `json:"url"` // bolt://…
	User     string `json:"user"`
	Password string `json:"password"`
}

// Server is one server. Its methods are not for concurrent use.
type Server struct {
	dir      string
	fast     bool
	address  string
	password string
	child    *child.Process
}

// Start starts a server. The context bounds the start only.
func Start(ctx context.Context, o Options) (*Server, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, fast: o.Fast}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for range startTries {
		var addresses []string
		if addresses, err = child.FreeAddresses(1); err != nil {
			break
		}
		s.address = addresses[0]
		if err = s.Restart(ctx); err == nil {
			return s, nil
		}
		if ctx.Err() != nil || errors.Is(err, errRunning) {
			break
		}
	}
	return nil, err
}

// Restart starts it again, where it was, after it has ended.
func (s *Server) Restart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := s.launch(); err != nil {
		return fmt.Errorf("start Neo4j: %w", err)
	}
	if err := s.child.Await(ctx, s.isReady); err != nil {
		s.Kill()
		return fmt.Errorf("start Neo4j: %w", err)
	}
	return nil
}

// Where returns how it is reached.
func (s *Server) Where() Where {
	return Where{URL: "bolt://" + s.address, User: User, Password: s.password}
}

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.child.Done() }

// Stop ends it in order: the next start finds everything that was committed.
func (s *Server) Stop() { s.child.Stop() }

// Kill ends it at once, as a crash does.
func (s *Server) Kill() { s.child.Kill() }

// Freeze stops it without ending it: connections stay and nobody answers.
func (s *Server) Freeze() { s.child.Signal(syscall.SIGSTOP) }

// Thaw has a frozen server go on.
func (s *Server) Thaw() { s.child.Signal(syscall.SIGCONT) }

func (s *Server) path(elements ...string) string {
	return filepath.Join(append([]string{s.dir}, elements...)...)
}

// keptPassword returns the password in the file, which is made if it is not there.
func keptPassword(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text = []byte(rand.Text())
		err = os.WriteFile(path, text, 0o600)
	}
	return string(text), err
}

// lockDir takes the folder's lock, which lasts until every copy of the file is closed.
func (s *Server) lockDir() (*os.File, error) {
	f, err := os.OpenFile(s.path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%s: %w", s.dir, errRunning)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (s *Server) launch() error {
	// Before anything is written: the settings and the log may be another's.
	lock, err := s.lockDir()
	if err != nil {
		return err
	}
	defer lock.Close()
	if s.password, err = keptPassword(s.path("password")); err != nil {
		return err
	}
	libraries, err := child.Cached("neo4j")
	if err != nil {
		return err
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return fmt.Errorf("%w; run: scripts/setup.sh neo4j", err)
	}
	heap, pageCache := "512m", "64m"
	if s.fast {
		heap, pageCache = "1g", "512m"
	}
	// A setting that is missing is not a safe one: without the first two nobody could
	// connect, or everybody.
	settings := strings.Join([]string{
		"server.bolt.enabled=true",
		"dbms.security.auth_enabled=true",
		"server.bolt.listen_address=" + s.address,
		"server.bolt.advertised_address=" + s.address,
		"server.http.enabled=false",
		"server.https.enabled=false",
		"dbms.usage_report.enabled=false",
		"server.memory.pagecache.size=" + pageCache,
		"db.tx_log.preallocate=false",
		"db.tx_log.rotation.retention_policy=1 files",
		// It would wait 5 seconds for each, before it ends.
		"internal.server.bolt.thread_pool_shutdown_wait_time=100ms",
		"internal.server.bolt.connection_shutdown_wait_time=100ms",
	}, "\n") + "\n"
	if err := os.WriteFile(s.path("neo4j.conf"), []byte(settings), 0o600); err != nil {
		return err
	}
	args := []string{"-Xms256m", "-Xmx" + heap, "-XX:+UseSerialGC"}
	if !s.fast {
		// Neither the second compiler, nor a proof that the libraries are sound bytecode.
		args = append(args, "-XX:TieredStopAtLevel=1", "-XX:+UnlockDiagnosticVMOptions", "-XX:-BytecodeVerificationRemote")
	}
	for _, name := range []string{"java.nio", "java.io", "sun.nio.ch", "java.util.concurrent"} {
		args = append(args, "--add-opens=java.base/"+name+"=ALL-UNNAMED")
	}
	args = append(args, "-Dio.netty.tryReflectionSetAccessible=true", "-Dlog4j2.disable.jmx=true",
		"-cp", filepath.Join(libraries, "*")+":"+libraries, "Server", s.dir)
	cmd := exec.Command(java, args...)
	cmd.Dir = s.dir
	// The server's own copy of the lock: it is free once the server is gone, however.
	cmd.ExtraFiles = []*os.File{lock}
	s.child, err = child.Start(cmd, s.path("log"))
	return err
}

// isReady reads what the program says once nothing is missing.
func (s *Server) isReady(context.Context) (bool, error) {
	log, err := os.ReadFile(s.path("log"))
	return bytes.Contains(log, []byte("The server is ready.")), err
}
