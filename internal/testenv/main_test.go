package main

import (
	"os"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	t.Parallel()
	code, err := run([]string{"sh", "-c", `case $REPRISE_TEST_POSTGRES_URL in postgres://*) exit 7; esac`}, false)
	if code != 7 || err != nil {
		t.Errorf("got exit code %d and %v, want 7", code, err)
	}
}

func TestCommand(t *testing.T) {
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
			code, err := command(tt.args, nil, signals)
			if code != tt.want || (err != nil) != tt.wantErr {
				t.Errorf("got exit code %d and %v, want %d", code, err, tt.want)
			}
		})
	}
}
