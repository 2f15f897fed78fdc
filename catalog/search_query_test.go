package catalog

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]token{
		"":                      nil,
		" -- ":                  nil,
		"Don't stop":            {{"don", 0, 3}, {"t", 4, 5}, {"stop", 6, 10}},
		"ÉCOLE e\u0301":         {{"école", 0, 5}, {"é", 6, 8}},
		"東京へ2026":               {{"東", 0, 1}, {"京", 1, 2}, {"へ", 2, 3}, {"2026", 3, 7}},
		strings.Repeat("ä", 60): {{strings.Repeat("ä", 50), 0, 60}},
	} {
		if diff := cmp.Diff(want, tokens(text), cmp.AllowUnexported(token{})); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestDictionaryOf(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]string{
		"": "simple", "en": "english_stem", "en-GB": "english_stem", "EN_us": "english_stem", "de-AT": "german_stem", "nb": "norwegian_stem",
		"pl": "simple", "und": "simple", "x": "simple", "zh-Hans": "simple", "pt-BR": "portuguese_stem", "not a tag": "simple",
	} {
		if got := dictionaryOf(tag); got != want {
			t.Errorf("%q: %s, want %s", tag, got, want)
		}
	}
}

// english is a vocabulary of two dictionaries, for tests.
func english() vocabulary {
	return vocabulary{
		lexemes: map[string]map[string]string{
			"english_stem": {"walking": "walk", "cats": "cat", "dogs": "dog", "catalogue": "catalogu", "cat": "cat"},
			"simple":       {"walking": "walking", "cats": "cats", "dogs": "dogs", "the": "the", "of": "of", "catalogue": "catalogue", "cat": "cat"},
		},
		like: map[string][]string{"cat": {"cats", "catalogue"}},
	}
}

func TestTSQuery(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]searchQueries{
		"cats ":        {"(('cat' | 'cats'))", "(('cat' | 'cats'))", "(('cat' | 'cats'))"},
		"cats -dogs ":  {"(('cat' | 'cats') & !('dog' | 'dogs'))", "(('cat' | 'cats') & !('dog' | 'dogs'))", "(('cat' | 'cats') & !('dog' | 'dogs'))"},
		"the cats ":    {"(('cat' | 'cats'))", "(('cat' | 'cats'))", "(('cat' | 'cats'))"},
		"the ":         {"(('the'))", "(('the'))", "(('the'))"},
		"cats or dogs": {"(('cat' | 'cats')) | (('dog' | 'dogs'))", "(('cat' | 'cats')) | (('dog' | 'dogs'))", "(('cat' | 'cats')) | (('dog' | 'dogs'))"},
		"cat":          {"(('cat' | 'cats' | 'catalogu' | 'catalogue'))", "(('cat' | 'cats' | 'catalogu' | 'catalogue'))", "(('cat'))"},
		`"cats of dogs"`: {
			"((('cat' | 'cats') & ('dog' | 'dogs')))", "((('cat' | 'cats') <2> ('dog' | 'dogs')))", "((('cat' | 'cats') <2> ('dog' | 'dogs')))",
		},
		`cats -"dogs walking"`: {
			"(('cat' | 'cats'))", "(('cat' | 'cats') & !(('dog' | 'dogs') <1> ('walk' | 'walking')))", "(('cat' | 'cats') & !(('dog' | 'dogs') <1> ('walk' | 'walking')))",
		},
	} {
		q, err := parseQuery(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got := tsqueries(q, english())
		for _, s := range []*string{&got.loose, &got.full, &got.exact} {
			*s = strings.ReplaceAll(*s, "'catalogu' | 'catalogue' | 'cats'", "'cats' | 'catalogu' | 'catalogue'")
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(searchQueries{})); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

// Whatever is asked, it is refused or there is something positive in each alternative,
// and what is written for PostgreSQL has its quotes in pairs and its operators between
// operands.
func FuzzParseQuery(f *testing.F) {
	for _, seed := range []string{`cats "of dogs" -the or walk*`, "or or", `-"`, `a"b"c`, "'\\", "東京 -x", "|", "a or -b or", "\u00a0-\u3000"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := parseQuery(text)
		if err != nil {
			return
		}
		if utf8.RuneCountInString(text) > maxQueryRunes {
			t.Fatal("too long, and parsed")
		}
		v := vocabulary{lexemes: map[string]map[string]string{"simple": {}}, like: map[string][]string{}}
		for _, terms := range q.alternatives {
			positive := 0
			for _, term := range terms {
				if !term.not {
					positive++
				}
				for _, word := range term.words {
					v.lexemes["simple"][word] = word
				}
			}
			if positive == 0 {
				t.Fatalf("%q asks only for what is not there", text)
			}
		}
		for _, s := range []string{tsquery{}.of(q, v), tsquery{loose: true}.of(q, v), tsquery{exact: true}.of(q, v)} {
			if s == "" || strings.Count(s, "'")%2 != 0 || strings.Count(s, "(") != strings.Count(s, ")") || strings.Contains(s, "()") || strings.Contains(s, "& |") {
				t.Fatalf("%q becomes %s", text, s)
			}
		}
		q.sought(v)
	})
}

func FuzzSnippet(f *testing.F) {
	f.Add("the long winter of 1962", 3, 4)
	f.Add(strings.Repeat("äöü 東京 ", 60), 90, 91)
	f.Fuzz(func(t *testing.T, text string, one, other int) {
		p := passage{In: inTranscript, Text: text}
		marks := p.marks(1, slices.Compact([]int{min(one, other), max(one, other)}))
		if len(marks) == 0 || !utf8.ValidString(text) {
			return
		}
		s := p.snippet(marks)
		runes := []rune(s.Text)
		if len(s.Highlights) == 0 || len(runes) > max(maxSnippetRunes, marks[0].to-marks[0].from+leadRunes) {
			t.Fatalf("%v in %q", s.Highlights, s.Text)
		}
		for _, h := range s.Highlights {
			if h[0] < 0 || h[0] >= h[1] || h[1] > len(runes) {
				t.Fatalf("%v in %q", s.Highlights, s.Text)
			}
		}
	})
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for pair, want := range map[[2]string]int{
		{"john", "jonh"}: 1, {"philippa", "philipa"}: 1, {"änne", "anne"}: 1, {"", "ab"}: 2, {"cat", "cat"}: 0, {"ca", "abc"}: 3, {"kitten", "sitting"}: 3,
	} {
		if got := distance(pair[0], pair[1]); got != want {
			t.Errorf("%v: %d, want %d", pair, got, want)
		}
	}
}
