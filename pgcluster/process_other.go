//go:build unix && !linux

package pgcluster

import (
	"os/exec"
	"strconv"
	"strings"
)

// processArgs returns the command line of a process, nothing if it is gone. ps
// does not tell a space inside an argument from one between two, so the
// folder, which comes after -D, is taken up to the next option.
func processArgs(pid int) []string {
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return nil
	}
	program, rest, found := strings.Cut(strings.TrimSpace(string(out)), " -D ")
	if !found {
		return strings.Fields(program)
	}
	dir, _, _ := strings.Cut(rest, " -c ")
	return []string{program, "-D", dir}
}
