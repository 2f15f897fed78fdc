package clients

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Uppy, which many pages use, sends several files at once with metadata of its
// own, one of them not audio, over a line that breaks.
func TestUppy(t *testing.T) {
	t.Parallel()
	l := &line{life: endsAfter(300_000)}
	s := newServerBehind(t, l)
	u := s.user(t, "alice")
	type file struct {
		Name string `json:"name"`
		Type string `json:"type"`
		Path string `json:"path"`
	}
	files := []file{
		{"Tante Zoë (1).wav", "audio/wav", makeBigWAV(t)},
		{"song.mp3", "audio/mpeg", makeAudio(t, "song.mp3", "-t", "8", "-i", speech, "-b:a", "320k", "-ar", "44100")},
		{"diary.mp3", "audio/mpeg", filepath.Join("..", "..", "testdata", "speech.txt")},
	}
	text, err := json.Marshal(map[string]any{"endpoint": s.line + "/files/", "token": u.token, "chunkSize": 200_000, "files": files})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "uppy.mjs")
	cmd.Env = append(os.Environ(), "CASE="+string(text))
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Logf("%s", exit.Stderr)
		}
		t.Fatalf("uppy: %v", err)
	}
	var got struct{ Successful, Failed []string }
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	slices.Sort(got.Successful)
	if diff := cmp.Diff([][]string{{files[0].Name, files[1].Name}, {files[2].Name}}, [][]string{got.Successful, got.Failed}); diff != "" {
		t.Errorf("successful and failed (-want +got):\n%s", diff)
	}
	byName := map[string]recordingView{}
	for _, r := range get[page[recordingView]](u, "/v1/recordings").Items {
		if r.State != "uploading" { // a creation whose answer was lost left it: Uppy sends no clientId
			byName[r.Filename] = r
		}
	}
	for _, f := range files[:2] {
		u.checkStored(byName[f.Name].ID, f.Path)
	}
	u.checkRejected(byName[files[2].Name].ID, "not_audio")
	if l.breaks.Load() == 0 {
		t.Error("no connection has broken")
	}
}

// endsAfter is a life of so many bytes.
func endsAfter(bytes int64) func() int64 { return func() int64 { return bytes } }
