package analysis

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"reprise/recording"
)

// Bounds of an analysis, whatever a transcript or a model holds. They keep a row
// below about a megabyte, and a page readable.
const (
	maxTitle    = 120  // characters: two lines on a phone
	maxSummary  = 2000 // characters: a page
	maxName     = 120  // characters, of a topic, an entity, a chapter
	maxTopics   = 20
	maxEntities = 100
	maxForms    = 12  // ways to name one entity: inflected, short, with a title
	maxMentions = 200 // kept of one entity
	maxChapters = 50
	maxQuotes   = 20
	maxQuote    = 600 // characters
	minQuote    = 3   // words: fewer say nothing
)

// ground makes an analysis of a draft: what names a place in the transcript is looked
// up there and left out if it isn't there, and everything is bounded. It is the only
// way to an analysis, so that nothing a model returns gets around it.
func ground(d draft, x *text) recording.Analysis {
	a := recording.Analysis{
		Title:     line(d.Title, maxTitle),
		Summary:   line(d.Summary, maxSummary),
		Topics:    groundTopics(d.Topics),
		Entities:  groundEntities(d.Entities, x),
		Sentiment: groundSentiment(d.Sentiment),
		Quotes:    groundQuotes(d.Quotes, x),
	}
	opening := x.slice(0, min(len(x.runes), 2*maxSummary))
	if a.Title == "" {
		a.Title = line(opening, maxTitle/2)
	}
	if a.Summary == "" {
		a.Summary = line(opening, maxSummary/4)
	}
	a.Chapters = groundChapters(d.Chapters, x, a.Title)
	return a
}

func groundTopics(drafts []draftTopic) []recording.Topic {
	topics := []recording.Topic{}
	seen := map[string]bool{}
	for _, d := range drafts {
		name := line(d.Name, maxName)
		key := strings.Join(norms(name), " ")
		if key == "" || seen[key] {
			continue
		}
		seen[key] = true
		topics = append(topics, recording.Topic{Name: name, Weight: clamp(d.Weight, 0.01, 1)})
	}
	slices.SortStableFunc(topics, func(a, b recording.Topic) int { return cmp.Compare(b.Weight, a.Weight) })
	return topics[:min(len(topics), maxTopics)]
}

// clamp returns v between low and high, and low for what is no number.
func clamp(v, low, high float64) float64 {
	if math.IsNaN(v) {
		return low
	}
	return min(max(v, low), high)
}

// Moods that a recording.Sentiment can have.
const (
	moodPositive = "positive"
	moodNeutral  = "neutral"
	moodNegative = "negative"
	moodMixed    = "mixed"
)

func groundSentiment(d draftSentiment) recording.Sentiment {
	s := recording.Sentiment{Label: strings.ToLower(strings.TrimSpace(d.Label))}
	if !math.IsNaN(d.Score) {
		s.Score = clamp(d.Score, -1, 1)
	}
	switch s.Label {
	case moodPositive, moodNeutral, moodNegative, moodMixed:
	default:
		s.Label = moodOf(s.Score)
	}
	return s
}

// moodOf returns the label of a score by itself.
func moodOf(score float64) string {
	switch {
	case score >= 0.15:
		return moodPositive
	case score <= -0.15:
		return moodNegative
	}
	return moodNeutral
}

// groundChapters returns the chapters in order. A recording that has none is one
// chapter.
func groundChapters(drafts []draftChapter, x *text, title string) []recording.Chapter {
	if len(x.segments) == 0 {
		return []recording.Chapter{}
	}
	valid := slices.DeleteFunc(slices.Clone(drafts), func(d draftChapter) bool {
		return d.Segment < 0 || d.Segment >= len(x.segments) || line(d.Title, maxName) == ""
	})
	slices.SortStableFunc(valid, func(a, b draftChapter) int { return cmp.Compare(a.Segment, b.Segment) })
	valid = slices.CompactFunc(valid, func(a, b draftChapter) bool { return a.Segment == b.Segment })
	if len(valid) == 0 {
		valid = []draftChapter{{Title: title}}
	}
	valid[0].Segment = 0
	chapters := []recording.Chapter{}
	for _, d := range valid[:min(len(valid), maxChapters)] {
		chapters = append(chapters, recording.Chapter{StartMs: x.segments[d.Segment].StartMs, Title: line(d.Title, maxName)})
	}
	return chapters
}

// groundQuotes returns the quotes that are in the transcript, in its spelling.
func groundQuotes(drafts []string, x *text) []recording.Quote {
	type span struct{ first, last int } // atoms
	var spans []span
	for _, d := range drafts {
		if len(spans) == maxQuotes {
			break
		}
		if len(d) > 4*maxQuote { // bytes: it can't be short enough
			continue
		}
		wanted := norms(d)
		first, found := x.find(wanted)
		if !found || len(wanted) < minQuote {
			continue
		}
		s := span{first, first + len(wanted) - 1}
		overlaps := slices.ContainsFunc(spans, func(o span) bool { return s.first <= o.last && o.first <= s.last })
		if !overlaps && x.atoms[s.last].to-x.atoms[s.first].from <= maxQuote {
			spans = append(spans, s)
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	quotes := []recording.Quote{}
	for _, s := range spans {
		quotes = append(quotes, recording.Quote{Text: x.slice(x.span(s.first, s.last)), StartMs: x.atoms[s.first].startMs, EndMs: x.atoms[s.last].endMs})
	}
	return quotes
}

// find returns the first atom from which the transcript goes on like wanted.
func (x *text) find(wanted []string) (first int, found bool) {
	if len(wanted) == 0 {
		return 0, false
	}
	for i := 0; i+len(wanted) <= len(x.atoms); i++ {
		if x.matches(i, wanted) {
			return i, true
		}
	}
	return 0, false
}

func (x *text) matches(at int, wanted []string) bool {
	if at+len(wanted) > len(x.atoms) {
		return false
	}
	for i, w := range wanted {
		if x.atoms[at+i].norm != w {
			return false
		}
	}
	return true
}
