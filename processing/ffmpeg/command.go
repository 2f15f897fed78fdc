package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// command is one run of a program. Its arguments are ours alone: nothing that
// a user wrote is ever among them.
type command struct {
	path           string
	args           []string
	dir            string
	stdout, stderr io.Writer
	extra          []*os.File // file descriptors 3 and up
}

// run runs a program to its end. When ctx ends, its process group is killed
// and the cause of the context's end is returned. An exit status other than 0
// is an *exec.ExitError.
func (c command) run(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	// This is the place for a sandbox (rlimits, Landlock, seccomp): the child is
	// started here and nowhere else.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Dir = c.dir
	cmd.Env = []string{"LC_ALL=C"} // no FFREPORT, no proxies, no secrets
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = c.stdout, c.stderr, c.extra
	err := cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// inputArgs are the options that stand before an input and the input itself.
// The whitelists keep a playlist from being opened as one, and with it other
// files and the network.
func inputArgs(path string) []string {
	return []string{
		"-format_whitelist", "wav,w64,mp3,mov,ogg,flac,matroska,aac,amr,aiff,caf",
		"-protocol_whitelist", "file,pipe",
		"-i", "file:" + path,
	}
}

// checkInput makes path absolute and makes sure that it is a regular file, so
// that ffmpeg can't be made to wait on a pipe or to read a device.
func checkInput(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	st, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() {
		return "", errors.New("the input is not a regular file")
	}
	return path, nil
}

// exitError describes a program's failure with what is known of what it said.
func exitError(program string, err error, r *report) error {
	return fmt.Errorf("%s: %w: %s", program, err, r.summary())
}

// limitedBuffer keeps the first max bytes and fails on more.
type limitedBuffer struct {
	data []byte
	max  int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if len(b.data)+len(p) > b.max {
		return 0, errors.New("too much output")
	}
	b.data = append(b.data, p...)
	return len(p), nil
}
