package child_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"reprise/internal/child"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestForeground(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		args    []string
		signal  os.Signal
		want    int
		wantErr bool
	}{
		{"fine", []string{"true"}, nil, 0, false},
		{"fails", []string{"false"}, nil, 1, false},
		{"killed", []string{"sh", "-c", "kill -KILL $$"}, nil, 128 + int(syscall.SIGKILL), false},
		{"not there", []string{"/nonexistent"}, nil, 1, true},
		// Reaches the whole group: sh would wait for the end of sleep.
		{"signal", []string{"sh", "-c", "sleep 600; exit 3"}, syscall.SIGTERM, 128 + int(syscall.SIGTERM), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			signals := make(chan os.Signal, 1)
			if tt.signal != nil {
				signals <- tt.signal
			}
			code, err := child.Foreground(tt.args, nil, signals)
			if code != tt.want || (err != nil) != tt.wantErr {
				t.Errorf("got exit code %d and %v, want %d", code, err, tt.want)
			}
		})
	}
}

func TestStopReachesAStoppedProcess(t *testing.T) {
	t.Parallel()
	p, err := child.Start(exec.Command("sleep", "600"), filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	p.Signal(syscall.SIGSTOP)
	p.Stop()
	p.Stop() // the second finds it gone
}

func TestAwait(t *testing.T) {
	t.Parallel()
	p, err := child.Start(exec.Command("sh", "-c", "echo no luck; exit 1"), filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	err = p.Await(t.Context(), func(context.Context) (bool, error) { return false, nil })
	if err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("of one that has ended: %v", err)
	}
	broken := errors.New("broken")
	if err := p.Await(t.Context(), func(context.Context) (bool, error) { return false, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := child.Start(exec.Command("/nonexistent"), filepath.Join(t.TempDir(), "log")); err == nil {
		t.Error("started what is not there")
	}
}
