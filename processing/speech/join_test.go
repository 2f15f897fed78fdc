package speech

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reprise/recording"
)

// said returns a segment with a word each half a second.
func said(startMs int64, text string) recording.Segment {
	s := recording.Segment{StartMs: startMs, Text: text}
	for i, w := range strings.Fields(text) {
		at := startMs + 500*int64(i)
		s.Words = append(s.Words, recording.Word{Text: w, StartMs: at, EndMs: at + 400})
		s.EndMs = at + 400
	}
	return s
}

// mute takes the words' times away.
func mute(s recording.Segment) recording.Segment {
	s.Words = nil
	return s
}

func heard(segments ...recording.Segment) recording.Transcript {
	return recording.Transcript{Language: "en", Segments: segments}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	const s = time.Second
	touching := []Span{{0, 20 * s}, {20 * s, 40 * s}}
	overlapping := []Span{{0, 20 * s}, {12 * s, 32 * s}}
	for name, tt := range map[string]struct {
		spans []Span
		heard []recording.Transcript
		want  string // with the start of each segment
	}{
		"nothing":           {nil, nil, ""},
		"silence":           {touching, []recording.Transcript{heard(), heard()}, ""},
		"no overlap":        {touching, []recording.Transcript{heard(said(1000, "one two")), heard(said(0, "Two three"))}, "1000 one two|20000 Two three"},
		"same sentence":     {overlapping, []recording.Transcript{heard(said(13000, "One, two, three four fi")), heard(said(800, "too three, four five six."))}, "13000 One, two, three four five six."},
		"own sentences":     {overlapping, []recording.Transcript{heard(said(13000, "One two."), said(15000, "Three four.")), heard(said(1000, "one two."), said(3000, "three four."), said(6000, "Five."))}, "13000 One two.|15000 Three four.|18000 Five."},
		"only one heard":    {overlapping, []recording.Transcript{heard(said(13000, "one two")), heard(said(9000, "three"))}, "13000 one two|21000 three"},
		"nothing alike":     {overlapping, []recording.Transcript{heard(said(14000, "a b c d e f")), heard(said(2000, "u v w x y z"))}, "14000 a b c d y z"},
		"none on the right": {overlapping, []recording.Transcript{heard(said(14000, "one two three four")), heard()}, "14000 one two three four"},
		"none on the left":  {overlapping, []recording.Transcript{heard(), heard(said(2000, "one two three four"))}, "14000 one two three four"},
		"repeated words":    {overlapping, []recording.Transcript{heard(said(14000, "no no no no no no no")), heard(said(2100, "no no no no no no yes"))}, "14000 no no no no no no yes"},
		"no word times":     {overlapping, []recording.Transcript{heard(mute(said(14000, "ten men met ten hens yes"))), heard(mute(said(2300, "ten men met ten hens yes sir")))}, "14000 ten men met ten hens yes sir"},
		"no spaces":         {overlapping, []recording.Transcript{heard(mute(said(1000, "你好"))), heard(mute(said(12000, "再见")))}, "1000 你好|24000 再见"},
		"outside":           {touching, []recording.Transcript{heard(said(-5000, "one"), said(90000, "two")), heard(said(0, "three"))}, "0 one|20000 two|20000 three"},
		"one missing":       {touching, []recording.Transcript{heard(said(1000, "one"))}, "1000 one"},
	} {
		got := Join(tt.spans, tt.heard)
		var lines []string
		for _, s := range got.Segments {
			lines = append(lines, fmt.Sprintf("%d %s", s.StartMs, s.Text))
		}
		if diff := cmp.Diff(tt.want, strings.Join(lines, "|")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		checkOrder(t, got)
	}
}

// checkOrder checks what holds for every transcript.
func checkOrder(t *testing.T, transcript recording.Transcript) {
	t.Helper()
	at := int64(0)
	for _, s := range transcript.Segments {
		if s.StartMs < at || s.EndMs < s.StartMs || s.Text == "" {
			t.Fatalf("after %d: %+v", at, s)
		}
		at = s.StartMs
		for _, w := range s.Words {
			if w.StartMs < at || w.EndMs < w.StartMs || w.EndMs > s.EndMs {
				t.Fatalf("after %d: %+v", at, w)
			}
			at = w.EndMs
		}
		at = s.EndMs
	}
}

func TestJoinDescribes(t *testing.T) {
	t.Parallel()
	spans := []Span{{0, 10 * time.Second}, {10 * time.Second, 20 * time.Second}, {20 * time.Second, 30 * time.Second}}
	in := []recording.Transcript{{Language: "en", Provider: "whisper", Model: "tiny"}, heard(said(0, "a b c")), heard(said(0, "d e"))}
	in[1].Language = "de"
	got := Join(spans, in)
	if got.Language != "de" || got.Provider != "whisper" || got.Model != "tiny" {
		t.Errorf("%+v", got)
	}
	if got := Join(spans, in[:1]); got.Language != "en" || got.Segments == nil {
		t.Errorf("without speech: %+v", got)
	}
}

func TestSentences(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("word ", 25)
	pause := said(0, strings.Repeat("a ", 30)+strings.Repeat("b ", 30))
	for i := 30; i < 60; i++ {
		pause.Words[i].StartMs += 700
		pause.Words[i].EndMs += 700
	}
	pause.EndMs += 700
	for _, s := range []recording.Segment{
		said(0, "Yes. No. Maybe."),                             // short
		said(0, long+"end."),                                   // one sentence
		said(0, "The cat (it is old.) "+long+"end. Is it? No"), // several
		mute(said(0, long+"stop. "+long+"end.")),
		pause,
	} {
		s.Text = strings.TrimSpace(s.Text)
		got := Join([]Span{{0, time.Hour}}, []recording.Transcript{heard(s)})
		checkOrder(t, got)
		var texts []string
		for _, s := range got.Segments {
			texts = append(texts, s.Text)
			if s.EndMs-s.StartMs > longSentence.Milliseconds() {
				t.Errorf("%d ms: %s", s.EndMs-s.StartMs, s.Text)
			}
		}
		if strings.Join(texts, " ") != s.Text {
			t.Errorf("%q is %q", s.Text, texts)
		}
		t.Logf("%q", texts)
	}
}

// speaker has a known text, which engines hear in pieces.
type speaker struct {
	rnd   *rand.Rand
	words []recording.Word // the confidence is the word's number
}

func newSpeaker(seed uint64, words int) *speaker {
	s := &speaker{rnd: rand.New(rand.NewPCG(seed, 1))}
	at := int64(0)
	for i := range words {
		if s.rnd.IntN(15) == 0 {
			at += s.rnd.Int64N(1500)
		}
		number := float64(i)
		length := 150 + s.rnd.Int64N(500)
		s.words = append(s.words, recording.Word{Text: string(rune('a' + s.rnd.IntN(20))), StartMs: at, EndMs: at + length, Confidence: &number})
		at += length + s.rnd.Int64N(80)
	}
	return s
}

func (s *speaker) length() time.Duration {
	return time.Duration(s.words[len(s.words)-1].EndMs) * time.Millisecond
}

// hear returns a span as an engine hears it: a word in misheard is another one, times
// are off by up to jitterMs, and half a word at an end is anything or nothing.
func (s *speaker) hear(span Span, misheard int, jitterMs int64) recording.Transcript {
	var t recording.Transcript
	start, end := span.Start.Milliseconds(), span.End.Milliseconds()
	var now recording.Segment
	at := int64(0)
	for _, w := range s.words {
		switch {
		case w.EndMs <= start || w.StartMs >= end:
			continue
		case w.StartMs < start || w.EndMs > end:
			if s.rnd.IntN(2) == 0 {
				continue
			}
			w.Text = "half"
		case misheard > 0 && s.rnd.IntN(misheard) == 0:
			w.Text = string(rune('A' + s.rnd.IntN(26)))
		}
		shift := s.rnd.Int64N(2*jitterMs+1) - jitterMs
		w.StartMs = max(at, w.StartMs-start+shift)
		w.EndMs = max(w.StartMs, w.EndMs-start+shift)
		at = w.EndMs
		now.Words = append(now.Words, w)
		if s.rnd.IntN(12) == 0 {
			t.Segments, now = append(t.Segments, segmentOf(now.Words)), recording.Segment{}
		}
	}
	if len(now.Words) > 0 {
		t.Segments = append(t.Segments, segmentOf(now.Words))
	}
	return t
}

func segmentOf(words []recording.Word) recording.Segment {
	return recording.Segment{StartMs: words[0].StartMs, EndMs: words[len(words)-1].EndMs, Text: joinWords(words), Words: words}
}

// Every word is there exactly once, though pieces are cut in the middle of words,
// and each engine mishears others.
func TestJoinLosesNothing(t *testing.T) {
	t.Parallel()
	seams, misses := 0, 0
	for seed := range uint64(300) {
		for _, misheard := range []int{0, 10} {
			s := newSpeaker(seed, 400)
			spans := Cut(s.length(), nil, 40*time.Second)
			var pieces []recording.Transcript
			for _, span := range spans {
				pieces = append(pieces, s.hear(span, misheard, 150))
			}
			got := Join(spans, pieces)
			checkOrder(t, got)
			var numbers []int
			for _, segment := range got.Segments {
				if segment.Text != joinWords(segment.Words) {
					t.Fatalf("%q has the words %v", segment.Text, segment.Words)
				}
				for _, w := range segment.Words {
					numbers = append(numbers, int(*w.Confidence))
					if misheard == 0 && w.Text != s.words[int(*w.Confidence)].Text {
						t.Fatalf("word %v is %s", *w.Confidence, w.Text)
					}
				}
			}
			want := make([]int, len(s.words))
			for i := range want {
				want[i] = i
			}
			seams += len(spans) - 1
			if !slices.Equal(numbers, want) {
				misses++
				if misheard == 0 {
					t.Errorf("seed %d: %s", seed, cmp.Diff(want, numbers))
				}
			}
		}
	}
	t.Logf("%d seams, %d transcripts with a word lost or doubled where one in ten is misheard", seams, misses)
	if misses > 0 {
		t.Error("words were lost or doubled")
	}
}

// Whatever engines say, the transcript is in order and has no word that none said.
func FuzzJoin(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, int64(10_000), "one two three. four")
	}
	f.Fuzz(func(t *testing.T, seed uint64, scaleMs int64, text string) {
		if scaleMs <= 0 || len(text) > 1000 {
			t.Skip()
		}
		rnd := rand.New(rand.NewPCG(seed, 2))
		spans := Cut(100*time.Second, nil, 30*time.Second)
		words := 0
		var pieces []recording.Transcript
		for range spans {
			var h recording.Transcript
			for range rnd.IntN(5) {
				s := said(rnd.Int64N(scaleMs)-scaleMs/4, cleanText(text))
				if rnd.IntN(2) == 0 {
					s = mute(s)
				}
				words += len(strings.Fields(s.Text))
				h.Segments = append(h.Segments, s)
			}
			pieces = append(pieces, h)
		}
		got := Join(spans, pieces)
		checkOrder(t, got)
		for _, s := range got.Segments {
			words -= len(strings.Fields(s.Text))
		}
		if words < 0 {
			t.Fatalf("%d words too many", -words)
		}
	})
}
