package clients

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reprise/config"
)

type transcriptView struct {
	Version            int64
	Language, Provider string
	Segments           []struct {
		StartMs, EndMs int64
		Text           string
	}
}

type searchView struct {
	Items []struct {
		RecordingID string
		Snippets    []struct {
			In, Text string
			AtMs     *int64
		}
	}
}

// Real speech is written down by a program on this machine, read in every form,
// found by its words, corrected, found by those, and not by anybody else's search.
func TestWords(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *config.Config) { c.AITranscription = "local" })
	u, bob := s.user(t, "alice"), s.user(t, "bob")
	w := u.watch(100)
	id, _ := u.upload(readFile(t, makeAudio(t, "speech.flac", "-t", "14", "-i", speech)), map[string]string{"filename": "speech.flac", "language": "en"})
	w.reached(t, id, "transcript.ready")
	w.reached(t, id, "analysis.ready")

	path := "/v1/recordings/" + id
	transcript := get[transcriptView](u, path+"/transcript")
	text := strings.ToLower(string(u.do(http.MethodGet, path+"/transcript.txt", nil).body))
	heard := 0
	for _, word := range []string{"welcome", "guide", "through", "short", "process", "nobody", "available", "call", "moment"} {
		if strings.Contains(text, word) {
			heard++
		}
	}
	if heard < 5 || len(transcript.Segments) == 0 { // of 9; how well each engine hears is measured in its package
		t.Errorf("%s heard: %s", transcript.Provider, text)
	}
	u.checkSubtitles(path, len(transcript.Segments))
	var about struct {
		Title, Summary, Language string
	}
	if about = get[struct{ Title, Summary, Language string }](u, path+"/analysis"); about.Title == "" || about.Summary == "" || about.Language != "en" {
		t.Errorf("the analysis is %+v", about)
	}

	first := transcript.Segments[0]
	search := func(u user, q string) searchView { return get[searchView](u, "/v1/search?q="+url.QueryEscape(q)) }
	word := strings.Trim(longestWord(first.Text), ".,!?")
	found := search(u, word)
	if len(found.Items) != 1 || found.Items[0].RecordingID != id {
		t.Fatalf("%q was said and search finds %+v", word, found)
	}
	jumps := false
	for _, snippet := range found.Items[0].Snippets {
		jumps = jumps || snippet.AtMs != nil && first.StartMs <= *snippet.AtMs && *snippet.AtMs <= first.EndMs
	}
	if !jumps {
		t.Errorf("%q was said between %d and %d ms, and nothing found is there: %+v", word, first.StartMs, first.EndMs, found)
	}
	body := fmt.Sprintf(`{"version":%d,"startMs":%d,"endMs":%d,"text":"Grandmother sang in Zanzibar."}`, transcript.Version, first.StartMs, first.EndMs)
	if got := u.do(http.MethodPatch, path+"/transcript", []byte(body), "Content-Type", "application/json"); got.status != http.StatusOK {
		t.Fatalf("correct: %v", got)
	}
	if got := search(u, "zanzibar grandmother"); len(got.Items) != 1 {
		t.Errorf("the correction is not found: %+v", got)
	}
	for _, q := range []string{"zanzibar", word} {
		if got := search(bob, q); len(got.Items) != 0 {
			t.Errorf("bob finds %+v", got)
		}
	}
	// Heard again, the correction stays.
	if got := u.do(http.MethodPost, path+"/reprocess", []byte(`{"stages":["transcribe"]}`), "Content-Type", "application/json"); got.status != http.StatusAccepted {
		t.Fatalf("reprocess: %v", got)
	}
	for again := transcript; again.Version < transcript.Version+2; time.Sleep(50 * time.Millisecond) {
		again = get[transcriptView](u, path+"/transcript")
		if again.Version >= transcript.Version+2 && again.Segments[0].Text != "Grandmother sang in Zanzibar." {
			t.Errorf("after another transcription: %+v", again.Segments[0])
		}
	}
}

// checkSubtitles has ffprobe read a transcript as subtitles.
func (u user) checkSubtitles(path string, segments int) {
	u.t.Helper()
	for _, suffix := range []string{"vtt", "srt"} {
		file := filepath.Join(u.t.TempDir(), "subtitles."+suffix)
		if err := os.WriteFile(file, u.do(http.MethodGet, path+"/transcript."+suffix, nil).body, 0o600); err != nil {
			u.t.Fatal(err)
		}
		out, err := exec.Command("ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=codec_type,nb_read_packets", "-of", "csv=p=0", file).CombinedOutput()
		var packets int
		if _, scanErr := fmt.Sscanf(string(out), "subtitle,%d", &packets); err != nil || scanErr != nil || packets < segments {
			u.t.Errorf("%s of %d segments is read as %q, %v", suffix, segments, out, err)
		}
	}
}

func longestWord(text string) string {
	longest := ""
	for _, word := range strings.Fields(text) {
		if len(word) > len(longest) {
			longest = word
		}
	}
	return longest
}
