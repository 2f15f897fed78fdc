package pgcluster

import (
	"fmt"
	"os"
	"strings"
)

// processArgs returns the command line of a process, nothing if it is gone.
func processArgs(pid int) []string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if len(text) == 0 { // also that of a process that waits to be reaped
		return nil
	}
	return strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
}
