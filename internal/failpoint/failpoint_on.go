//go:build failpoint

// Package failpoint marks the places where a crash test kills the server.
package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

var hits atomic.Int64

// Hit kills the process with SIGKILL if the environment has
// REPRISE_FAILPOINT=name, or at the n-th time with REPRISE_FAILPOINT=name#n.
func Hit(name string) {
	want, nth, counted := strings.Cut(os.Getenv("REPRISE_FAILPOINT"), "#")
	if want != name {
		return
	}
	n := 1
	if counted {
		n, _ = strconv.Atoi(nth)
	}
	if hits.Add(1) == int64(n) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}
