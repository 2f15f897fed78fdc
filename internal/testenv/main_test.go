package main

import (
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
