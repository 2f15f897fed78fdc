package pgcluster

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Capabilities, from linux/capability.h.
const (
	capDACOverride   = 1
	capDACReadSearch = 2
)

// dieWithParent makes the kernel send the child PostgreSQL's "fast shutdown"
// signal when the thread that made it ends.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }

// letReach lets the child enter folders that its account may not. To search is
// enough, as the data folder itself belongs to the account; where root has been
// left without that capability (Docker's default), the wider one has to do.
func letReach(attr *syscall.SysProcAttr) {
	for _, c := range []uintptr{capDACReadSearch, capDACOverride} {
		if permitted()&(1<<c) != 0 {
			attr.AmbientCaps = []uintptr{c}
			return
		}
	}
}

// permitted returns this process's permitted capabilities, none if unknown.
func permitted() uint64 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if hex, ok := strings.CutPrefix(line, "CapPrm:"); ok {
			set, _ := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return set
		}
	}
	return 0
}
