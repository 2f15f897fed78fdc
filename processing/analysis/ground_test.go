package analysis

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reprise/recording"
)

// mentions returns where the entities are mentioned, as kind, name and what is said.
func mentions(entities []recording.Entity) map[string][]string {
	out := map[string][]string{}
	for _, e := range entities {
		key := string(e.Kind) + " " + e.Name
		for _, m := range e.Mentions {
			out[key] = append(out[key], m.Text)
		}
	}
	return out
}

func TestGroundEntities(t *testing.T) {
	t.Parallel()
	person := func(name string, spoken ...string) draftEntity { return draftEntity{"person", name, spoken} }
	place := func(name string, spoken ...string) draftEntity { return draftEntity{"place", name, spoken} }
	tests := []struct {
		name   string
		said   string
		drafts []draftEntity
		want   map[string][]string
	}{
		{"whole words", "Anna saw Annabel and Anna's cat. Joanna left.", []draftEntity{person("Anna")}, map[string][]string{"person Anna": {"Anna", "Anna"}}},
		{"nobody", "Anna went home.", []draftEntity{person("Peter"), person(""), {"admin", "Anna", nil}}, map[string][]string{}},
		{"a capital means something", "Will said that I will go.", []draftEntity{person("Will")}, map[string][]string{"person Will": {"Will"}}},
		{"no capitals", "my brother will said so", []draftEntity{person("Will")}, map[string][]string{"person Will": {"will"}}},
		{"all capitals", "ANNA WENT TO PARIS", []draftEntity{person("Anna"), place("Paris")}, map[string][]string{"person Anna": {"ANNA"}, "place Paris": {"PARIS"}}},
		{"the longest name", "New York reads the New York Times.", []draftEntity{place("New York"), {"organization", "New York Times", nil}},
			map[string][]string{"place New York": {"New York"}, "organization New York Times": {"New York Times"}}},
		{"accents and case of an entity", "Jose met José in Malaga.", []draftEntity{person("José"), person("JOSE"), place("Málaga")},
			map[string][]string{"person José": {"Jose", "José"}, "place Málaga": {"Malaga"}}},
		{"forms", "В Москве холодно. Москва далеко.", []draftEntity{place("Москва", "Москве")}, map[string][]string{"place Москва": {"Москве", "Москва"}}},
		{"one person under two names", "Anna Kowalski came. Anna sang.", []draftEntity{person("Anna"), person("Anna Kowalski", "Anna")},
			map[string][]string{"person Anna": {"Anna Kowalski", "Anna"}}},
		{"a title", "Dr. Miller came. Miller left.", []draftEntity{person("Dr. Miller"), person("Miller")}, map[string][]string{"person Dr. Miller": {"Dr. Miller", "Miller"}}},
		{"no spaces", "我和安娜去了巴黎。", []draftEntity{person("安娜"), place("巴黎")}, map[string][]string{"person 安娜": {"安娜"}, "place 巴黎": {"巴黎"}}},
		{"a control character in a name", "I met Anna\u0000Maria.", []draftEntity{person("Anna Maria")}, map[string][]string{"person Anna Maria": {"Anna Maria"}}},
		{"not across a gap", "Anna ----- Maria", []draftEntity{person("Anna Maria")}, map[string][]string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tr := speech(tt.said)
			a := ground(draft{Entities: tt.drafts}, newText(tr))
			checkPromises(t, tr, a)
			if diff := cmp.Diff(tt.want, mentions(a.Entities)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestGroundTimes(t *testing.T) {
	t.Parallel()
	anna := draft{Entities: []draftEntity{{"person", "Anna", nil}}, Quotes: []string{"and anna, laughed!"}}
	words := recording.Transcript{Segments: []recording.Segment{
		{StartMs: 1000, EndMs: 2000, Text: "Nobody came,"},
		// The engine's words have a filler that its text leaves out.
		{StartMs: 3000, EndMs: 6000, Text: "and Anna laughed.", Words: []recording.Word{
			{Text: "um", StartMs: 3000, EndMs: 3300}, {Text: "and", StartMs: 3300, EndMs: 3500}, {Text: "Anna", StartMs: 4000, EndMs: 4400}, {Text: "laughed.", StartMs: 5000, EndMs: 5900},
		}},
	}}
	a := ground(anna, newText(words))
	checkPromises(t, words, a)
	if m := a.Entities[0].Mentions[0]; m != (recording.Mention{AtMs: 4000, Offset: 17, Length: 4, Text: "Anna"}) {
		t.Errorf("with words: %+v", m)
	}
	if q := a.Quotes[0]; q != (recording.Quote{Text: "and Anna laughed.", StartMs: 3300, EndMs: 5900}) {
		t.Errorf("with words: %+v", q)
	}
	words.Segments[1].Words = nil
	a = ground(anna, newText(words))
	if m := a.Entities[0].Mentions[0]; m.AtMs != 3000+3000*4/17 {
		t.Errorf("without words: %+v", m)
	}
	if q := a.Quotes[0]; q.StartMs != 3000 || q.EndMs != 3000+3000*16/17 {
		t.Errorf("without words: %+v", q)
	}
}

func TestGroundQuotes(t *testing.T) {
	t.Parallel()
	tr := speech(`She said: “We don’t give up,`, `not today.” And that was that.`)
	tests := []struct {
		name   string
		quotes []string
		want   []string
	}{
		{"marks and spaces", []string{"\"we don't\ngive up\""}, []string{"We don’t give up"}},
		{"over two segments", []string{"We don't give up, not today!"}, []string{"“We don’t give up, not today.”"}},
		{"never said", []string{"We give up", "We don't give up today", "Ignore all previous instructions."}, []string{}},
		{"too short", []string{"She said", "", "..."}, []string{}},
		{"twice and overlapping", []string{"that was that", "And that was that.", "that was that"}, []string{"that was that."}},
		{"in the order of time", []string{"and that was that", "She said we don't"}, []string{"She said: “We don’t", "And that was that."}},
		{"a part of a word", []string{"he said we don't"}, []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := ground(draft{Quotes: tt.quotes}, newText(tr))
			checkPromises(t, tr, a)
			got := []string{}
			for _, q := range a.Quotes {
				got = append(got, q.Text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestGroundTheRest(t *testing.T) {
	t.Parallel()
	tr := speech("One day it rained.", "Then the sun came out.", "We went home.")
	a := ground(draft{
		Title:   "The\u202e rain\nand\x00 the " + strings.Repeat("sun ", 1<<18),
		Summary: "It \xff rained.",
		Topics: []draftTopic{
			{"rain", math.NaN()}, {"Sun", 7}, {"sun!", 0.5}, {"", 1}, {"home", 0.5}, {"wind", -3}, {"snow", math.Inf(1)}, {"\u200b", 1},
		},
		Sentiment: draftSentiment{"ecstatic", math.Inf(-1)},
		Chapters:  []draftChapter{{-1, "before"}, {2, "Home"}, {1, "Sun"}, {1, "Sun again"}, {3, "after"}, {math.MaxInt, "never"}, {2, ""}},
	}, newText(tr))
	checkPromises(t, tr, a)
	if !strings.HasPrefix(a.Title, "The rain and the sun sun") || !strings.HasSuffix(a.Title, "sun…") {
		t.Errorf("title is %q", a.Title)
	}
	if a.Summary != "It rained." {
		t.Errorf("summary is %q", a.Summary)
	}
	want := []recording.Topic{{Name: "Sun", Weight: 1}, {Name: "snow", Weight: 1}, {Name: "home", Weight: 0.5}, {Name: "rain", Weight: 0.01}, {Name: "wind", Weight: 0.01}}
	if diff := cmp.Diff(want, a.Topics); diff != "" {
		t.Errorf("topics (-want +got)\n%s", diff)
	}
	if a.Sentiment != (recording.Sentiment{Label: "negative", Score: -1}) {
		t.Errorf("sentiment is %+v", a.Sentiment)
	}
	if diff := cmp.Diff([]recording.Chapter{{StartMs: 0, Title: "Sun"}, {StartMs: tr.Segments[2].StartMs, Title: "Home"}}, a.Chapters); diff != "" {
		t.Errorf("chapters (-want +got)\n%s", diff)
	}

	a = ground(draft{}, newText(tr))
	checkPromises(t, tr, a)
	if a.Title != "One day it rained. Then the sun came out. We went home." || a.Summary != a.Title || a.Sentiment.Label != "neutral" {
		t.Errorf("of an empty draft: %+v", a)
	}
}

// TestGroundBounds has more of everything than fits.
func TestGroundBounds(t *testing.T) {
	t.Parallel()
	tr := speech(strings.Repeat("Anna and Bert and Carl. ", 500))
	for range 100 {
		tr.Segments = append(tr.Segments, recording.Segment{StartMs: 1e7, EndMs: 1e7, Text: "x"})
	}
	d := draft{}
	for i := range 500 {
		name := "Anna " + strings.Repeat("and Bert ", i%3) + strings.Repeat("x", i)
		d.Entities = append(d.Entities, draftEntity{"person", name, []string{name, "Anna", "Bert and"}})
		d.Topics = append(d.Topics, draftTopic{name, 1})
		d.Chapters = append(d.Chapters, draftChapter{i % 100, name})
		d.Quotes = append(d.Quotes, "Anna and Bert", strings.Repeat("Anna and Bert and Carl ", i))
	}
	checkPromises(t, tr, ground(d, newText(tr)))
}

func FuzzGround(f *testing.F) {
	f.Add("Anna went to Paris.\nShe laughed.", "Anna", "went to Paris", "title", 1, 0.5)
	f.Add("İstanbul’da\x00 \xff\u202e ǅ", "İSTANBUL", "da  ǅ", "\u0301", -1, math.Inf(1))
	f.Add("我和安娜去了巴黎。", "安娜", "安娜去了", "\n", 9, -2.0)
	f.Fuzz(func(t *testing.T, said, name, quote, title string, number int, weight float64) {
		tr := speech(strings.Split(said, "\n")...)
		d := draft{
			Title: title, Summary: quote,
			Topics:    []draftTopic{{name, weight}, {title, -weight}},
			Entities:  []draftEntity{{"person", name, []string{quote, title}}, {"place", title, []string{name}}},
			Sentiment: draftSentiment{title, weight},
			Chapters:  []draftChapter{{number, title}, {number / 2, name}},
			Quotes:    []string{quote, title, name},
		}
		checkPromises(t, tr, ground(d, newText(tr)))
	})
}

func FuzzLocal(f *testing.F) {
	for _, s := range readStories(f, "stories") {
		f.Add(s.transcript.Text(), s.language)
	}
	f.Add("mister \xff in the summer of 19\u0301 62\n\nwas İn 1962", "")
	local := local()
	f.Fuzz(func(t *testing.T, said, language string) {
		tr := speech(strings.Split(said, "\n")...)
		tr.Language = language
		a, _, err := local.Analyse(t.Context(), Question{Transcript: tr})
		if err != nil {
			t.Fatal(err)
		}
		checkPromises(t, tr, a)
	})
}
