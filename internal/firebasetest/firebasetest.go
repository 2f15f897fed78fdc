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
	"sync"
	"testing"
	"time"

	"reprise/internal/child"
)

// Project is the project that the emulator's users are of.
const Project = "demo-reprise"

const (
	// Node compiles Google's whole API for it, on a machine that has other tests to run.
	startTime = 5 * time.Minute
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
	child   *child.Process
}

func start() (*process, error) {
	if !emulator.hasMain {
		return nil, errors.New("call firebasetest.With(m) in this package's TestMain")
	}
	program, err := child.Cached("firebase-tools", "node_modules", "firebase-tools", "lib", "bin", "firebase.js")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "reprise-firebasetest-")
	if err != nil {
		return nil, err
	}
	p := &process{dir: dir}
	if err := p.launch(program); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	if err := p.child.Await(ctx, p.isReady); err != nil {
		return nil, errors.Join(fmt.Errorf("start the Firebase emulator: %w", err), p.stop())
	}
	return p, nil
}

func (p *process) launch(program string) error {
	addresses, err := child.FreeAddresses(3)
	if err != nil {
		return err
	}
	p.address = addresses[0]
	emulators := map[string]any{"ui": map[string]any{"enabled": false}, "singleProjectMode": true}
	for i, name := range []string{"auth", "hub", "logging"} {
		host, port, err := net.SplitHostPort(addresses[i])
		if err != nil {
			return err
		}
		emulators[name] = map[string]any{"host": host, "port": json.Number(port)}
	}
	config, err := json.Marshal(map[string]any{"emulators": emulators})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(p.dir, "firebase.json"), config, 0o600); err != nil {
		return err
	}
	cmd := exec.Command("node", program, "emulators:start", "--only", "auth", "--project", Project)
	cmd.Dir = p.dir
	// Nothing of the account of whoever runs the tests, and nothing left behind.
	cmd.Env = append(os.Environ(), "CI=1", "HOME="+p.dir, "XDG_CONFIG_HOME="+p.dir, "XDG_CACHE_HOME="+p.dir, "TMPDIR="+p.dir,
		"GOOGLE_APPLICATION_CREDENTIALS=", "FIREBASE_AUTH_EMULATOR_HOST=")
	p.child, err = child.Start(cmd, p.logPath())
	return err
}

func (p *process) logPath() string { return filepath.Join(p.dir, "log") }

// isReady reads what the emulator says. Nobody must connect to it before: it tries
// its ports by listening on them for a moment, and would wait for ever for the end
// of a connection that comes then.
func (p *process) isReady(context.Context) (bool, error) {
	log, err := os.ReadFile(p.logPath())
	return bytes.Contains(log, []byte("All emulators ready")), err
}

// stop ends it and removes what it has written.
func (p *process) stop() error {
	p.child.Stop()
	return os.RemoveAll(p.dir)
}
