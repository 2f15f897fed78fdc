package analysis

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"reprise/recording"
)

// An atom is a run of letters and digits in a transcript: what a mention or a quote
// begins and ends with. "Anna's" are two, so that Anna is found in it. In scripts
// without spaces each character is one.
type atom struct {
	from, to       int    // in characters of Transcript.Text
	norm           string // without case and accents
	upper          bool   // begins with a capital
	segment        int
	startMs, endMs int64
}

// A text is a transcript made ready for looking things up.
type text struct {
	runes []rune // of Transcript.Text
	atoms []atom
	// cased says that capitals mean something: some engines write everything small, or
	// everything in capitals.
	cased    bool
	segments []recording.Segment
	first    []int // of each segment, the index of its first atom; one more entry for the end
}

func newText(t recording.Transcript) *text {
	x := &text{runes: []rune(t.Text()), segments: t.Segments, first: make([]int, 0, len(t.Segments)+1)}
	offset := 0
	for i, s := range t.Segments {
		x.first = append(x.first, len(x.atoms))
		length := utf8.RuneCountInString(s.Text)
		found := atomsOf(x.runes[offset : offset+length])
		setTimes(found, s, length)
		for _, a := range found {
			a.from, a.to, a.segment = a.from+offset, a.to+offset, i
			x.atoms = append(x.atoms, a)
		}
		offset += length + 1 // the line break
	}
	x.first = append(x.first, len(x.atoms))
	upper, lower := 0, 0
	for _, a := range x.atoms {
		if a.upper {
			upper++
		} else if a.norm != "" && unicode.IsLower(x.runes[a.from]) {
			lower++
		}
	}
	// A pronoun "I" among small letters is what some engines write too, so a few don't count.
	x.cased = upper*100 > lower+upper && lower > 0
	return x
}

// isWordRune reports whether r is part of a word.
func isWordRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
}

// standsAlone reports whether r is of a script that doesn't separate its words.
func standsAlone(r rune) bool {
	return r >= 0x0e00 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// atomsOf splits runes into atoms, without times.
func atomsOf(runes []rune) []atom {
	var atoms []atom
	for i := 0; i < len(runes); {
		if !isWordRune(runes[i]) {
			i++
			continue
		}
		from := i
		i++
		for i < len(runes) && isWordRune(runes[i]) && (!standsAlone(runes[i]) && !standsAlone(runes[from]) || unicode.IsMark(runes[i])) {
			i++
		}
		atoms = append(atoms, atom{from: from, to: i, norm: fold(string(runes[from:i])), upper: unicode.IsUpper(runes[from])})
	}
	return atoms
}

// fold takes case and accents away.
func fold(s string) string {
	ascii := true
	for i := 0; i < len(s) && ascii; i++ {
		ascii = s[i] < utf8.RuneSelf
	}
	if ascii {
		return strings.ToLower(s)
	}
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFD.String(s))
}

// norms returns what the atoms of s are without case and accents.
func norms(s string) []string {
	var out []string
	for _, a := range atomsOf([]rune(s)) {
		out = append(out, a.norm)
	}
	return out
}

// setTimes gives the atoms of a segment the times of the words they are in, or, where
// there are no words, those that their place in the segment suggests. A word's text may
// differ from the segment's (punctuation, a filler left out), so they are matched.
func setTimes(atoms []atom, s recording.Segment, length int) {
	const lookahead = 8 // words that the segment's text may leave out at a time
	type spoken struct {
		norm       string
		start, end int64
	}
	var words []spoken
	for _, w := range s.Words {
		for _, n := range norms(w.Text) {
			words = append(words, spoken{n, w.StartMs, w.EndMs})
		}
	}
	next := 0
	for i := range atoms {
		a := &atoms[i]
		at := func(offset int) int64 { return s.StartMs + (s.EndMs-s.StartMs)*int64(offset)/int64(max(1, length)) }
		a.startMs, a.endMs = at(a.from), at(a.to)
		for j := next; j < len(words) && j < next+lookahead; j++ {
			if words[j].norm == a.norm {
				a.startMs, a.endMs, next = words[j].start, words[j].end, j+1
				break
			}
		}
	}
}

// slice returns the characters from one to another, with a space for whatever would
// break a line or a terminal: as many characters as before.
func (x *text) slice(from, to int) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || isControl(r) {
			return ' '
		}
		return r
	}, string(x.runes[from:to]))
}

// isControl reports whether r acts on a text instead of being read: control
// characters, and marks of direction, which can make a text look like another. The
// joiners stay, which Persian, the languages of India and emoji need.
func isControl(r rune) bool {
	return unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d' ||
		unicode.In(r, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs)
}

// line returns s as one line of at most limit characters: without control characters,
// with single spaces, cut at a word with an ellipsis.
func line(s string, limit int) string {
	// What is far beyond the limit is not even looked at; a replacement keeps the cut from
	// leaving half a character.
	if most := 16 * limit; len(s) > most {
		s = s[:most]
	}
	s = strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	s = strings.Join(strings.Fields(s), " ")
	runes := []rune(s)
	if len(runes) <= limit {
		return s
	}
	cut := limit - 1
	for i := cut; i > cut-cut/4; i-- {
		if runes[i] == ' ' {
			cut = i
			break
		}
	}
	return strings.TrimRight(string(runes[:cut]), " ,;:–-") + "…"
}
