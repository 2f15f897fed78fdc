// Package firebasetest gives tests the Firebase Auth emulator: Google's own
// implementation of Firebase Authentication, of package firebase-tools, which
// `scripts/setup.sh test` has put into the cache folder. It needs no internet.
//
// One emulator serves all tests of a test binary; it is started at the first need,
// which takes 10 seconds and more. A package that uses firebasetest calls [With] in
// its TestMain. Tests share its users, so each makes those it needs.
package firebasetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Project is the project that the emulator's users are of.
const Project = "demo-reprise"

const (
	// Node compiles Google's whole API for it, on a machine that has other tests to run.
	startTime    = 5 * time.Minute
	stopTime     = 10 * time.Second
	pollInterval = 50 * time.Millisecond
)

// emulator is the one of this test binary.
var emulator struct {
	sync.Mutex
	hasMain bool
	tried   bool
	err     error // why there is none
	process *process
}

// Tests are a package's tests: a *testing.M, or what is wrapped around one.
type Tests interface{ Run() int }

// With runs the package's tests and stops the emulator if it was started:
//
//	func TestMain(m *testing.M) { pgtest.Main(firebasetest.With(m)) }
func With(m Tests) Tests { return withEmulator{m} }

type withEmulator struct{ tests Tests }

func (w withEmulator) Run() int {
	emulator.Lock()
	emulator.hasMain = true
	emulator.Unlock()
	code := w.tests.Run()
	emulator.Lock()
	defer emulator.Unlock()
	if emulator.process != nil {
		if err := emulator.process.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "firebasetest:", err)
			code = max(code, 1)
		}
	}
	return code
}

// Address returns host:port of the emulator.
func Address(t testing.TB) string {
	t.Helper()
	emulator.Lock()
	defer emulator.Unlock()
	if !emulator.tried {
		emulator.tried = true
		emulator.process, emulator.err = start()
	}
	if emulator.err != nil {
		t.Fatalf("firebasetest: %v", emulator.err)
	}
	return emulator.process.address
}

// process is the running emulator.
type process struct {
	address string
	dir     string
	cmd     *exec.Cmd
	done    chan struct{} // closed when it has ended
}

func start() (*process, error) {
	if !emulator.hasMain {
		return nil, errors.New("call firebasetest.With(m) in this package's TestMain")
	}
	program, err := find()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "reprise-firebasetest-")
	if err != nil {
		return nil, err
	}
	p := &process{dir: dir, done: make(chan struct{})}
	if err := p.launch(program); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	if err := p.awaitReady(ctx); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		return nil, errors.Join(fmt.Errorf("start the Firebase emulator: %w; its log: %s", err, log), p.stop())
	}
	return p, nil
}

// find returns the path of the program in the cache folder of scripts/setup.sh.
func find() (string, error) {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(home, ".cache")
	}
	path := filepath.Join(cache, "reprise", "firebase-tools", "node_modules", "firebase-tools", "lib", "bin", "firebase.js")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("the Firebase emulator is missing (%w); run: scripts/setup.sh test", err)
	}
	return path, nil
}

func (p *process) launch(program string) error {
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	p.address = fmt.Sprintf("127.0.0.1:%d", ports[0])
	at := func(port int) map[string]any { return map[string]any{"host": "127.0.0.1", "port": port} }
	config, err := json.Marshal(map[string]any{"emulators": map[string]any{
		"auth": at(ports[0]), "hub": at(ports[1]), "logging": at(ports[2]),
		"ui": map[string]any{"enabled": false}, "singleProjectMode": true,
	}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(p.dir, "firebase.json"), config, 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command("node", program, "emulators:start", "--only", "auth", "--project", Project)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = p.dir, log, log
	// Nothing of the account of whoever runs the tests, and nothing left behind.
	p.cmd.Env = append(os.Environ(), "CI=1", "HOME="+p.dir, "XDG_CONFIG_HOME="+p.dir, "XDG_CACHE_HOME="+p.dir, "TMPDIR="+p.dir,
		"GOOGLE_APPLICATION_CREDENTIALS=", "FIREBASE_AUTH_EMULATOR_HOST=")
	// Ctrl-C is for the parent, which stops it when nobody needs it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(p.cmd.SysProcAttr)
	started := make(chan error, 1)
	go func() {
		// The parent-death signal is bound to the thread that made the child (prctl(2),
		// PR_SET_PDEATHSIG): keep this one for as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
		}
	}()
	return <-started
}

// freePorts returns loopback ports that nobody listens on.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // when all are found, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// awaitReady waits for the emulator to say so. Nobody must connect to it before: it
// tries its ports by listening on them for a moment, and would wait for ever for the
// end of a connection that comes then.
func (p *process) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		log, err := os.ReadFile(filepath.Join(p.dir, "log"))
		if err != nil {
			return err
		}
		if bytes.Contains(log, []byte("All emulators ready")) {
			return nil
		}
		select {
		case <-p.done:
			return errors.New("it has ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// stop ends it and removes what it has written.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
	select {
	case <-p.done:
	case <-time.After(stopTime):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	return os.RemoveAll(p.dir)
}
