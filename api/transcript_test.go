package api

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/asticode/go-astisub"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/recording"
)

func (s *server) addTranscript(id uuid.UUID, t recording.Transcript) {
	if s.transcripts == nil {
		s.transcripts = map[uuid.UUID]recording.Transcript{}
	}
	s.transcripts[id] = t
}

func TestTranscriptForms(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := "/v1/recordings/" + s.add(alice).ID.String()
	s.addTranscript(s.recordings[0].ID, exampleTranscript(epoch))
	for suffix, want := range map[string][2]string{
		"": {"application/json", `{"language":"en","version":3,"provider":"whisper","model":"tiny.en","createdAt":"2026-05-04T09:31:00Z","segments":[` +
			`{"startMs":0,"endMs":1100,"text":"Good morning.","confidence":0.93,"words":[{"text":"Good","startMs":0,"endMs":500,"confidence":0.97},{"text":"morning.","startMs":500,"endMs":1100}]},` +
			`{"startMs":1200,"endMs":2600,"text":"We walked to school.","corrected":3}]}`},
		".txt": {"text/plain; charset=utf-8", "Good morning.\nWe walked to school.\n"},
		".vtt": {"text/vtt; charset=utf-8", "WEBVTT\n\n00:00:00.000 --> 00:00:01.100\nGood morning.\n\n00:00:01.200 --> 00:00:02.600\nWe walked to school.\n"},
		".srt": {"application/x-subrip; charset=utf-8", "1\n00:00:00,000 --> 00:00:01,100\nGood morning.\n\n2\n00:00:01,200 --> 00:00:02,600\nWe walked to school.\n"},
	} {
		w := s.get(alice, one+"/transcript"+suffix)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != want[0] || w.Body.String() != want[1] {
			t.Errorf("%s: %d %v %s", suffix, w.Code, w.Header(), cmp.Diff(want[1], w.Body.String()))
		}
		etag := w.Header().Get("ETag")
		w = s.get(alice, one+"/transcript"+suffix, "If-None-Match", etag)
		if w.Code != http.StatusNotModified || w.Body.Len() > 0 || w.Header().Get("ETag") != etag || !strings.HasPrefix(etag, `"3`) {
			t.Errorf("%s of %s: %d %s", suffix, etag, w.Code, w.Body)
		}
		wantProblem(t, s.get(bob, one+"/transcript"+suffix), recording.CodeNotFound)
	}
	if diff := cmp.Diff(s.get(alice, one+"/transcript").Body.String(), s.get(alice, one+"/transcript.json").Body.String()); diff != "" {
		t.Error(diff)
	}
	wantJSON[map[string]any](t, s.get(alice, one+"/analysis"), http.StatusOK)
	got := wantJSON[correctionsView](t, s.get(alice, one+"/transcript/corrections"), http.StatusOK)
	if len(got.Items) != 2 || !got.Items[1].Withdrawn {
		t.Errorf("corrections %+v", got)
	}
}

// TestTranscriptHowFar: what is missing says why, to its owner only.
func TestTranscriptHowFar(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := "/v1/recordings/" + s.add(alice).ID.String()
	r := &s.recordings[0]
	insight := func(n recording.Insight) func() { return func() { r.Insights = []recording.Insight{n} } }
	for want, set := range map[string]func(){
		"none was asked for": func() { r.Insights = nil },
		"is being made; wait for its event. Its turn comes.": insight(recording.Insight{Stage: recording.StageTranscribe, State: recording.InsightWaiting, Detail: "Its turn comes."}),
		"failed (provider_refused). It can't.":               insight(recording.Insight{Stage: recording.StageTranscribe, State: recording.InsightFailed, Reason: recording.ReasonProviderRefused, Detail: "It can't."}),
		"the recording is processing":                        func() { r.Insights, r.State = nil, recording.StateProcessing },
		"the recording is rejected (empty)":                  func() { r.Insights, r.State, r.Reason = nil, recording.StateRejected, recording.ReasonEmpty },
	} {
		r.State = recording.StateReady
		set()
		if p := wantProblem(t, s.get(alice, one+"/transcript"), recording.CodeNotFound); !strings.Contains(p.Detail, want) {
			t.Errorf("%q, want %q", p.Detail, want)
		}
		for _, path := range []string{"/transcript", "/analysis"} {
			if p := wantProblem(t, s.get(bob, one+path), recording.CodeNotFound); p.Detail != recording.ErrNotFound.Message {
				t.Errorf("bob hears %q", p.Detail)
			}
		}
	}
}

func TestCorrectTranscript(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := "/v1/recordings/" + s.add(alice).ID.String() + "/transcript"
	s.addTranscript(s.recordings[0].ID, exampleTranscript(epoch))
	patch := func(body string) request {
		return request{as: alice, method: http.MethodPatch, path: one, body: body, headers: []string{"Content-Type", "application/json"}}
	}
	w := s.do(patch(`{"version":3,"startMs":1200,"endMs":2600,"text":"  We ran.  "}`))
	if got := wantJSON[transcriptView](t, w, http.StatusOK); got.Version != 4 || w.Header().Get("ETag") != `"4"` {
		t.Errorf("%+v, ETag %s", got, w.Header().Get("ETag"))
	}
	wantJSON[transcriptView](t, s.do(patch(`{"version":3,"startMs":1200,"endMs":2600,"withdraw":true}`)), http.StatusOK)
	text := "We ran."
	want := []recording.CorrectionChange{{StartMs: 1200, EndMs: 2600, Text: &text, Version: 3}, {StartMs: 1200, EndMs: 2600, Version: 3}}
	if diff := cmp.Diff(want, s.changes); diff != "" {
		t.Error(diff)
	}
	for _, body := range []string{
		``, `{}`, `{"version":3,"startMs":1,"endMs":2}`, `{"version":3,"startMs":1,"endMs":2,"text":"x","withdraw":true}`, `{"version":0,"startMs":1,"endMs":2,"text":"x"}`,
		`{"version":3,"startMs":-1,"endMs":2,"text":"x"}`, `{"version":3,"startMs":1,"endMs":2,"text":"a\nb"}`, `{"version":3,"startMs":1,"endMs":2,"text":"` + strings.Repeat("x", 4001) + `"}`,
	} {
		wantProblem(t, s.do(patch(body)), recording.CodeInvalidRequest)
	}
}

func TestReprocessStages(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := s.add(alice)
	post := func(body string) request {
		return request{as: alice, method: http.MethodPost, path: "/v1/recordings/" + r.ID.String() + "/reprocess", body: body, headers: []string{"Content-Type", "application/json"}}
	}
	got := wantJSON[recordingView](t, s.do(post(`{"stages":["transcribe","analyse","transcribe"],"language":"pt-BR","model":"large v3"}`)), http.StatusAccepted)
	if got.Insights == nil || got.Insights.Analyse.State != recording.InsightWaiting {
		t.Errorf("%+v", got.Insights)
	}
	want := []recording.Reprocessing{{Stages: []recording.Stage{recording.StageTranscribe, recording.StageAnalyse, recording.StageTranscribe}, Language: "pt-BR", Model: "large v3"}}
	if diff := cmp.Diff(want, s.asked); diff != "" {
		t.Error(diff)
	}
	for _, body := range []string{
		`{"stages":["probe"]}`, `{"language":"en"}`, `{"model":"x"}`, `{"stages":["analyse"],"language":"not a tag"}`, `{"stages":["analyse"],"model":"a\u0000"}`,
		`{"stages":["analyse"],"model":"large v3"}`, `{"stages":["transcribe"],"model":"largest"}`,
		`{"stages":["analyse"],"model":"` + strings.Repeat("x", 101) + `"}`, `{"stages":"analyse"}`, `{"stages":["analyse"],"more":1}`,
	} {
		wantProblem(t, s.do(post(body)), recording.CodeInvalidRequest)
	}
	wantProblem(t, s.do(post(`{}`)), recording.CodeConflict) // as without a body
}

func TestSearch(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	story, atMs := uuid.New(), int64(1350)
	id := uuid.New()
	s.result = recording.SearchResult{NextCursor: "next", Found: []recording.Found{{
		RecordingID: id, Title: "T", RecordedAt: epoch, Rank: 0.5,
		Snippets: []recording.Snippet{{In: "transcript", Text: "We walked.", Highlights: [][2]int{{3, 9}}, AtMs: &atMs}},
	}}}
	w := s.get(alice, "/v1/search?q=walk&limit=7&cursor=c&topic=a&entity=b&from=2026-05-04T09:30:00Z&before=2026-05-05T00:00:00%2B02:00&storyId="+story.String())
	want := `{"items":[{"recordingId":"` + id.String() + `","title":"T","recordedAt":"2026-05-04T09:30:00Z","rank":0.5,"snippets":[` +
		`{"in":"transcript","text":"We walked.","highlights":[[3,9]],"atMs":1350}],"url":"` + publicURL + `/v1/recordings/` + id.String() + `"}],"nextCursor":"next","complete":false}` + "\n"
	if w.Code != http.StatusOK || w.Body.String() != want {
		t.Errorf("%d %s", w.Code, cmp.Diff(want, w.Body.String()))
	}
	from, before := epoch, time.Date(2026, 5, 4, 22, 0, 0, 0, time.UTC)
	if diff := cmp.Diff([]recording.Search{{Query: "walk", Limit: 7, Cursor: "c", StoryID: story, From: &from, Before: &before, Topic: "a", Entity: "b"}}, s.searches); diff != "" {
		t.Error(diff)
	}
	var never time.Time
	s.searches = nil
	s.get(alice, "/v1/search?q=walk&before=0001-01-01T00:00:00Z")
	if diff := cmp.Diff([]recording.Search{{Query: "walk", Limit: 20, Before: &never}}, s.searches); diff != "" {
		t.Error(diff)
	}
	for _, query := range []string{"", "q=" + strings.Repeat("a", 201), "q=a&limit=0", "q=a&limit=101", "q=a&storyId=x", "q=a&storyId=" + uuid.Nil.String(), "q=a&from=yesterday", "q=a&topic=" + strings.Repeat("a", 201)} {
		wantProblem(t, s.get(alice, "/v1/search?"+query), recording.CodeInvalidRequest)
	}
}

// awkward has what captions have to be careful with.
func awkward() recording.Transcript {
	long := strings.Repeat("quite a number of words ", 12)
	var words []recording.Word
	for i, text := range strings.Fields(long) {
		words = append(words, recording.Word{Text: text, StartMs: int64(20_000 + 100*i), EndMs: int64(20_090 + 100*i)})
	}
	return recording.Transcript{Version: 1, Segments: []recording.Segment{
		{StartMs: 0, EndMs: 900, Text: "a --> b & <i>c</i> &lt; d"},
		{StartMs: 1000, EndMs: 1000, Text: "no\n\n\ntime"},
		{StartMs: 2000, EndMs: 2500, Text: " \t "},
		{StartMs: 3000, EndMs: 13_000, Text: strings.Repeat("字", 200)},
		{StartMs: 20_000, EndMs: 20_000 + int64(100*len(words)), Text: long, Words: words},
		{StartMs: 100 * 3_600_000, EndMs: 100*3_600_000 + 61_001, Text: "the end"},
	}}
}

// TestCaptionsParse has others read what is written.
func TestCaptionsParse(t *testing.T) {
	t.Parallel()
	transcript := awkward()
	want := cues(transcript)
	dir := t.TempDir()
	for name, text := range map[string]string{"a.vtt": webVTT(transcript), "a.srt": subRip(transcript)} {
		read := astisub.ReadFromWebVTT
		if name == "a.srt" {
			read = func(r io.Reader) (*astisub.Subtitles, error) { return astisub.ReadFromSRT(r) }
		}
		subs, err := read(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []cue
		for _, item := range subs.Items {
			c := cue{startMs: item.StartAt.Milliseconds(), endMs: item.EndAt.Milliseconds()}
			for _, line := range item.Lines {
				// This parser leaves &gt; as it is.
				c.lines = append(c.lines, strings.NewReplacer("\u200b", "", "&gt;", ">").Replace(line.String()))
			}
			got = append(got, c)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(cue{})); diff != "" {
			t.Errorf("%s: (-written +read)\n%s", name, diff)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "packet=pts_time,duration_time", "-of", "csv=p=0", path).CombinedOutput()
		if lines := strings.Count(string(out), "\n"); err != nil || lines != len(want) {
			t.Errorf("%s: ffprobe reads %d cues of %d: %v\n%s", name, lines, len(want), err, out)
		}
		out, err = exec.Command("ffmpeg", "-v", "error", "-i", path, "-f", "webvtt", "-").CombinedOutput()
		if err != nil || !strings.Contains(strings.ReplaceAll(string(out), "\u200b", ""), "the end") {
			t.Errorf("%s: ffmpeg: %v\n%s", name, err, out)
		}
	}
	for _, c := range want {
		if len(c.lines) < 1 || len(c.lines) > captionLines || c.endMs <= c.startMs {
			t.Errorf("cue %+v", c)
		}
		for _, line := range c.lines {
			if line == "" || width(line) > captionLine {
				t.Errorf("line %q", line)
			}
		}
	}
}

func FuzzCaptions(f *testing.F) {
	f.Add("a --> b\r\n\r\n<c>", int64(0), int64(100))
	f.Add("字字字 \u2028 {\\an8}", int64(3_600_000), int64(5))
	f.Fuzz(func(t *testing.T, text string, startMs, lengthMs int64) {
		if startMs < 0 || startMs > 1e12 || lengthMs < 0 || lengthMs > 1e9 {
			return
		}
		transcript := recording.Transcript{Segments: []recording.Segment{{StartMs: startMs, EndMs: startMs + lengthMs, Text: text}}}
		for _, written := range []string{webVTT(transcript), subRip(transcript)} {
			if strings.Count(written, "-->") != len(cues(transcript)) || strings.Contains(written, "\n\n\n") {
				t.Fatalf("%q", written)
			}
		}
	})
}
