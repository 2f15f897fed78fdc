// Package s3test gives tests S3 servers, buckets of their own, and a proxy in
// front that counts, delays and breaks requests.
//
// The servers are those of `go run ./internal/testenv`; without it, the test binary
// starts its own at the first need (package s3server). A package that uses s3test
// calls [Main] in its TestMain, or [With]. Storages that tests open find the keys
// where they look anyhow: in the environment.
package s3test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"reprise/internal/ondemand"
	"reprise/internal/s3server"
)

const (
	envURL = "REPRISE_TEST_S3_URL"

	setupTime = 90 * time.Second
)

// servers are the S3 servers of this test binary, shared by its tests.
var servers struct {
	sync.Mutex
	hasMain bool
	tried   bool
	err     error // why there are none
	all     []s3server.Server
	own     *s3server.Servers // nil if somebody else's
	tmp     string
}

// Tests are a package's tests: a *testing.M, or what is wrapped around one.
type Tests interface{ Run() int }

// Main runs the package's tests, stops the servers if some were started, checks
// that no goroutine is left and exits:
//
//	func TestMain(m *testing.M) { s3test.Main(m) }
func Main(m Tests, opts ...goleak.Option) {
	code := With(m).Run()
	if code == 0 {
		if err := goleak.Find(opts...); err != nil {
			fmt.Fprintln(os.Stderr, "s3test: goroutines are left after the tests:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// With is Main for a package that needs something else too:
//
//	func TestMain(m *testing.M) { pgtest.Main(s3test.With(m)) }
func With(m Tests) Tests { return withServers{m} }

// AtOnce has at least n of the package's parallel tests run at the same time, also on a
// machine with fewer processors. A TestMain calls it first.
func AtOnce(n int) {
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(max(n, runtime.GOMAXPROCS(0)))); err != nil {
		panic("s3test: " + err.Error()) // the testing package has no such flag any more
	}
}

type withServers struct{ tests Tests }

func (w withServers) Run() int {
	servers.Lock()
	servers.hasMain = true
	servers.Unlock()
	// Before any test runs: the environment of a process is nothing to change later.
	for name, value := range s3server.Environment() {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, "s3test:", err)
			return 1
		}
	}
	code := w.tests.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, "s3test:", err)
		code = max(code, 1)
	}
	return code
}

// Servers returns one server of each kind.
func Servers(t testing.TB) []*Server {
	t.Helper()
	all, err := start()
	if err != nil {
		t.Fatalf("s3test: %v", err)
	}
	var found []*Server
	for _, s := range all {
		found = append(found, newServer(t, s))
	}
	return found
}

// start finds or starts the servers, once.
func start() ([]s3server.Server, error) {
	servers.Lock()
	defer servers.Unlock()
	if !servers.tried {
		servers.tried = true
		servers.all, servers.err = startServers()
	}
	return servers.all, servers.err
}

// startServers is start for the holder of the lock.
func startServers() ([]s3server.Server, error) {
	if !servers.hasMain {
		return nil, errors.New("call s3test.Main(m) in this package's TestMain")
	}
	ctx, cancel := context.WithTimeout(context.Background(), setupTime)
	defer cancel()
	if url := os.Getenv(envURL); url != "" {
		return ondemand.Ask[[]s3server.Server](ctx, url)
	}
	var err error
	if servers.tmp, err = os.MkdirTemp("", "reprise-s3test-"); err != nil {
		return nil, err
	}
	if servers.own, err = s3server.Start(ctx, servers.tmp); err != nil {
		return nil, err
	}
	return servers.own.All(), nil
}

func stop() error {
	servers.Lock()
	defer servers.Unlock()
	if servers.own != nil {
		servers.own.Stop()
	}
	if servers.tmp == "" {
		return nil
	}
	return os.RemoveAll(servers.tmp)
}
