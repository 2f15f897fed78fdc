package pgcluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// A newCluster is a cluster to be made.
type newCluster struct {
	dir     string
	bin     binaries
	acct    account
	durable bool
}

var errLocale = errors.New("the system does not have this locale")

// make makes the cluster. It appears in dir complete or not at all, so an
// interrupted start leaves nothing half made.
func (n newCluster) make(ctx context.Context) error {
	tmp := n.dir + ".new"
	defer os.RemoveAll(tmp) // does nothing after the rename

	err := errLocale
	// UTF-8 with the order of code points. Not every system has C.UTF-8; macOS has a
	// character type UTF-8 instead; plain C knows ASCII letters only.
	for _, locale := range [][]string{{"--locale=C.UTF-8"}, {"--locale=C", "--lc-ctype=UTF-8"}, {"--locale=C"}} {
		if err = n.initdb(ctx, tmp, locale); !errors.Is(err, errLocale) {
			break
		}
	}
	if err != nil {
		return err
	}
	// Renaming replaces dir if it is an empty folder.
	if err := os.Rename(tmp, n.dir); err != nil {
		return explain(n.dir, err)
	}
	return nil
}

// initdb runs PostgreSQL's program of that name on the folder tmp.
func (n newCluster) initdb(ctx context.Context, tmp string, locale []string) error {
	if err := errors.Join(os.RemoveAll(tmp), os.Mkdir(tmp, 0o700), n.acct.own(tmp)); err != nil {
		return explain(n.dir, err)
	}
	args := append([]string{
		"-D", tmp, "--username=" + superuser, "--auth=trust", "--encoding=UTF8", "--data-checksums",
	}, locale...)
	if !n.durable {
		args = append(args, "--no-sync")
	}
	cmd := n.acct.command(exec.CommandContext(ctx, n.bin.path("initdb"), args...), n.dir)
	// initdb runs the server as a child: end the whole group.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	text := string(out)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case strings.Contains(text, "invalid locale name"):
		return errLocale
	case isFull(n.dir, text):
		return errFull(n.dir)
	case n.acct.other && strings.Contains(text, "Permission denied"):
		return n.acct.unreachable(n.dir)
	default:
		return fmt.Errorf("a new PostgreSQL cluster can't be made in %s: %s", n.dir, complaint(text))
	}
}
