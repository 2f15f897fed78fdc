package analysis

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"reprise/recording"
)

const (
	// windowChars of a transcript are asked about at a time: some 4,000 words, which with
	// the instructions and the answer fit models that read 16,000 tokens, and which small
	// ones still read with care.
	windowChars = 24_000
	// maxWindows bound what one recording can cost. They hold six hours of quick speech.
	maxWindows = 20
)

// A window is what a model is given of a transcript, as JSON.
type window struct {
	Language string          `json:"language"` // "" if unknown
	Segments []windowSegment `json:"segments"`
	chars    int
}

type windowSegment struct {
	Index int    `json:"i"`
	Text  string `json:"text"`
}

// windows cuts a transcript between segments, and within those that are longer than a
// window. Left is where the part begins that is beyond all windows; nil if there is none.
func windows(x *text, language string) (out []window, leftMs *int64) {
	w := window{Language: language}
	for i, s := range x.segments {
		rest := []rune(line(s.Text, len(s.Text)))
		for len(rest) > 0 {
			if w.chars > 0 && w.chars+len(rest) > windowChars {
				out, w = append(out, w), window{Language: language}
			}
			if len(out) == maxWindows {
				return out, &s.StartMs
			}
			piece := rest[:min(len(rest), windowChars)]
			rest = rest[len(piece):]
			w.Segments = append(w.Segments, windowSegment{Index: i, Text: string(piece)})
			w.chars += len(piece)
		}
	}
	if w.chars > 0 {
		out = append(out, w)
	}
	return out, nil
}

// merge makes one draft of those of the windows. It takes as much of each, so that the
// end of a recording is not lost to its beginning; title and summary are left to the
// caller.
func merge(drafts []draft, ws []window) draft {
	if len(drafts) == 1 {
		return drafts[0]
	}
	var d draft
	topics := map[string]int{}
	for _, part := range drafts {
		for _, t := range part.Topics {
			key := strings.Join(norms(line(t.Name, maxName)), " ")
			i, known := topics[key]
			if !known {
				i, topics[key] = len(d.Topics), len(d.Topics)
				d.Topics = append(d.Topics, draftTopic{Name: t.Name})
			}
			d.Topics[i].Weight += clamp(t.Weight, 0, 1) / float64(len(drafts))
		}
		d.Entities = append(d.Entities, part.Entities...)
		d.Chapters = append(d.Chapters, part.Chapters[:min(len(part.Chapters), max(1, maxChapters/len(drafts)))]...)
		d.Quotes = append(d.Quotes, part.Quotes[:min(len(part.Quotes), max(1, maxQuotes/len(drafts)))]...)
	}
	slices.SortStableFunc(d.Topics, func(a, b draftTopic) int { return cmp.Compare(b.Weight, a.Weight) })
	if len(d.Topics) > 0 && d.Topics[0].Weight > 0 {
		heaviest := d.Topics[0].Weight
		for i := range d.Topics {
			d.Topics[i].Weight /= heaviest
		}
	}
	d.Sentiment = mergeSentiments(drafts, ws)
	return d
}

// mergeSentiments returns the mean mood of the windows by their length; mixed if it goes
// both ways.
func mergeSentiments(drafts []draft, ws []window) draftSentiment {
	var sum, chars float64
	seen := map[string]bool{}
	for i, d := range drafts {
		s := groundSentiment(d.Sentiment)
		seen[s.Label] = true
		sum += s.Score * float64(ws[i].chars)
		chars += float64(ws[i].chars)
	}
	mean := sum / max(1, chars)
	if seen[moodPositive] && seen[moodNegative] || seen[moodMixed] {
		return draftSentiment{Label: moodMixed, Score: mean}
	}
	return draftSentiment{Label: moodOf(mean), Score: mean}
}

// summaries returns the windows' summaries as one more window, of which the whole's title
// and summary can be made.
func summaries(drafts []draft, language string) window {
	w := window{Language: language}
	for i, d := range drafts {
		w.Segments = append(w.Segments, windowSegment{Index: i, Text: line(d.Summary, windowChars/maxWindows)})
	}
	return w
}

// unread is what a summary says if it doesn't cover everything.
func unread(x *text, leftMs int64) string {
	end := x.segments[len(x.segments)-1].EndMs
	return fmt.Sprintf("(This covers the first %s of %s.)", spell(leftMs), spell(end))
}

func spell(ms int64) string {
	return (time.Duration(ms) * time.Millisecond).Round(time.Second).String()
}

// withNote appends a note to a summary, which is cut for it if need be.
func withNote(a recording.Analysis, note string) recording.Analysis {
	a.Summary = line(a.Summary, maxSummary-len(note)-1) + " " + note
	return a
}
