//go:build failpoint

// Package failpoint marks the places where a crash test kills the server.
package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

var hits atomic.Int64

// Hit kills the process with SIGKILL if the environment has
// REPRISE_FAILPOINT=name, or at the n-th time with REPRISE_FAILPOINT=name#n. With
// stop: before the name it stops the process instead, until SIGCONT. It says so
// on standard error first: "failpoint <name>".
func Hit(name string) {
	want, stop := strings.CutPrefix(os.Getenv("REPRISE_FAILPOINT"), "stop:")
	want, nth, counted := strings.Cut(want, "#")
	if want != name {
		return
	}
	n := 1
	if counted {
		n, _ = strconv.Atoi(nth)
	}
	if hits.Add(1) != int64(n) {
		return
	}
	fmt.Fprintf(os.Stderr, "failpoint %s\n", name)
	if stop {
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		time.Sleep(50 * time.Millisecond) // the signal may reach another thread first
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}
