package analysis

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"reprise/recording"
)

const wordMs = 400 // of each word in the transcripts of tests

// speech is a transcript of lines, one segment each, in which each word takes wordMs.
func speech(lines ...string) recording.Transcript {
	var t recording.Transcript
	at := int64(0)
	for _, l := range lines {
		s := recording.Segment{StartMs: at, Text: l}
		for _, w := range strings.Fields(l) {
			s.Words = append(s.Words, recording.Word{Text: w, StartMs: at, EndMs: at + wordMs})
			at += wordMs
		}
		s.EndMs = at
		at += 300
		t.Segments = append(t.Segments, s)
	}
	return t
}

// A story is a transcript of testdata with what a careful person finds in it.
type story struct {
	name       string
	language   string
	transcript recording.Transcript
	topics     []string
	entities   map[recording.EntityKind][]string
}

func readStories(t testing.TB, folder string) []story {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	var stories []story
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		head, body, _ := strings.Cut(string(data), "\n\n")
		s := story{name: strings.TrimSuffix(filepath.Base(f), ".txt"), entities: map[recording.EntityKind][]string{}}
		s.transcript = speech(strings.Split(strings.TrimSpace(body), "\n")...)
		for l := range strings.Lines(head) {
			key, value, _ := strings.Cut(strings.TrimSpace(l), ": ")
			switch list := strings.Split(value, "; "); key {
			case "language":
				s.language = value
			case "topics":
				s.topics = list
			case "person", "place", "organization", "date":
				s.entities[recording.EntityKind(key)] = list
			}
		}
		stories = append(stories, s)
	}
	return stories
}

// local is shared by the tests: making it takes a while, and it is safe to share.
var local = sync.OnceValue(NewLocal)

func analyse(t testing.TB, tr recording.Transcript) recording.Analysis {
	t.Helper()
	a, tokens, err := local().Analyse(t.Context(), Question{Transcript: tr})
	if err != nil || tokens != 0 {
		t.Fatalf("Analyse: %d tokens, %v", tokens, err)
	}
	return a
}

func TestLocalReadsStories(t *testing.T) {
	t.Parallel()
	for _, s := range readStories(t, "stories") {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			a := analyse(t, s.transcript)
			checkPromises(t, s.transcript, a)
			t.Logf("title: %s\nsummary: %s\ntopics: %v\nsentiment: %v\nquotes: %v", a.Title, a.Summary, a.Topics, a.Sentiment, a.Quotes)
			if a.Language != s.language {
				t.Errorf("language is %q, want %q", a.Language, s.language)
			}
			var names []string
			for _, topic := range a.Topics {
				names = append(names, strings.ToLower(topic.Name))
			}
			if !slices.ContainsFunc(s.topics, func(want string) bool {
				return slices.ContainsFunc(names[:min(3, len(names))], func(got string) bool { return strings.Contains(got, strings.ToLower(want)) })
			}) {
				t.Errorf("none of %q is among the first topics: %q", s.topics, names)
			}
			if len(a.Quotes) == 0 || a.Title == "" {
				t.Errorf("title %q, %d quotes", a.Title, len(a.Quotes))
			}
			words := len(strings.Fields(s.transcript.Text()))
			if n := len(strings.Fields(a.Summary)); n < 8 || n > words/2 {
				t.Errorf("the summary has %d of %d words", n, words)
			}
		})
	}
}

// A score counts what was found, rightly or not, and what wasn't.
type score struct{ right, wrong, missed int }

func (s *score) add(o score) {
	s.right, s.wrong, s.missed = s.right+o.right, s.wrong+o.wrong, s.missed+o.missed
}

func (s score) precision() float64 { return float64(s.right) / float64(max(1, s.right+s.wrong)) }
func (s score) recall() float64    { return float64(s.right) / float64(max(1, s.right+s.missed)) }

// compare counts the entities of one kind. A name is right if it is the whole name.
func compare(t *testing.T, kind recording.EntityKind, want []string, found []recording.Entity) (s score) {
	key := func(name string) string {
		return strings.Join(norms(strings.TrimPrefix(strings.ToLower(name), "the ")), " ")
	}
	left := map[string]bool{}
	for _, w := range want {
		left[key(w)] = true
	}
	for _, e := range found {
		switch k := key(e.Name); {
		case e.Kind != kind:
		case left[k]:
			s.right++
			delete(left, k)
		default:
			s.wrong++
			t.Logf("%s: wrong %s %q", t.Name(), kind, e.Name)
		}
	}
	s.missed = len(left)
	for k := range left {
		t.Logf("%s: missed %s %q", t.Name(), kind, k)
	}
	return s
}

// TestLocalFindsNames measures the local analyst: on the stories with which its rules were
// made, and on others that were written afterwards and that no rule or list was changed
// for. The floors are a little below what it has reached, so that a change that makes it
// worse is seen.
func TestLocalFindsNames(t *testing.T) {
	t.Parallel()
	floors := map[string][2]float64{"stories": {0.95, 0.95}, "heldout": {0.85, 0.78}}
	for folder, floor := range floors {
		totals := map[string]*score{}
		for _, s := range readStories(t, folder) {
			a := analyse(t, s.transcript)
			checkPromises(t, s.transcript, a)
			t.Logf("%s: title: %s; topics: %v; %v", s.name, a.Title, a.Topics, a.Sentiment)
			group := "other languages"
			if s.language == "en" {
				group = "English"
				if !newText(s.transcript).cased {
					group = "English without capitals"
				}
			}
			for _, kind := range kinds() {
				got := compare(t, kind, s.entities[kind], a.Entities)
				for _, key := range []string{group, string(kind), "all"} {
					if totals[key] == nil {
						totals[key] = &score{}
					}
					totals[key].add(got)
				}
			}
		}
		for _, key := range slices.Sorted(maps.Keys(totals)) {
			s := *totals[key]
			t.Logf("%s: %-25s precision %.2f recall %.2f (%d right, %d wrong, %d missed)", folder, key, s.precision(), s.recall(), s.right, s.wrong, s.missed)
		}
		if s := totals["all"]; s.precision() < floor[0] || s.recall() < floor[1] {
			t.Errorf("%s: below the floor of %v", folder, floor)
		}
	}
}

func kinds() []recording.EntityKind {
	return []recording.EntityKind{recording.EntityPerson, recording.EntityPlace, recording.EntityOrganization, recording.EntityDate}
}
