package clients

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checkStored checks that a recording becomes ready, and that its original is
// this file byte for byte.
func (u user) checkStored(id, path string) {
	u.t.Helper()
	want := readFile(u.t, path)
	r := u.settled(id)
	if r.State != "ready" || r.SizeBytes != int64(len(want)) || r.SHA256 != sha256Hex(want) {
		u.t.Errorf("recording %s: state %s (%s %s), %d bytes, sha256 %s", id, r.State, r.Reason, r.Detail, r.SizeBytes, r.SHA256)
	}
	original := u.do(http.MethodGet, "/v1/recordings/"+id+"/audio?format=original", nil)
	if got := sha256Hex(original.body); got != sha256Hex(want) {
		u.t.Errorf("recording %s: the original has sha256 %s, want %s", id, got, sha256Hex(want))
	}
}

// recordings lists the ids of all of the user's recordings.
func (u user) recordings() []string {
	u.t.Helper()
	var ids []string
	for _, r := range get[page[recordingView]](u, "/v1/recordings?limit=200").Items {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestTusJSClient(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	wav := makeBigWAV(t)
	const total = 8 * 44100 * 4 // and a header
	// Left out, since tus-js-client 4.3.1 itself does not manage it: deferred length
	// together with data during creation (it sends none and misses the offset), and
	// a stream that ends exactly with a chunk (it waits for more for ever).
	tests := []struct {
		name    string
		c       tusCase
		patches int // at least
	}{
		{"whole file", tusCase{}, 1},
		{"from memory", tusCase{Source: "buffer"}, 1},
		{"chunks of 64 KiB", tusCase{ChunkSize: 64 << 10}, total / (64 << 10)},
		{"chunks of 1 MiB", tusCase{ChunkSize: 1 << 20}, 2},
		{"chunks of an odd size", tusCase{ChunkSize: 77777}, total / 77777},
		{"chunk beyond the file", tusCase{ChunkSize: 1 << 30}, 1},
		{"data during creation", tusCase{UploadDataDuringCreation: true}, 0},
		{"data during creation in chunks", tusCase{UploadDataDuringCreation: true, ChunkSize: 500_001}, total/500_001 - 1},
		{"first chunk too small to tell the format", tusCase{UploadDataDuringCreation: true, ChunkSize: 5, Source: "tiny"}, 0},
		{"deferred length, stream", tusCase{UploadLengthDeferred: true, Source: "stream", ChunkSize: 300_000}, total / 300_000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u := s.user(t, tt.name) // each has a user of its own, to count recordings
			tt.c.File = wav
			if tt.c.Source == "tiny" {
				tt.c.File = makeAudio(t, "tiny.mp3", "-t", "0.2", "-i", speech, "-b:a", "16k", "-ar", "16000")
				tt.c.Source = "buffer"
			}
			tt.c.Metadata = map[string]string{"filename": "speech.wav", "title": "Très long — 演説"}
			p := u.startClient(tt.c)
			p.mustSucceed()
			u.checkStored(p.recording(), tt.c.File)
			if got := p.count(http.MethodPatch, http.StatusNoContent); got < tt.patches {
				t.Errorf("%d PATCHes, want at least %d", got, tt.patches)
			}
			if diff := cmp.Diff([]string{p.recording()}, u.recordings()); diff != "" {
				t.Errorf("recordings (-want +got):\n%s", diff)
			}
			if got := u.recording(p.recording()).Title; got != "Très long — 演説" {
				t.Errorf("title is %q", got)
			}
		})
	}
}

func TestTusJSClientSeesProblems(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	text := filepath.Join("..", "..", "testdata", "speech.txt")
	tests := []struct {
		name   string
		change func(*user, *tusCase)
		status int
		code   string
	}{
		{"wrong token", func(u *user, _ *tusCase) { u.token += "x" }, 401, "unauthenticated"},
		{"not audio", func(_ *user, c *tusCase) { c.File = text }, 415, "not_audio"},
		{"not audio, with the creation", func(_ *user, c *tusCase) { c.File, c.UploadDataDuringCreation = text, true }, 415, "not_audio"},
		{"declared not to be audio", func(_ *user, c *tusCase) { c.Metadata = map[string]string{"filetype": "text/plain"} }, 415, "unsupported_type"},
		{"malformed metadata", func(_ *user, c *tusCase) { c.Metadata = map[string]string{"recordedAt": "yesterday"} }, 400, "invalid_metadata"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u := s.user(t, tt.name)
			c := tusCase{File: speech, Retries: 3}
			tt.change(&u, &c)
			p := u.startClient(c)
			end := p.end()
			if end.Failure == nil || end.Failure.Status != tt.status {
				t.Fatalf("want a failure with status %d: %s", tt.status, p)
			}
			var problem struct{ Code, Detail string }
			if err := json.Unmarshal([]byte(end.Failure.Body), &problem); err != nil || problem.Code != tt.code || problem.Detail == "" {
				t.Errorf("problem is %s (%v), want code %s", end.Failure.Body, err, tt.code)
			}
			if got := p.count(http.MethodPost, 0) + p.count(http.MethodPatch, 0); got > 2 {
				t.Errorf("the client tried again what can't succeed: %s", p)
			}
		})
	}
}
