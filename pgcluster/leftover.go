package pgcluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxSocketDir keeps the socket's path ("/.s.PGSQL.5432" and an end byte more)
// below the least limit of the systems served, macOS's 104 bytes.
const maxSocketDir = 88

// lockDir makes sure that no other process uses dir, until the file is closed.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, explain(dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		pid := make([]byte, 16)
		n, _ := f.ReadAt(pid, 0)
		f.Close()
		return nil, fmt.Errorf("another process (pid %s) is using the PostgreSQL data in %s: stop it first", strings.TrimSpace(string(pid[:n])), dir)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, explain(dir, err)
	}
	return f, nil
}

// makeSocketDir makes the folder of the server's socket, which nobody else may
// enter. Its path is short, the same each time, and depends on dir only.
func makeSocketDir(dir string, acct account) (string, error) {
	sum := sha256.Sum256([]byte(dir))
	path := filepath.Join(os.TempDir(), "reprise-pg-"+hex.EncodeToString(sum[:6]))
	if len(path) > maxSocketDir {
		path = filepath.Join("/tmp", filepath.Base(path))
	}
	if err := os.Mkdir(path, 0o700); err != nil && !os.IsExist(err) {
		return "", explain(path, err)
	}
	// Anybody may make folders there, so what exists may be somebody's trap.
	st, err := os.Lstat(path)
	if err != nil {
		return "", explain(path, err)
	}
	uid, _ := owner(st)
	ours := int(uid) == os.Geteuid() || acct.other && uid == acct.uid
	if !ours || !st.IsDir() || st.Mode().Perm() != 0o700 {
		return "", fmt.Errorf("the folder for PostgreSQL's socket, %s, exists already and is not private to this user: remove it", path)
	}
	if acct.other {
		if err := os.Lchown(path, int(acct.uid), int(acct.gid)); err != nil {
			return "", explain(path, err)
		}
	}
	return path, nil
}

// stopLeftover stops a server that a killed process left running in the
// cluster's folder, and removes what would keep a new one from starting. The
// caller holds the lock, so whatever runs there has no owner any more.
func (c *Cluster) stopLeftover(ctx context.Context) error {
	pidFile := filepath.Join(c.dir, "postmaster.pid")
	text, err := os.ReadFile(pidFile)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return explain(c.dir, err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 0 {
		// Cut short by a crash or a full disk; the server would refuse to read it.
		return remove(pidFile)
	}
	args := processArgs(pid)
	switch {
	case len(args) == 0:
		return nil // dead: the server itself sees that, and whether its memory is still in use
	case !isServer(args):
		return remove(pidFile) // the number has been given to another program, which the server can't know
	case !servesDir(args, c.dir):
		return fmt.Errorf("the PostgreSQL data in %s seems to be in use by the server with pid %d, which was started elsewhere: "+
			"stop it, or remove %s if that server has nothing to do with it", c.dir, pid, pidFile)
	}
	c.log.WarnContext(ctx, "stopping a PostgreSQL server that a killed process has left", slog.Int("pid", pid))
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil && err != syscall.ESRCH {
		return fmt.Errorf("a PostgreSQL server (pid %d) is still running in %s and can't be stopped: %w", pid, c.dir, err)
	}
	return awaitGone(ctx, pid, c.dir)
}

// awaitGone waits for the end of the server with this pid, which is not a child
// of this process. It is told to hurry after a while.
func awaitGone(ctx context.Context, pid int, dir string) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	hurry := time.After(killTimeout)
	for servesDir(processArgs(pid), dir) {
		select {
		case <-tick.C:
		case <-hurry:
			_ = syscall.Kill(pid, syscall.SIGQUIT) // an error means that it is gone
		case <-ctx.Done():
			return fmt.Errorf("a PostgreSQL server (pid %d) is still running in %s and does not stop: %w", pid, dir, ctx.Err())
		}
	}
	return nil
}

// isServer reports whether a process with these arguments is a PostgreSQL server.
func isServer(args []string) bool {
	if len(args) == 0 {
		return false
	}
	name := filepath.Base(args[0])
	return name == "postgres" || name == "postmaster"
}

// servesDir reports whether a process with these arguments is the server of dir.
func servesDir(args []string, dir string) bool {
	if !isServer(args) {
		return false
	}
	for i, arg := range args {
		if arg == "-D" && i+1 < len(args) && args[i+1] == dir || arg == "-D"+dir {
			return true
		}
	}
	return false
}

func remove(path string) error {
	if err := os.Remove(path); err != nil {
		return explain(path, err)
	}
	return nil
}
