// Package standin builds a program that tests run in ffmpeg's place: one that a
// hostile file has taken over.
package standin

import (
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Build builds the program and returns its path. What it does is its first
// argument; what it does it to, the others: see its source.
func Build(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "standin")
	cmd := exec.Command("go", "build", "-o", path, "reprise/internal/standin/program")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // it needs no libraries
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build the stand-in: %v\n%s", err, out)
	}
	return path
}

// Named returns the path of a copy that does the deed whatever its arguments are,
// as the program must that ffmpeg's arguments are for.
func Named(tb testing.TB, program, deed, object string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), deed+"-"+hex.EncodeToString([]byte(object)))
	if err := os.Link(program, path); err != nil {
		tb.Fatal(err)
	}
	return path
}
