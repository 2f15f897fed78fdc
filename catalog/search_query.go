package catalog

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"reprise/recording"
)

// Limits of a query.
const (
	maxQueryRunes = 200
	maxQueryWords = 32
	minPrefix     = 2 // letters, before a word is completed
)

// query is what is looked for: recordings in which all terms of one of the alternatives
// are.
type query struct{ alternatives [][]term }

// term is a word, or some that follow each other.
type term struct {
	words  []string
	prefix bool // the last word is the beginning of one
	typed  bool // it may be, because it ends the query
	not    bool // must not be there
}

// parseQuery reads a query as people write them for search engines: words that must all
// be there; "a phrase"; -not; or; begin*. The last word is taken for the beginning of one,
// since it may still be being typed.
func parseQuery(text string) (query, error) {
	if n := utf8.RuneCountInString(text); n > maxQueryRunes || !utf8.ValidString(text) {
		return query{}, recording.Errorf(recording.CodeInvalidRequest, "The query has %d characters; at most %d of UTF-8 are allowed.", n, maxQueryRunes)
	}
	q := query{alternatives: [][]term{nil}}
	count := 0
	for rest := text; rest != ""; {
		var t term
		var bare string // as written, if it is not in quotes
		t, bare, rest = nextTerm(rest)
		at := &q.alternatives[len(q.alternatives)-1]
		switch {
		case isOr(bare) && len(*at) > 0 && strings.TrimSpace(rest) != "":
			q.alternatives = append(q.alternatives, nil)
		case len(t.words) > 0:
			count += len(t.words)
			t.typed = rest == "" && endsInWord(bare)
			*at = append(*at, t)
		}
	}
	if count > maxQueryWords {
		return query{}, recording.Errorf(recording.CodeInvalidRequest, "The query has %d words; at most %d are allowed.", count, maxQueryWords)
	}
	for _, terms := range q.alternatives {
		if !slices.ContainsFunc(terms, func(t term) bool { return !t.not }) {
			return query{}, recording.Errorf(recording.CodeInvalidRequest, "The query names no word to look for; with -, or and quotes there must be one that is to be found.")
		}
	}
	return q, nil
}

func isOr(bare string) bool { return strings.EqualFold(bare, "or") || bare == "|" }

func endsInWord(text string) bool {
	list := tokens(text)
	return len(list) > 0 && list[len(list)-1].to == utf8.RuneCountInString(text)
}

// nextTerm cuts the first term off a text, which is not empty.
func nextTerm(text string) (t term, bare, rest string) {
	text = strings.TrimLeft(text, " \t\r\n\v\f\u00a0\u3000")
	if after, ok := strings.CutPrefix(text, "-"); ok {
		t.not, text = true, after
	}
	if after, ok := strings.CutPrefix(text, `"`); ok {
		phrase, rest, _ := strings.Cut(after, `"`)
		t.words = words(phrase)
		return t, "", rest
	}
	end := strings.IndexAny(text, " \t\r\n\v\f\u00a0\u3000\"")
	if end < 0 {
		end = len(text)
	}
	bare, rest = text[:end], text[end:]
	t.words = words(bare)
	t.prefix = strings.HasSuffix(bare, "*") && len(t.words) > 0
	return t, bare, rest
}

// completes reports whether the term's last word is to be completed.
func (t term) completes() bool {
	return (t.prefix || t.typed) && !t.not && utf8.RuneCountInString(t.words[len(t.words)-1]) >= minPrefix
}

// vocabulary is what an owner's documents make of the words of a query.
type vocabulary struct {
	lexemes map[string]map[string]string // by dictionary, then word
	// like has the words that stand for one, too: those that begin with it, or the names
	// that it may be meant for.
	like map[string][]string
}

// forms returns the lexemes that a word may be in the owner's documents, and whether it
// says nothing in one of their languages (a stop word): then documents may have it
// without it being indexed.
func (v vocabulary) forms(word string) (list []string, stop bool) {
	for _, of := range v.lexemes {
		if lexeme := of[word]; lexeme == "" {
			stop = true
		} else if !slices.Contains(list, lexeme) {
			list = append(list, lexeme)
		}
	}
	slices.Sort(list)
	return list, stop
}

// anyOf writes a tsquery for one word.
func (v vocabulary) anyOf(word string, alike bool) string {
	list, _ := v.forms(word)
	if alike {
		for _, other := range v.like[word] {
			forms, _ := v.forms(other)
			list = append(list, forms...)
		}
		slices.Sort(list)
		list = slices.Compact(list)
	}
	if len(list) == 0 {
		return ""
	}
	for i, lexeme := range list {
		list[i] = quoteLexeme(lexeme)
	}
	return "(" + strings.Join(list, " | ") + ")"
}

// tsquery writes a query as PostgreSQL reads it; "" if nothing can match. Three of them
// make a search: what GIN can tell (loose), what is to be found (neither), and what was
// written as it was (exact), by which ranks are given.
type tsquery struct {
	loose bool // phrases are their words, in any order
	exact bool // no other word stands for one
}

func (k tsquery) of(q query, v vocabulary) string {
	var list []string
	for _, terms := range q.alternatives {
		if all := k.all(terms, v); all != "" {
			list = append(list, "("+all+")")
		}
	}
	return strings.Join(list, " | ")
}

// all writes that all of the terms are there. Stop words are asked for only if there is
// nothing else.
func (k tsquery) all(terms []term, v vocabulary) string {
	var must, stops, not []string
	for _, t := range terms {
		_, stop := v.forms(t.words[0])
		text := k.term(t, v)
		switch {
		case text == "": // stop words only
		case t.not:
			if len(t.words) == 1 || !k.loose {
				not = append(not, "!"+text)
			}
		case len(t.words) == 1 && stop && !t.prefix:
			stops = append(stops, text)
		default:
			must = append(must, text)
		}
	}
	if len(must) == 0 {
		must = stops
	}
	if len(must) == 0 {
		return ""
	}
	return strings.Join(append(must, not...), " & ")
}

// term writes a word, or a phrase: its words at their distances, without stop words.
func (k tsquery) term(t term, v vocabulary) string {
	if len(t.words) == 1 {
		return v.anyOf(t.words[0], !k.exact && !t.not)
	}
	var b strings.Builder
	before := -1
	for i, word := range t.words {
		completes := t.completes() && i == len(t.words)-1 && !k.exact
		if _, stop := v.forms(word); stop && !completes {
			continue
		}
		text := v.anyOf(word, completes)
		switch {
		case text == "":
			continue
		case before >= 0 && k.loose:
			b.WriteString(" & ")
		case before >= 0:
			fmt.Fprintf(&b, " <%d> ", i-before)
		}
		b.WriteString(text)
		before = i
	}
	if b.Len() == 0 {
		return ""
	}
	return "(" + b.String() + ")"
}

// sought returns the lexemes that are to be found, for highlights.
func (q query) sought(v vocabulary) []string {
	var list []string
	for _, terms := range q.alternatives {
		for _, t := range terms {
			for i, word := range t.words {
				if t.not {
					break
				}
				forms, _ := v.forms(word)
				list = append(list, forms...)
				if len(t.words) > 1 && i < len(t.words)-1 {
					continue
				}
				for _, other := range v.like[word] {
					forms, _ := v.forms(other)
					list = append(list, forms...)
				}
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
