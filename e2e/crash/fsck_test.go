package crash

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fsckReport is what tests read of the document.
type fsckReport struct {
	Problems []struct {
		Kind     string
		Key      string
		Repaired bool
	}
	Found, Repaired int
	Complete        bool
}

// fsck runs "reprise fsck" on the world and returns its exit code and what it says.
func (w *world) fsck(flags ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	cmd := exec.Command(program(w.t), append([]string{"fsck"}, flags...)...)
	cmd.Env = w.env("fsck")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// report is fsck with --json, which must end with this code.
func (w *world) report(code int, flags ...string) (r fsckReport, kinds []string) {
	w.t.Helper()
	got, stdout, stderr := w.fsck(append(flags, "--json")...)
	if got != code || stderr != "" {
		w.t.Errorf("fsck %v ended with %d, want %d: %s", flags, got, code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || !r.Complete {
		w.t.Fatalf("fsck %v: %v\n%s", flags, err, stdout)
	}
	for _, p := range r.Problems {
		kinds = append(kinds, p.Kind)
	}
	return r, kinds
}

// TestFsck takes things away from an installation, and wants the program to find each,
// to repair it, and to say so with its exit code.
func TestFsck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start("server", "")
	lost, kept := w.phone("alice", wav(t, 0, clipSeconds, 1), way{}), w.phone("alice", wav(t, 1, clipSeconds, 1), way{})
	for _, p := range []*phone{lost, kept} {
		w.begin(p)()
		w.awaitReady(p)
	}
	w.awaitJobs()
	if _, kinds := w.report(0, "--verify"); len(kinds) > 0 { // while the server runs
		t.Errorf("in order, and yet: %v", kinds)
	}
	s.stop()
	if code, stdout, _ := w.fsck(); code != 0 || !strings.HasSuffix(stdout, "No problems found.\n") {
		t.Errorf("exit code %d:\n%s", code, stdout)
	}

	w.plantOrphans(kept)
	original := query[string](w, `SELECT object_key FROM recordings WHERE id = $1`, lost.recording)
	if err := os.Remove(filepath.Join(w.root, "objects", original)); err != nil {
		t.Fatal(err)
	}
	want := []string{"original_missing", "orphan_object", "orphan_object", "orphan_parts", "orphan_temp"}
	r, kinds := w.report(1)
	if diff := cmp.Diff(want, kinds); diff != "" || r.Found != 5 || r.Repaired != 0 {
		t.Errorf("%d found, %d repaired (-want +got):\n%s", r.Found, r.Repaired, diff)
	}
	if code, stdout, _ := w.fsck(); code != 1 || !strings.Contains(stdout, original) || !strings.HasSuffix(stdout, "5 problems found, 0 repaired.\n") {
		t.Errorf("exit code %d:\n%s", code, stdout)
	}
	r, kinds = w.report(1, "--repair")
	if diff := cmp.Diff(want, kinds); diff != "" || r.Repaired != 5 {
		t.Errorf("%d repaired (-want +got):\n%s", r.Repaired, diff)
	}
	if _, kinds := w.report(0, "--verify"); len(kinds) > 0 {
		t.Errorf("after the repair: %v", kinds)
	}

	for name, flags := range map[string][]string{
		"no database":       {"--database-url=postgres://nobody@127.0.0.1:1/none"},
		"no storage":        {"--storage-url=file://" + t.TempDir() + "/none"},
		"no such flag":      {"--fix"},
		"no sense":          {"--storage-url=ftp://x"},
		"no such bucket":    {"--storage-url=s3://none?endpoint=http://127.0.0.1:1&region=x"},
		"a server's folder": {"--storage-url=file://" + t.TempDir()},
	} {
		code, stdout, stderr := w.fsck(append(flags, "--repair")...)
		if code != 2 || strings.Contains(stdout, "No problems") || strings.Count(stderr, "\n") == 0 {
			t.Errorf("%s: exit code %d\n%s%s", name, code, stdout, stderr)
		}
	}
}
