package analysis

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/blevesearch/snowballstem"
	"github.com/blevesearch/snowballstem/english"
	"github.com/blevesearch/snowballstem/french"
	"github.com/blevesearch/snowballstem/german"
	"github.com/blevesearch/snowballstem/italian"
	"github.com/blevesearch/snowballstem/russian"
	"github.com/blevesearch/snowballstem/spanish"
)

// A reader knows what the words of one transcript are worth. It is made for one
// analysis and not safe for concurrent use.
type reader struct {
	*text
	lexicon *lexicon
	lang    string // base language, "" if unknown
	// stems has each atom's, "" for a word that says nothing by itself.
	stems []string
}

func newReader(x *text, l *lexicon, lang string) *reader {
	r := &reader{text: x, lexicon: l, lang: lang, stems: make([]string, len(x.atoms))}
	common := map[string]bool{}
	if l.stop[lang] == nil {
		common = x.commonWords()
	}
	stem := stemmer(lang)
	known := map[string]string{}
	for i, a := range x.atoms {
		if r.empty(a, common) {
			continue
		}
		s, ok := known[a.norm]
		if !ok {
			s = stem(strings.ToLower(string(x.runes[a.from:a.to])))
			known[a.norm] = s
		}
		r.stems[i] = s
	}
	return r
}

// empty reports whether a word says nothing about a recording.
func (r *reader) empty(a atom, common map[string]bool) bool {
	length := a.to - a.from
	first := r.runes[a.from]
	return unicode.IsDigit(first) || length < 3 && !standsAlone(first) && !(a.upper && length == 2 && unicode.IsUpper(r.runes[a.from+1])) ||
		length > 40 || r.lexicon.stop[r.lang].has(a.norm, false) || common[a.norm]
}

// commonWords guesses the stop words of a language without a list: what is said again
// and again, and mostly short.
func (x *text) commonWords() map[string]bool {
	counts := map[string]int{}
	for _, a := range x.atoms {
		counts[a.norm]++
	}
	common := map[string]bool{}
	for w, n := range counts {
		length := utf8.RuneCountInString(w)
		share := float64(n) / float64(len(x.atoms))
		if n > 5 && (share > 0.02 || length <= 4 && share > 0.008) {
			common[w] = true
		}
	}
	return common
}

// stemmer returns the one of a language, which makes one word of its forms.
func stemmer(lang string) func(string) string {
	stem := map[string]func(*snowballstem.Env) bool{
		"en": english.Stem, "de": german.Stem, "fr": french.Stem, "es": spanish.Stem, "it": italian.Stem, "ru": russian.Stem,
	}[lang]
	if stem == nil {
		return func(word string) string { return word }
	}
	return func(word string) string {
		env := snowballstem.NewEnv(word)
		stem(env)
		return env.Current()
	}
}

// A phrase is one to three words that stand together.
type phrase struct {
	stems []string
	name  string // in the form that is said most
	count int
	first int // atom
	score float64
}

// longestPhrase in words: longer ones are sentences.
const longestPhrase = 3

// phrases returns the key phrases between two atoms, the weightiest first. Like RAKE
// it takes the runs of words between stop words and punctuation; what is said more
// often, earlier and in more words weighs more.
func (r *reader) phrases(from, to int) []phrase {
	type tally struct {
		phrase
		forms map[string]int
	}
	found := map[string]*tally{}
	for start := from; start < to; start++ {
		for length := 1; length <= longestPhrase && start+length <= to; length++ {
			last := start + length - 1
			if r.stems[last] == "" || length > 1 && !r.joined(last) {
				break
			}
			if r.weak(start) || r.weak(last) {
				continue
			}
			key := strings.Join(r.stems[start:last+1], " ")
			t := found[key]
			if t == nil {
				t = &tally{phrase{stems: r.stems[start : last+1], first: start}, map[string]int{}}
				found[key] = t
			}
			t.count++
			t.forms[r.slice(r.atoms[start].from, r.atoms[last].to)]++
		}
	}
	var out []phrase
	for _, key := range slices.Sorted(maps.Keys(found)) {
		t := found[key]
		t.name = mostSaid(t.forms)
		if small := strings.ToLower(t.name); t.forms[small] > 0 {
			t.name = small // a capital was the sentence's
		}
		if len(t.stems) > 1 && t.count < 2 && (to-from > shortText || r.lang != "en") {
			continue // a chance meeting, or a name with its verb
		}
		early := 1 - float64(t.first-from)/float64(to-from)
		letters := min(1, float64(utf8.RuneCountInString(t.name))/float64(6*len(t.stems)))
		t.score = math.Sqrt(float64(t.count)) * math.Pow(float64(len(t.stems)), 0.6) * (0.6 + 0.4*letters) * (1 + 0.25*early)
		out = append(out, t.phrase)
	}
	slices.SortStableFunc(out, func(a, b phrase) int { return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.first, b.first)) })
	return out
}

// shortText is so short, in words, that nothing need be said twice in it.
const shortText = 120

// joined reports whether nothing but a space or a hyphen is between an atom and the one
// before.
func (r *reader) joined(i int) bool {
	between := r.slice(r.atoms[i-1].to, r.atoms[i].from)
	return (between == " " || between == "-" || between == "") && r.atoms[i-1].segment == r.atoms[i].segment
}

// weak reports whether a word is no beginning and no end of a key phrase.
func (r *reader) weak(i int) bool {
	if r.lang != "en" {
		return false
	}
	w := r.atoms[i].norm
	// Adverbs and most forms of verbs; what else ends so (a family, a wedding) is more often
	// a noun if it is short or said by name.
	verb := strings.HasSuffix(w, "ed") && len(w) > 5 || strings.HasSuffix(w, "ly") && len(w) > 6
	return r.lexicon.weak.has(w, false) || verb
}

// mostSaid returns the form that is counted most, and of those the first in order.
func mostSaid(forms map[string]int) string {
	best := ""
	for _, f := range slices.Sorted(maps.Keys(forms)) {
		if best == "" || forms[f] > forms[best] {
			best = f
		}
	}
	return best
}

// distinct returns the first count phrases that don't repeat each other's words, or
// what skip says.
func distinct(phrases []phrase, count int, skip func(phrase) bool) []phrase {
	var out []phrase
	used := map[string]bool{}
	for _, p := range phrases {
		if len(out) == count {
			break
		}
		if skip(p) || slices.ContainsFunc(p.stems, func(s string) bool { return used[s] }) {
			continue
		}
		for _, s := range p.stems {
			used[s] = true
		}
		out = append(out, p)
	}
	return out
}
