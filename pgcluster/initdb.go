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

// initialise makes an empty cluster in dir. It appears there complete or not at
// all, so an interrupted start leaves nothing half made.
func initialise(ctx context.Context, dir string, bin binaries, acct account, durable bool) error {
	tmp := dir + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return explain(dir, err)
	}
	defer os.RemoveAll(tmp) // does nothing after the rename

	err := errors.New("no locale")
	// UTF-8 with the order of code points. Not every system has C.UTF-8; macOS has a
	// character type UTF-8 instead; plain C knows ASCII letters only.
	for _, locale := range [][]string{{"--locale=C.UTF-8"}, {"--locale=C", "--lc-ctype=UTF-8"}, {"--locale=C"}} {
		if err = initdb(ctx, tmp, bin, acct, durable, locale); !errors.Is(err, errLocale) {
			break
		}
	}
	if err != nil {
		return err
	}
	// Renaming replaces dir if it is an empty folder.
	if err := os.Rename(tmp, dir); err != nil {
		return explain(dir, err)
	}
	return nil
}

var errLocale = errors.New("the system does not have this locale")

func initdb(ctx context.Context, dir string, bin binaries, acct account, durable bool, locale []string) error {
	if err := os.RemoveAll(dir); err != nil {
		return explain(dir, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return explain(dir, err)
	}
	if err := acct.own(dir); err != nil {
		return explain(dir, err)
	}
	args := append([]string{
		"-D", dir, "--username=" + superuser, "--auth=trust", "--encoding=UTF8", "--data-checksums",
	}, locale...)
	if !durable {
		args = append(args, "--no-sync")
	}
	cmd := acct.command(exec.CommandContext(ctx, bin.path("initdb"), args...), dir)
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
	case isFull(dir, text):
		return errFull(dir)
	case acct.other && strings.Contains(text, "Permission denied"):
		return acct.unreachable(dir)
	default:
		return fmt.Errorf("a new PostgreSQL cluster can't be made in %s: %s", dir, lastComplaint(text))
	}
}
