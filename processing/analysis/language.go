package analysis

import (
	"strings"

	"github.com/abadojack/whatlanggo"
	"golang.org/x/text/language"
)

const (
	// detectChars of a text are enough to tell its language.
	detectChars = 4000
	// In a text of a language one word of four or more is a stop word, which is plainer
	// than letters are in a text of one sentence.
	stopShare = 0.25
	// Another language has fewer of them by so much.
	stopLead = 1.3
)

// detectLanguage returns the language of a text as BCP 47, "" if that can't be told.
func (s stopWords) detectLanguage(x *text) string {
	if lang := s.mostIn(x); lang != "" {
		return lang
	}
	found := whatlanggo.Detect(strings.ToLower(x.slice(0, min(len(x.runes), detectChars))))
	tag, err := language.Parse(found.Lang.Iso6391())
	if err != nil || !found.IsReliable() {
		return ""
	}
	return tag.String()
}

// mostIn returns the one language whose stop words a text is full of.
func (s stopWords) mostIn(x *text) string {
	atoms := x.atoms[:min(len(x.atoms), detectChars/5)]
	best, most, second := "", 0, 0
	for _, lang := range stopLanguages() {
		count := 0
		for _, a := range atoms {
			if s[lang].has(a.norm, false) {
				count++
			}
		}
		switch {
		case count > most:
			best, most, second = lang, count, most
		case count > second:
			second = count
		}
	}
	if float64(most) < stopShare*float64(len(atoms)) || float64(most) < stopLead*float64(second) {
		return ""
	}
	return best
}

// baseOf returns the language without region and script: "de" of "de-AT".
func baseOf(tag string) string {
	t, err := language.Parse(tag)
	if err != nil {
		return ""
	}
	base, confidence := t.Base()
	if confidence == language.No {
		return ""
	}
	return base.String()
}
