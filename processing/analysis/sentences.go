package analysis

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A sentence is a range of atoms.
type sentence struct {
	first, last int // last is inclusive
	score       float64
}

func (s sentence) length() int { return s.last - s.first + 1 }

const (
	maxSentence = 60   // words: engines without punctuation can go on for minutes
	pauseMs     = 1500 // between segments: a sentence has ended
	fullStops   = ".!?…。！？"
)

// sentences splits the transcript. An engine that writes full stops is believed; of
// another one each segment is a sentence.
func (x *text) sentences() []sentence {
	stops := 0
	for _, r := range x.runes {
		if strings.ContainsRune(fullStops, r) {
			stops++
		}
	}
	punctuated := stops*maxSentence >= len(x.atoms)
	var out []sentence
	first := 0
	for i := range x.atoms {
		if i+1 < len(x.atoms) && i-first+1 < maxSentence && !x.ends(i, punctuated) {
			continue
		}
		out = append(out, sentence{first: first, last: i})
		first = i + 1
	}
	return out
}

// ends reports whether a sentence ends with the atom, which isn't the last one.
func (x *text) ends(i int, punctuated bool) bool {
	a, next := x.atoms[i], x.atoms[i+1]
	if a.segment != next.segment && (!punctuated || next.startMs-a.endMs >= pauseMs) {
		return true
	}
	between := string(x.runes[a.to:next.from])
	if !strings.ContainsAny(between, fullStops) {
		return false
	}
	if !strings.HasPrefix(between, ".") {
		return true
	}
	// Not after "Dr." and "J.", and not within "3.5".
	initial := a.to-a.from == 1 && unicode.IsUpper(x.runes[a.from]) && a.norm != "i"
	abbreviation := slices.Contains([]string{"mr", "mrs", "ms", "dr", "st", "prof", "jr", "sr", "vs", "no", "gen", "col", "capt", "lt", "sra", "bzw", "ca"}, a.norm) && next.upper
	return !initial && !abbreviation && strings.ContainsFunc(between, unicode.IsSpace)
}

// say returns the sentence as it is in the transcript.
func (x *text) say(s sentence) string { return x.slice(x.span(s.first, s.last)) }

// span returns the characters from one atom to another, with the full stops behind them
// and the quotation marks that would lack their other half.
func (x *text) span(first, last int) (from, to int) {
	from, to = x.atoms[first].from, x.atoms[last].to
	inside := string(x.runes[from:to])
	end := min(len(x.runes), to+3)
	for to < end && strings.ContainsRune(fullStops, x.runes[to]) {
		to++
	}
	if from > 0 && (strings.ContainsRune("¿¡", x.runes[from-1]) ||
		strings.ContainsRune(`"“„«`, x.runes[from-1]) && (to < len(x.runes) && closes(x.runes[to]) || strings.ContainsFunc(inside, closes))) {
		from--
	}
	if to < len(x.runes) && closes(x.runes[to]) && strings.ContainsAny(string(x.runes[from:to]), `"“„«`) {
		to++
	}
	return from, to
}

func closes(r rune) bool { return strings.ContainsRune(`"”“»`, r) }

// write returns the sentence for a reader: with a capital and a full stop.
func (x *text) write(s sentence) string {
	said := x.say(s)
	last, _ := utf8.DecodeLastRuneInString(said)
	if !strings.ContainsRune(fullStops, last) && !closes(last) && !standsAlone(last) {
		said += "."
	}
	return capital(said)
}

// capital returns s with a capital at its beginning.
func capital(s string) string {
	for i, r := range s {
		return s[:i] + string(unicode.ToUpper(r)) + s[i+len(string(r)):]
	}
	return s
}
