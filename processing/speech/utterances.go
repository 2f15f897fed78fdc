package speech

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"reprise/processing/provider"
	"reprise/recording"
)

// utterances are what an engine's program says it has heard, in seconds of the piece.
// It may have been taken over by what it heard: nothing of it is believed.
type utterances struct {
	Language string
	Segments []heardSegment
}

type heardSegment struct {
	utterance
	Words []utterance
}

type utterance struct {
	Start, End float64
	Text       string
	Confidence float64
}

const (
	// maxWordsPerSecond is more than anybody can say, and models that have got into a
	// loop do.
	maxWordsPerSecond = 30
	maxWordBytes      = 1 << 10
	// maxTextBytesPerSecond bounds segments that have no words.
	maxTextBytesPerSecond = 1 << 10
	// maxBeyond is how far a time may be beyond the piece: engines round up to what
	// they hear at once.
	maxBeyond = 30 * time.Second
)

// transcript returns what was said if all of it is possible in a piece of this
// length, else a *provider.ReplyError.
func (u utterances) transcript(length time.Duration) (recording.Transcript, error) {
	fail := func(format string, a ...any) (recording.Transcript, error) {
		return recording.Transcript{}, &provider.ReplyError{Err: fmt.Errorf(format, a...)}
	}
	t := recording.Transcript{Language: u.Language, Segments: []recording.Segment{}}
	seconds := int(length/time.Second) + 1
	words, bytes := 0, 0
	for _, s := range u.Segments {
		words += max(1, len(s.Words))
		bytes += len(s.Text)
		if words > maxWordsPerSecond*seconds || bytes > maxTextBytesPerSecond*seconds {
			return fail("more words than can be said in %d s", seconds)
		}
		segment, err := s.word(length)
		if err != nil {
			return fail("segment: %w", err)
		}
		out := recording.Segment{StartMs: segment.StartMs, EndMs: segment.EndMs, Text: segment.Text, Confidence: segment.Confidence}
		for _, said := range s.Words {
			w, err := said.word(length)
			if err != nil {
				return fail("word: %w", err)
			}
			if len(w.Text) > maxWordBytes {
				return fail("a word of %d bytes", len(w.Text))
			}
			if w.Text != "" {
				out.Words = append(out.Words, w)
			}
		}
		if out.Text != "" {
			t.Segments = append(t.Segments, out)
		}
	}
	putInOrder(t.Segments)
	return t, nil
}

// word returns an utterance within a piece of this length.
func (u utterance) word(length time.Duration) (recording.Word, error) {
	last := (length + maxBeyond).Seconds()
	if !(u.Start >= -maxBeyond.Seconds() && u.Start <= last && u.End >= -maxBeyond.Seconds() && u.End <= last) { // nor NaN
		return recording.Word{}, errors.New("its times are outside the piece")
	}
	within := func(seconds float64) int64 { return min(max(int64(seconds*1000+0.5), 0), length.Milliseconds()) }
	w := recording.Word{Text: cleanText(u.Text), StartMs: within(u.Start)}
	w.EndMs = max(w.StartMs, within(u.End))
	if u.Confidence >= 0 && u.Confidence <= 1 {
		w.Confidence = &u.Confidence
	}
	return w, nil
}

// cleanText returns a text with single spaces where there is space or something that
// is not for reading, which databases don't all take.
func cleanText(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	return strings.Join(strings.Fields(text), " ")
}
