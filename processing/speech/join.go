package speech

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"reprise/recording"
)

// Join returns one transcript of what was heard in the spans of a recording, which
// are those of Cut. Where spans overlap, the words of both are compared, and the
// transcript goes over from one to the other at a word that both have, so that
// none is lost or there twice. Segments that are much longer than a sentence are
// divided. The language is the one that most of the speech is in.
func Join(spans []Span, heard []recording.Transcript) recording.Transcript {
	var joined recording.Transcript
	var all []part
	for i, span := range spans[:min(len(spans), len(heard))] {
		parts := place(heard[i].Segments, span)
		if i > 0 && span.Start < spans[i-1].End {
			all, parts = splice(all, parts, span.Start.Milliseconds(), spans[i-1].End.Milliseconds())
		}
		all = append(all, parts...)
		joined.Provider, joined.Model = cmp.Or(joined.Provider, heard[i].Provider), cmp.Or(joined.Model, heard[i].Model)
	}
	joined.Language = mainLanguage(heard)
	joined.Segments = []recording.Segment{}
	for _, p := range all {
		for _, sentence := range p.sentences() {
			joined.Segments = append(joined.Segments, sentence.segment())
		}
	}
	putInOrder(joined.Segments)
	return joined
}

// part is a segment in the recording's time, or what a seam has left of it.
type part struct {
	startMs, endMs int64
	text           string
	confidence     *float64
	words          []recording.Word
	guessed        bool // the words are those of the text, at times that are guessed
	// It has lost words at a seam.
	tornStart, tornEnd bool
}

// place returns a piece's segments in the recording's time, in order.
func place(segments []recording.Segment, span Span) []part {
	start, end := span.Start.Milliseconds(), span.End.Milliseconds()
	within := func(ms int64) int64 { return min(max(start+max(ms, 0), start), end) }
	var parts []part
	for _, s := range segments {
		p := part{startMs: within(s.StartMs), text: strings.TrimSpace(s.Text), confidence: s.Confidence}
		p.endMs = max(p.startMs, within(s.EndMs))
		for _, w := range s.Words {
			w.StartMs, w.EndMs = within(w.StartMs), within(w.EndMs)
			p.words = append(p.words, w)
		}
		if p.text == "" {
			continue
		}
		if len(p.words) == 0 {
			p.words, p.guessed = guessWords(p), true
		}
		parts = append(parts, p)
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(a.startMs, b.startMs) })
	return parts
}

// guessWords returns the words of a text, each as long as its share of the letters.
func guessWords(p part) []recording.Word {
	fields := strings.Fields(p.text)
	letters := int64(0)
	for _, f := range fields {
		letters += int64(len(f))
	}
	words := make([]recording.Word, len(fields))
	before := int64(0)
	for i, f := range fields {
		words[i] = recording.Word{Text: f, StartMs: p.startMs + (p.endMs-p.startMs)*before/letters}
		before += int64(len(f))
		words[i].EndMs = p.startMs + (p.endMs-p.startMs)*before/letters
	}
	return words
}

// segment returns what the part is in a transcript.
func (p part) segment() recording.Segment {
	s := recording.Segment{StartMs: p.startMs, EndMs: p.endMs, Text: p.text, Confidence: p.confidence}
	if !p.guessed {
		s.Words = p.words
	}
	return s
}

// slice returns the part with the words from one to before another.
func (p part) slice(from, to int) part {
	words := p.words[from:to]
	cut := p
	cut.text, cut.words = p.textOf(from, to), words
	if from > 0 {
		cut.startMs, cut.tornStart = words[0].StartMs, true
	}
	if to < len(p.words) {
		cut.endMs, cut.tornEnd = words[len(words)-1].EndMs, true
	}
	cut.endMs = max(cut.startMs, cut.endMs)
	return cut
}

// textOf returns the text of some of the words as it is in the part's text, which
// knows whether the language has spaces.
func (p part) textOf(from, to int) string {
	start, end, at := 0, len(p.text), 0
	for i, w := range p.words[:min(to+1, len(p.words))] {
		found := strings.Index(p.text[at:], w.Text)
		if found < 0 {
			return joinWords(p.words[from:to])
		}
		switch i {
		case from:
			start = at + found
		case to:
			end = at + found
		}
		at += found + len(w.Text)
	}
	return strings.TrimSpace(p.text[start:end])
}

func joinWords(words []recording.Word) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = w.Text
	}
	return strings.Join(texts, " ")
}

const (
	// longSegment is how long a segment may be before it is divided between sentences.
	longSegment = 10 * time.Second
	// longSentence is how long it may be before it is divided within one.
	longSentence = 20 * time.Second
)

// sentences returns the part in pieces of about a sentence.
func (p part) sentences() []part {
	length := time.Duration(p.endMs-p.startMs) * time.Millisecond
	if length <= longSegment {
		return []part{p}
	}
	middle := p.startMs + (p.endMs-p.startMs)/2
	best, pause := 0, int64(-1)
	for i := 1; i < len(p.words); i++ {
		if before := p.words[i-1]; endsSentence(before.Text) && (best == 0 || distance(before.EndMs, middle) < distance(p.words[best-1].EndMs, middle)) {
			best = i
		}
	}
	if best == 0 && length > longSentence {
		for i := 1; i < len(p.words); i++ {
			if gap := p.words[i].StartMs - p.words[i-1].EndMs; gap > pause {
				best, pause = i, gap
			}
		}
	}
	if best == 0 {
		return []part{p}
	}
	return append(p.slice(0, best).sentences(), p.slice(best, len(p.words)).sentences()...)
}

// endsSentence reports whether a word has the sign at its end that ends a sentence.
func endsSentence(word string) bool {
	word = strings.TrimRight(word, `"'”’»)]`)
	return strings.HasSuffix(word, ".") || strings.HasSuffix(word, "?") || strings.HasSuffix(word, "!") || strings.HasSuffix(word, "…") ||
		strings.HasSuffix(word, "。") || strings.HasSuffix(word, "？") || strings.HasSuffix(word, "！")
}

func distance(a, b int64) int64 { return max(a, b) - min(a, b) }

// putInOrder moves times that overlap, by the little that engines and seams are off.
func putInOrder(segments []recording.Segment) {
	last := int64(0)
	for i := range segments {
		s := &segments[i]
		s.StartMs = max(s.StartMs, last)
		at := s.StartMs
		for j := range s.Words {
			w := &s.Words[j]
			w.StartMs = max(w.StartMs, at)
			w.EndMs = max(w.EndMs, w.StartMs)
			at = w.EndMs
		}
		s.EndMs = max(s.EndMs, at)
		last = s.EndMs
	}
}

// mainLanguage returns the language that is spoken for longest.
func mainLanguage(heard []recording.Transcript) string {
	spoken := map[string]int64{}
	main := ""
	for _, t := range heard {
		main = cmp.Or(main, t.Language)
		for _, s := range t.Segments {
			spoken[t.Language] += s.EndMs - s.StartMs
		}
	}
	delete(spoken, "")
	for _, t := range heard { // in this order, so that the first of equals wins
		if spoken[t.Language] > spoken[main] {
			main = t.Language
		}
	}
	return main
}
