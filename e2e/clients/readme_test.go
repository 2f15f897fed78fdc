package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The README's commands do what they say, on a machine that needs longer than the
// time between two looks: sleep is made short here.
func TestCurlOfTheReadme(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	u := s.user(t, "alice")
	text := string(readFile(t, "../../README.md"))
	_, text, found := strings.Cut(text, "<!-- snippet: curl -->\n```sh\n")
	script, _, ended := strings.Cut(text, "```")
	if !found || !ended || !strings.Contains(script, "http://127.0.0.1:8080") {
		t.Fatal("README.md has no such commands")
	}
	dir := t.TempDir()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{
		".reprise/token": u.token + "\n", "testdata/speech.flac": string(readFile(t, speech)), "bin/sleep": "#!/bin/sh\nexec " + sleep + " 0.5\n",
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sh", "-eu", "-c", strings.ReplaceAll(script, "http://127.0.0.1:8080", s.url))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"Upload-Offset: 500000", `"state": "ready"`, `"recording.ready"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it does not say %s:\n%s", want, out)
		}
	}
	if ms := decodedMs(t, filepath.Join(dir, "speech.m4a")); ms < 1000 {
		t.Errorf("it downloads %d ms", ms)
	}
}
