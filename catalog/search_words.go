package catalog

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

// maxWordRunes is how much of a word counts.
const maxWordRunes = 50

// token is one word of a text: as it is looked up, and where it is.
type token struct {
	word     string // in lower case
	from, to int    // offsets in characters
}

// tokens cuts a text into words: runs of letters and digits. Scripts that put no spaces
// between words have one for each character, and what is looked for in them is a phrase.
func tokens(text string) []token {
	var list []token
	at, from, begin := 0, 0, -1 // characters read; where the word began, in characters and in bytes
	end := func(i int) {
		if begin >= 0 {
			list = append(list, token{normal(text[begin:i]), from, at})
			begin = -1
		}
	}
	for i, r := range text {
		alone, part := r >= firstAlone && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana), inWord(r)
		if alone || !part {
			end(i)
		}
		switch {
		case alone:
			list = append(list, token{normal(text[i : i+utf8.RuneLen(r)]), at, at + 1})
		case part && begin < 0:
			from, begin = at, i
		}
		at++
	}
	end(len(text))
	return list
}

// firstAlone is where characters begin that are a word each.
const firstAlone = '\u2e80'

func inWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r)
}

// normal is the form in which words are compared.
func normal(word string) string {
	word = norm.NFC.String(strings.ToLower(word))
	if n := 0; len(word) > maxWordRunes {
		for i := range word {
			if n == maxWordRunes {
				return word[:i]
			}
			n++
		}
	}
	return word
}

// words are those of a text, in its order.
func words(text string) []string {
	var list []string
	for _, t := range tokens(text) {
		list = append(list, t.word)
	}
	return list
}

// dictionaryOf returns PostgreSQL's text search dictionary for a language (BCP 47),
// "simple" if it has none: words then match as they are written.
func dictionaryOf(tag string) string {
	base, _, _ := language.Make(tag).Raw()
	if name := snowball(base.String()); name != "" {
		return name + "_stem"
	}
	return "simple"
}

// snowball names PostgreSQL's stemmer for a language, those of version 14:
// https://snowballstem.org/algorithms/
func snowball(base string) string {
	switch base {
	case "ar":
		return "arabic"
	case "ca":
		return "catalan"
	case "da":
		return "danish"
	case "de":
		return "german"
	case "el":
		return "greek"
	case "en":
		return "english"
	case "es":
		return "spanish"
	case "eu":
		return "basque"
	case "fi":
		return "finnish"
	case "fr":
		return "french"
	case "ga":
		return "irish"
	case "hi":
		return "hindi"
	case "hu":
		return "hungarian"
	case "hy":
		return "armenian"
	case "id":
		return "indonesian"
	case "it":
		return "italian"
	case "lt":
		return "lithuanian"
	case "nb", "nn", "no":
		return "norwegian"
	case "ne":
		return "nepali"
	case "nl":
		return "dutch"
	case "pt":
		return "portuguese"
	case "ro":
		return "romanian"
	case "ru":
		return "russian"
	case "sr":
		return "serbian"
	case "sv":
		return "swedish"
	case "ta":
		return "tamil"
	case "tr":
		return "turkish"
	case "yi":
		return "yiddish"
	}
	return ""
}
