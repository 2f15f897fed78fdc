package speech

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reprise/internal/standin"
	"reprise/processing/provider"
	"reprise/processing/sandbox"
	"reprise/recording"
)

// A program in an engine's place ends, and its end is the engine's fault, whatever it
// does.
func TestEngineTakenOver(t *testing.T) {
	t.Parallel()
	program, fence := standin.Build(t), newTestFence(t)
	for deed, want := range map[string]string{"flood": "says more than", "compute": "CPU time", "crash": "signal"} {
		spec := sandbox.Spec{Path: program, Args: []string{deed, ""}, Dir: "/", CPU: time.Second, MemoryBytes: 2 << 30}
		_, err := listen(t.Context(), fence, spec)
		if reply := new(provider.ReplyError); !errors.As(err, &reply) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", deed, err)
		}
	}
	_, err := listen(t.Context(), fence, sandbox.Spec{Path: "/nowhere", Dir: "/", CPU: time.Second, MemoryBytes: 2 << 30})
	if reply := new(provider.ReplyError); err == nil || errors.As(err, &reply) {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestUtterances(t *testing.T) {
	t.Parallel()
	one := func(u utterance, words ...utterance) utterances {
		return utterances{Segments: []heardSegment{{u, words}}}
	}
	many := func(n int, text string) (u utterances) {
		for range n {
			u.Segments = append(u.Segments, heardSegment{utterance: utterance{Text: text}})
		}
		return u
	}
	for name, u := range map[string]utterances{
		"before":        one(utterance{Start: -60, Text: "a"}),
		"after":         one(utterance{End: 1e300, Text: "a"}),
		"no number":     one(utterance{Start: math.NaN(), Text: "a"}),
		"endless":       one(utterance{End: math.Inf(1), Text: "a"}),
		"word outside":  one(utterance{Text: "a"}, utterance{Text: "a", End: 90}),
		"a long word":   one(utterance{Text: "a"}, utterance{Text: strings.Repeat("a", 2000)}),
		"many segments": many(1000, "a"),
		"much text":     many(100, strings.Repeat("a", 1000)),
	} {
		_, err := u.transcript(10 * time.Second)
		if reply := new(provider.ReplyError); !errors.As(err, &reply) {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := one(utterance{Start: 0.5, End: 10.3, Text: " a \x00b\n", Confidence: 7},
		utterance{Start: 0.4996, End: 1, Text: " a", Confidence: 0.25}, utterance{Start: 0.9, End: 0.8, Text: "\x00b"}, utterance{Text: "\n"}).transcript(10 * time.Second)
	quarter, zero := 0.25, 0.0
	want := recording.Transcript{Segments: []recording.Segment{{StartMs: 500, EndMs: 10_000, Text: "a b", Words: []recording.Word{
		{Text: "a", StartMs: 500, EndMs: 1000, Confidence: &quarter}, {Text: "b", StartMs: 1000, EndMs: 1000, Confidence: &zero}}}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func TestParseSphinx(t *testing.T) {
	t.Parallel()
	const out = `hello two words
<s> 0.040 0.090 0.999500
hello 0.100 0.790 0.900000
two(2) 0.800 0.900 1.000100
[NOISE] 0.900 1.000 0.500000
<sil> 1.000 1.600 0.826032
words 1.610 2.090 0.629485
</s> 2.100 2.140 1.000000

<s> 3.040 3.090 0.999500
next 3.100 3.790 0.872654
nonsense x y z
`
	got, err := parseSphinx([]byte(out)).transcript(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range got.Segments {
		lines = append(lines, s.Text)
		for _, w := range s.Words {
			lines = append(lines, w.Text)
		}
	}
	if diff := cmp.Diff("hello two|hello|two|words|words|next|next", strings.Join(lines, "|")); diff != "" {
		t.Error(diff)
	}
	if s := got.Segments[0]; s.StartMs != 100 || s.EndMs != 900 || math.Abs(*s.Confidence-0.95) > 0.001 {
		t.Errorf("%+v, %v", s, *s.Confidence)
	}
}

// Whatever a program says, the transcript is in order and within the piece, or there
// is none.
func FuzzEngineOutput(f *testing.F) {
	f.Add([]byte(`{"language": "en", "segments": [{"start": 0.5, "end": 2, "text": " Hello", "words": [{"start": 1, "end": 0, "text": "Hello", "confidence": 2}]}]}`))
	f.Add([]byte("hello\n<s> 0 0.1 1\nhello 0.1 0.9 1\nworld(2) NaN Inf -1\n"))
	f.Add([]byte("a 1e400 1 1\nb 9 9 9\n<sil> 0 9 1"))
	f.Fuzz(func(t *testing.T, out []byte) {
		const length = 10 * time.Second
		said := []utterances{parseSphinx(out)}
		var u utterances
		if json.Unmarshal(out, &u) == nil {
			said = append(said, u)
		}
		for _, u := range said {
			got, err := u.transcript(length)
			if err != nil {
				continue
			}
			checkOrder(t, got)
			if n := len(got.Segments); n > 0 && got.Segments[n-1].EndMs > length.Milliseconds() {
				t.Fatalf("%+v", got.Segments[n-1])
			}
			checkOrder(t, Join([]Span{{0, length}}, []recording.Transcript{got}))
		}
	})
}

// Whisper that is there and does not run is an error; nothing at all is ErrNoEngine.
func TestLocal(t *testing.T) {
	fence := newTestFence(t)
	whisper := newTestWhisper(t).(*whisper)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	local := func(o LocalOptions) (Engine, error) {
		o.Fence = fence
		return Local(t.Context(), o)
	}
	if e, err := local(LocalOptions{}); err != nil || e.Name() != "pocketsphinx" {
		t.Errorf("without Whisper: %v, %v", e, err)
	}
	if _, err := local(LocalOptions{Whisper: "/nowhere"}); err == nil || errors.Is(err, ErrNoEngine) {
		t.Errorf("with a folder that is not there: %v", err)
	}
	if _, err := local(LocalOptions{Whisper: whisper.folder, Model: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "model.bin") {
		t.Errorf("without a model: %v", err)
	}
	// Another folder of weights, by its name; and a broken one.
	mine, broken := filepath.Join(t.TempDir(), "mine"), filepath.Join(t.TempDir(), "broken")
	if err := errors.Join(os.Symlink(whisper.weights, mine), os.Mkdir(broken, 0o700)); err != nil {
		t.Fatal(err)
	}
	if e, err := local(LocalOptions{Whisper: whisper.folder, Model: mine}); err != nil || e.Model() != "mine" {
		t.Errorf("with a model: %v, %v", e, err)
	}
	for _, name := range []string{"model.bin", "config.json", "vocabulary.txt"} {
		if err := os.WriteFile(filepath.Join(broken, name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := local(LocalOptions{Whisper: whisper.folder, Model: broken}); err == nil || !strings.Contains(err.Error(), "tokenizer.json") {
		t.Errorf("with a model that can't be loaded: %v", err)
	}
	t.Setenv("PATH", "")
	if _, err := local(LocalOptions{}); !errors.Is(err, ErrNoEngine) {
		t.Errorf("without anything: %v", err)
	}
}
