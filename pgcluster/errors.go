package pgcluster

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A server that has less room than one WAL segment can't start.
const leastFreeBytes = 16 << 20

const beginAnew = "restore it from a copy, or move that folder away to begin with an empty database"

// explain turns an error of the file system into one sentence about path.
func explain(path string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return errFull(path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission to use %s: it belongs to another user; give it to this one (chown), or run reprise as the user who made it", path)
	default:
		return fmt.Errorf("PostgreSQL's folder %s can't be used: %w", path, reason(err))
	}
}

// reason leaves out the call's name and the path, which the sentence around it says.
func reason(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

func errFull(path string) error {
	return fmt.Errorf("the disk is full: there is no room for PostgreSQL in %s; free some space and start again", path)
}

// isFull reports whether the server's words, or a look at the disk (whose full
// state keeps the server from writing any words), say that it is full.
func isFull(path, text string) bool {
	// The second is its hint after a write that ended early.
	if strings.Contains(text, "No space left on device") || strings.Contains(text, "Check free disk space") {
		return true
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &st); err != nil {
		return false
	}
	return uint64(st.Bavail)*uint64(st.Bsize) < leastFreeBytes
}

// diagnose says why a server that has ended did not start, from what it has
// logged from byte offset start on.
func diagnose(dir, logPath string, start int64) error {
	text := logSince(logPath, start)
	switch {
	case isFull(dir, text):
		return errFull(dir)
	case strings.Contains(text, "pre-existing shared memory block"):
		return fmt.Errorf("processes of a killed PostgreSQL server are still using %s: wait a moment and start again", dir)
	case strings.Contains(text, `lock file "postmaster.pid" already exists`):
		return fmt.Errorf("another PostgreSQL server is using %s: stop it first", dir)
	case strings.Contains(text, "could not access directory") && strings.Contains(text, "Permission denied"):
		return fmt.Errorf("PostgreSQL can't reach %s: move the project to a folder that everybody may enter, or run reprise as an ordinary user", dir)
	case strings.Contains(text, "out of memory"), strings.Contains(text, "Cannot allocate memory"):
		return fmt.Errorf("there is not enough memory to start PostgreSQL; its log is %s", logPath)
	default:
		return fmt.Errorf("PostgreSQL does not start with the data in %s, which may be damaged (%s): %s; its log is %s",
			dir, complaint(text), beginAnew, logPath)
	}
}

// complaint returns the first message of an error's weight: what comes after it
// follows from it.
func complaint(text string) string {
	for line := range strings.Lines(text) {
		for _, mark := range []string{"PANIC:  ", "FATAL:  ", "initdb: error: ", "postgres: "} {
			_, msg, found := strings.Cut(line, mark)
			// The answer to a client that came too early or too late is none.
			if found && !strings.HasPrefix(msg, "the database system is ") {
				return strings.TrimSpace(msg)
			}
		}
	}
	return "it gave no reason"
}

// logSince returns what the log holds from byte offset start on, at most 64 KiB.
func logSince(path string, start int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.NewSectionReader(f, start, 64<<10))
	return string(text)
}
