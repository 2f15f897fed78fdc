package analysis

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"reprise/recording"
)

// checkPromises fails the test unless an analysis is what every analysis has to be,
// whatever was said and whatever a model made of it. It knows nothing of how that is done.
func checkPromises(t *testing.T, tr recording.Transcript, a recording.Analysis) {
	t.Helper()
	encoded, err := json.Marshal(a)
	if err != nil {
		t.Fatalf("it has no JSON: %v", err)
	}
	if strings.Contains(string(encoded), "null") && !strings.Contains(tr.Text(), "null") && (a.Topics == nil || a.Entities == nil || a.Chapters == nil || a.Quotes == nil) {
		t.Errorf("a list is null: %s", encoded)
	}
	if len(encoded) > 5<<20 {
		t.Errorf("it has %d bytes", len(encoded))
	}
	runes := []rune(tr.Text())
	begin, end := int64(0), int64(0)
	if len(tr.Segments) > 0 {
		begin, end = tr.Segments[0].StartMs, tr.Segments[len(tr.Segments)-1].EndMs
	}
	within := func(what string, ms int64) {
		if ms < begin || ms > end {
			t.Errorf("%s is at %d ms, the transcript from %d to %d", what, ms, begin, end)
		}
	}
	checkLine(t, "title", a.Title, 120)
	checkLine(t, "summary", a.Summary, 2000)
	if len(a.Topics) > 20 || len(a.Entities) > 100 || len(a.Chapters) > 50 || len(a.Quotes) > 20 {
		t.Errorf("%d topics, %d entities, %d chapters, %d quotes", len(a.Topics), len(a.Entities), len(a.Chapters), len(a.Quotes))
	}
	for i, topic := range a.Topics {
		checkLine(t, "topic", topic.Name, 120)
		if topic.Name == "" || !(topic.Weight > 0 && topic.Weight <= 1) || i > 0 && topic.Weight > a.Topics[i-1].Weight {
			t.Errorf("topic %d is %+v", i, topic)
		}
	}
	for _, e := range a.Entities {
		checkLine(t, "entity", e.Name, 120)
		if e.Name == "" || len(e.Mentions) == 0 || len(e.Mentions) > 200 {
			t.Errorf("entity %q has %d mentions", e.Name, len(e.Mentions))
		}
		if !slices.Contains([]recording.EntityKind{"person", "place", "organization", "date"}, e.Kind) {
			t.Errorf("entity %q is a %q", e.Name, e.Kind)
		}
		for i, m := range e.Mentions {
			within("a mention", m.AtMs)
			if m.Offset < 0 || m.Length <= 0 || m.Offset+m.Length > len(runes) || utf8.RuneCountInString(m.Text) != m.Length {
				t.Fatalf("mention of %q is %+v", e.Name, m)
			}
			if said := string(runes[m.Offset : m.Offset+m.Length]); plain(said) != plain(m.Text) {
				t.Errorf("mention %q, but there it says %q", m.Text, said)
			}
			if i > 0 && m.Offset <= e.Mentions[i-1].Offset {
				t.Errorf("mentions of %q are not in order", e.Name)
			}
		}
	}
	for i, q := range a.Quotes {
		checkLine(t, "quote", q.Text, 605)
		within("a quote", q.StartMs)
		within("a quote", q.EndMs)
		if !strings.Contains(plain(tr.Text()), plain(q.Text)) {
			t.Errorf("nobody said %q", q.Text)
		}
		if q.StartMs > q.EndMs || i > 0 && q.StartMs < a.Quotes[i-1].StartMs {
			t.Errorf("quote %d is from %d to %d ms", i, q.StartMs, q.EndMs)
		}
	}
	for i, c := range a.Chapters {
		checkLine(t, "chapter", c.Title, 120)
		within("a chapter", c.StartMs)
		if i == 0 && c.StartMs != begin || i > 0 && c.StartMs < a.Chapters[i-1].StartMs {
			t.Errorf("chapter %d begins at %d ms", i, c.StartMs)
		}
	}
	if len(tr.Segments) > 0 && len(a.Chapters) == 0 {
		t.Error("it has no chapter")
	}
	if s := a.Sentiment; math.IsNaN(s.Score) || s.Score < -1 || s.Score > 1 || !slices.Contains([]string{"positive", "neutral", "negative", "mixed"}, s.Label) {
		t.Errorf("sentiment is %+v", s)
	}
}

// checkLine fails unless s is one line of at most limit characters that acts on nothing.
func checkLine(t *testing.T, what, s string, limit int) {
	t.Helper()
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > limit {
		t.Errorf("%s has %d characters, or wrong ones: %.80q", what, utf8.RuneCountInString(s), s)
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == '\u202e' || r == '\u2028' || r == '\ufeff' }); i >= 0 {
		t.Errorf("%s has a control character at %d: %.80q", what, i, s)
	}
}

// plain has one space for everything that separates or acts.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Z, unicode.Co, unicode.Cs) {
			return ' '
		}
		return r
	}, string([]rune(s)))
	return strings.Join(strings.Fields(s), " ")
}
