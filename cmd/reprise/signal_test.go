package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// hangVariable makes the test binary a program that hangs while it stops.
const hangVariable = "REPRISE_TEST_HANG"

func hang() {
	ctx := untilSignal()
	fmt.Println("up")
	<-ctx.Done()
	fmt.Println("stopping")
	time.Sleep(time.Minute)
	os.Exit(0)
}

func TestTheSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), hangVariable+"=1")
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(stdout)
			if !lines.Scan() || lines.Text() != "up" {
				t.Fatalf("the program says %q", lines.Text())
			}
			kill := func() {
				if err := cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
					t.Error(err)
				}
			}
			kill()
			if !lines.Scan() || lines.Text() != "stopping" {
				t.Fatalf("after one signal the program says %q", lines.Text())
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			for { // the default may come back a moment after the context ended
				kill()
				select {
				case <-ended:
				case <-time.After(50 * time.Millisecond):
					continue
				}
				break
			}
			if got := cmd.ProcessState.Sys().(syscall.WaitStatus); !got.Signaled() || got.Signal() != signal {
				t.Errorf("the program ended with %v, want by the signal", cmd.ProcessState)
			}
		})
	}
}
