package speech

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reprise/processing/provider"
	"reprise/processing/sandbox"
	"reprise/recording"
)

func newTestFence(tb testing.TB) *sandbox.Fence {
	tb.Helper()
	fence, err := sandbox.New(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return fence
}

func newTestWhisper(tb testing.TB) Engine {
	tb.Helper()
	e, err := Local(tb.Context(), LocalOptions{Fence: newTestFence(tb)})
	if err != nil || e.Name() != "whisper" {
		tb.Fatalf("%v; is it installed (scripts/setup.sh test)? %v", e, err)
	}
	return e
}

func newTestSphinx(tb testing.TB) Engine {
	tb.Helper()
	path, err := exec.LookPath(sphinxProgram)
	if err != nil {
		tb.Fatal(err)
	}
	e, err := newSphinx(tb.Context(), newTestFence(tb), path)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// hear has an engine hear a recording in spans, and joins what it has heard.
func hear(tb testing.TB, e Engine, t talk, spans []Span) recording.Transcript {
	tb.Helper()
	var heard []recording.Transcript
	for _, s := range spans {
		piece := filepath.Join(tb.TempDir(), "piece.wav")
		if err := WriteSpan(t.path, piece, s); err != nil {
			tb.Fatal(err)
		}
		h, err := e.Transcribe(tb.Context(), Piece{Path: piece, Duration: s.End - s.Start, Language: "en-US"})
		if err != nil {
			tb.Fatal(err)
		}
		heard = append(heard, h)
	}
	return Join(spans, heard)
}

func TestWhisper(t *testing.T) {
	seams := testEngine(t, newTestWhisper(t), 3, 0.1)
	for _, s := range seams {
		if n := len(s.joined) - len(s.whole); n < -1 || n > 1 || errorRate(s.whole, s.joined) > 0.25 {
			t.Errorf("around %d ms there is %q, and without a seam %q", s.atMs, s.joined, s.whole)
		}
	}
}

// What pocketsphinx hears depends too much on what comes before to compare seams word
// by word; the error rates are compared.
func TestSphinx(t *testing.T) { testEngine(t, newTestSphinx(t), 6, 0.35) }

// maxSeamErrors is how many more words may be wrong when a recording is cut in the
// middle of words: a share of all.
const maxSeamErrors = 0.03

// testEngine has an engine hear real speech, every nth of the prompts, once cut in
// silences and once in the middle of words, and compares what it has heard, and when,
// with what was said. It returns the seams of both.
func testEngine(t *testing.T, e Engine, nth int, ceiling float64) []seamWords {
	if os.Getenv("REPRISE_SOAK") != "" {
		nth = 1
	}
	speech := newTalk(t, nth, 800*time.Millisecond)
	inSilences := Cut(speech.length, speech.silences, time.Minute)
	anywhere := Cut(speech.length, nil, 45*time.Second)
	calm := hear(t, e, speech, inSilences)
	torn := hear(t, e, speech, anywhere)
	said := plain(speech.text())
	rate := func(heard recording.Transcript) float64 { return errorRate(said, plain(heard.Text())) }
	t.Logf("%s: of %d words in %d prompts, %.1f%% are wrong; cut in the middle of words, %.1f%%", e.Name(), len(said), len(speech.prompts),
		100*rate(calm), 100*rate(torn))
	if rate(calm) > ceiling || rate(torn) > rate(calm)+maxSeamErrors {
		t.Errorf("too many words are wrong: %s\n\ncut in the middle of words: %s", calm.Text(), torn.Text())
	}
	for _, heard := range []recording.Transcript{calm, torn} {
		if heard.Language != "en" || heard.Provider != e.Name() || heard.Model != e.Model() {
			t.Errorf("made by %s with %s, in %q", heard.Provider, heard.Model, heard.Language)
		}
		checkOrder(t, heard)
		checkTimes(t, heard, speech.prompts)
	}
	return append(seamsOf(inSilences, calm, torn), seamsOf(anywhere, torn, calm)...)
}

// checkTimes checks that words are heard when they are said, within half a second. Of
// each prompt the time of the first and the last word is known, and those that are
// heard right are compared.
func checkTimes(t *testing.T, heard recording.Transcript, prompts []prompt) {
	t.Helper()
	var words []recording.Word
	for _, s := range heard.Segments {
		words = append(words, s.Words...)
	}
	compared := 0
	for _, p := range prompts {
		said := plain(p.text)
		var within []recording.Word
		for _, w := range words {
			if m := (w.StartMs + w.EndMs) / 2; m > p.startMs-400 && m < p.endMs+400 {
				within = append(within, w)
			}
		}
		if len(within) == 0 {
			t.Errorf("nothing is heard of %q", p.text)
			continue
		}
		first, last := within[0], within[len(within)-1]
		for _, c := range []struct {
			word       recording.Word
			said       string
			atMs, isMs int64
		}{{first, said[0], first.StartMs, p.startMs}, {last, said[len(said)-1], last.EndMs, p.endMs}} {
			if strings.Join(plain(c.word.Text), " ") != c.said {
				continue
			}
			compared++
			if distance(c.atMs, c.isMs) > 500 {
				t.Errorf("%q of %q is heard at %d ms and was said at %d", c.said, p.text, c.atMs, c.isMs)
			}
		}
	}
	if compared < len(prompts) {
		t.Errorf("only %d words could be compared", compared)
	}
}

// seamWords are those around a seam, and those that are heard where there is none.
type seamWords struct {
	atMs          int64
	joined, whole []string
}

func seamsOf(spans []Span, joined, whole recording.Transcript) []seamWords {
	var seams []seamWords
	for i := 1; i < len(spans); i++ {
		middle := (spans[i].Start + spans[i-1].End).Milliseconds() / 2
		seams = append(seams, seamWords{middle, around(joined, middle), around(whole, middle)})
	}
	return seams
}

// around returns the words around a time.
func around(heard recording.Transcript, ms int64) []string {
	var words []string
	for _, s := range heard.Segments {
		for _, w := range s.Words {
			if distance(w.StartMs, ms) < 6000 {
				words = append(words, plain(w.Text)...)
			}
		}
	}
	return words
}

func TestEnginesHearNothingInSilence(t *testing.T) {
	t.Parallel()
	const length = 40 * time.Second
	silence := make([]byte, int(length/sampleTime)*sampleBytes)
	hiss := make([]byte, len(silence))
	for i := range hiss {
		if i%2 == 0 {
			hiss[i] = byte(i*i) >> 3 // up to 31 of 32767
		}
	}
	for _, e := range []Engine{newTestWhisper(t), newTestSphinx(t)} {
		for name, samples := range map[string][]byte{"silence": silence, "hiss": hiss} {
			got, err := e.Transcribe(t.Context(), Piece{Path: writeTestFile(t, wavHeader(int64(len(samples))), samples), Duration: length})
			if err != nil || len(got.Segments) > 0 || got.Segments == nil {
				t.Errorf("%s hears %q in %s: %v", e.Name(), got.Text(), name, err)
			}
		}
	}
}

func TestEnginesRefuse(t *testing.T) {
	t.Parallel()
	for _, e := range []Engine{newTestWhisper(t), newTestSphinx(t)} {
		for _, p := range []Piece{{Language: "de"}, {Language: "de-AT"}, {Model: "large-v3"}, {Language: "--help"}} {
			p.Path, p.Duration = "/nowhere", time.Second
			_, err := e.Transcribe(t.Context(), p)
			if refused := new(provider.RefusedError); !errors.As(err, &refused) {
				t.Errorf("%s, %+v: %v", e.Name(), p, err)
			}
		}
	}
}

// What is no speech and no WAV file either is an error that says nothing of it.
func TestEnginesWithGarbage(t *testing.T) {
	t.Parallel()
	path := writeTestFile(t, []byte(strings.Repeat("secret ", 20_000)))
	engines := []Engine{newTestWhisper(t), newTestSphinx(t)}
	for _, e := range engines {
		got, err := e.Transcribe(t.Context(), Piece{Path: path, Duration: 4 * time.Second})
		if reply := new(provider.ReplyError); err != nil && (!errors.As(err, &reply) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v", e.Name(), err)
		}
		t.Logf("%s: %q, %v", e.Name(), got.Text(), err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	for _, e := range engines {
		if _, err := e.Transcribe(ctx, Piece{Path: path, Duration: time.Second}); !errors.Is(err, gone) {
			t.Errorf("%s: %v", e.Name(), err)
		}
	}
}

// BenchmarkEngines measures a minute of speech, with all that a piece costs.
func BenchmarkEngines(b *testing.B) {
	speech := newTalk(b, 4, 800*time.Millisecond)
	for _, e := range []Engine{newTestWhisper(b), newTestSphinx(b)} {
		b.Run(e.Name(), func(b *testing.B) {
			for b.Loop() {
				if _, err := e.Transcribe(b.Context(), Piece{Path: speech.path, Duration: speech.length}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/speech.length.Seconds(), "of-real-time")
		})
	}
}
