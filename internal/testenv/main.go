// Command testenv runs a command, such as go test, with a PostgreSQL server and S3
// servers that all its processes share, and stops the servers afterwards:
//
//	go run ./internal/testenv -- go test ./...
//
// It only saves each test binary servers of its own: see packages pgtest and
// s3test. The S3 servers are started when the first test asks for them. With
// -durable PostgreSQL keeps what it commits through a crash of the machine, as a
// real one does, for measurements. The exit code is the command's. Signals are
// passed on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"reprise/pgcluster"
)

const stopTimeout = 15 * time.Second

func main() {
	durable := flag.Bool("durable", false, "write commits to the disk")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: testenv [-durable] -- COMMAND [ARG…]")
		os.Exit(2)
	}
	code, err := run(flag.Args(), *durable)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// run returns the command's exit code, and an error if the environment failed.
func run(args []string, durable bool) (code int, err error) {
	// From the first moment on, so that a Ctrl-C leaves nothing running.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	startCtx, cancel := context.WithCancel(context.Background())
	defer cancel()

	tmp, err := os.MkdirTemp("", "reprise-testenv-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()

	started := make(chan error, 1)
	var cluster *pgcluster.Cluster
	go func() {
		var err error
		cluster, err = pgcluster.Start(startCtx, pgcluster.Options{
			Dir: filepath.Join(tmp, "postgres"), Durable: durable, MaxConnections: 300,
		})
		started <- err
	}()
	select {
	case err = <-started:
	case sig := <-signals:
		cancel()
		if err = <-started; err == nil {
			err = fmt.Errorf("%v", sig)
			err = errors.Join(err, stop(cluster))
		}
	}
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, stop(cluster)) }()
	objects, err := listenForS3(tmp)
	if err != nil {
		return 1, err
	}
	defer objects.stop()
	env := append(objects.environment(), "REPRISE_TEST_POSTGRES_URL="+cluster.URL("postgres"))
	return command(args, env, signals)
}

func stop(cluster *pgcluster.Cluster) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return cluster.Stop(ctx)
}

// command runs args with env besides the environment of this process.
func command(args, env []string, signals <-chan os.Signal) (int, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), env...)
	// A group of its own: signals reach all of it, and each only once.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			_ = syscall.Kill(-cmd.Process.Pid, sig.(syscall.Signal)) // an error means that it has ended
		case err := <-ended:
			return exitCode(cmd.ProcessState, err)
		}
	}
}

// exitCode is that of the shell: 128 and the signal's number for a command that a
// signal ended.
func exitCode(state *os.ProcessState, err error) (int, error) {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, err
	}
	if status := state.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return state.ExitCode(), nil
}
