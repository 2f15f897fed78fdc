package neo4jserver_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"reprise/internal/neo4jserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A second server in a folder says at once that there is one, and leaves it alone. What
// is Java's is not tested here, so that a program without any takes its place.
func TestOneServerInAFolder(t *testing.T) {
	bin, cache, dir := t.TempDir(), t.TempDir(), t.TempDir()
	java := "#!/bin/sh\necho The server is ready.\nexec sleep 60\n"
	if err := os.WriteFile(filepath.Join(bin, "java"), []byte(java), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(cache, "reprise", "neo4j"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("XDG_CACHE_HOME", cache)
	o := neo4jserver.Options{Dir: dir}
	first, err := neo4jserver.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Kill()
	second, err := neo4jserver.Start(t.Context(), o)
	if err == nil {
		second.Kill()
		t.Fatal("a second one was started")
	}
	if text := err.Error(); !strings.Contains(text, dir+": another server runs in this folder") || strings.Contains(text, "\n") {
		t.Errorf("a second start: %v", err)
	}
	settings, err := os.ReadFile(filepath.Join(dir, "neo4j.conf"))
	if at := strings.TrimPrefix(first.Where().URL, "bolt://"); err != nil || !strings.Contains(string(settings), at) {
		t.Errorf("its settings are another's now: %s %v", settings, err)
	}
	first.Kill()
	if err := first.Restart(t.Context()); err != nil {
		t.Errorf("after it was killed: %v", err)
	}
}
