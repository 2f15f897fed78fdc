// Package crash kills, stops and cuts off real server processes while phones
// upload real speech to them, and then looks whether every promise was kept:
//
//   - no offset that a client was told is ever contradicted by a lower one;
//   - what was uploaded is stored with exactly its bytes, and plays;
//   - one upload makes one recording and one chain of jobs, each milestone is
//     told once, and the numbers of the milestones have no gap;
//   - after the janitor nothing is stored that nobody owns.
//
// The server is built once for a test run, with the tag failpoint, and with the
// race detector if the tests have it. Each test has a database of its own, and a
// folder or a bucket. What is random is repeated with REPRISE_SEED, which each test
// prints; REPRISE_SOAK=1 repeats it many times over.
package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"reprise/internal/neo4jtest"
	"reprise/internal/pgtest"
	"reprise/internal/s3test"
)

// executable is the server's program, which all tests share.
var executable struct {
	once sync.Once
	path string
	err  error
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "reprise-crash-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	s3test.AtOnce(6) // the tests wait more than they compute
	executable.path = filepath.Join(dir, "reprise")
	return pgtest.Run(neo4jtest.With(s3test.With(m)))
}

// program returns the path of the server's program. It is without the race detector,
// which doubles what the many starts cost: the other tests have it in the servers that they
// run in their own processes.
func program(t *testing.T) string {
	t.Helper()
	executable.once.Do(func() {
		out, err := exec.Command("go", "build", "-tags", "failpoint", "-o", executable.path, "reprise/cmd/reprise").CombinedOutput()
		if err != nil {
			executable.err = fmt.Errorf("build the server: %w\n%s", err, out)
		}
	})
	if executable.err != nil {
		t.Fatal(executable.err)
	}
	return executable.path
}

// soak says that the full counts are asked for.
func soak() bool { return os.Getenv("REPRISE_SOAK") != "" }

// rounds is how often something random is repeated.
func rounds(usual, full int) int {
	if soak() {
		return full
	}
	return usual
}

// randomness returns a source that REPRISE_SEED repeats.
func randomness(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("REPRISE_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("REPRISE_SEED: %v", err)
		}
	}
	t.Logf("REPRISE_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
