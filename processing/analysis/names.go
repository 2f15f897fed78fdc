package analysis

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"reprise/recording"
)

// A candidate is a name with what speaks for each kind.
type candidate struct {
	name  string
	count int
	inner int // not at the beginning of a sentence
	votes map[recording.EntityKind]int
	first int
	forms []string
}

// candidateSet has the candidates by their folded name.
type candidateSet map[string]*candidate

// add counts one occurrence of a name from an atom to another.
func (s candidateSet) add(r *reader, first, last int, inner bool, kind recording.EntityKind, votes int) {
	name := r.slice(r.atoms[first].from, r.atoms[last].to)
	key := strings.Join(norms(name), " ")
	c := s[key]
	if c == nil {
		c = &candidate{name: name, votes: map[recording.EntityKind]int{}, first: first}
		s[key] = c
	}
	c.count++
	if inner {
		c.inner++
	}
	c.votes[kind] += votes
}

// entities returns the persons, places and organizations that are named, and dates.
func (r *reader) entities(sentences []sentence) []draftEntity {
	begins := map[int]bool{}
	for _, s := range sentences {
		begins[s.first] = true
	}
	found := candidateSet{}
	if r.cased {
		r.capitalized(found, begins)
	} else {
		r.uncapitalized(found)
	}
	persons := found.decide(r)
	return append(persons, r.dates()...)
}

// decide returns those of the candidates that are entities, the most said first. Anna and Anna Kowalski are one, unless there are two Annas.
func (s candidateSet) decide(r *reader) []draftEntity {
	var kept []*candidate
	kinds := map[*candidate]recording.EntityKind{}
	for _, c := range s {
		if kind, ok := c.kind(r); ok {
			kept = append(kept, c)
			kinds[c] = kind
		}
	}
	slices.SortFunc(kept, func(a, b *candidate) int { return cmp.Or(b.count-a.count, a.first-b.first) })
	short := map[*candidate]bool{}
	for _, c := range kept {
		if kinds[c] != recording.EntityPerson || len(norms(c.name)) != 1 {
			continue
		}
		if full := fullName(c, kept, kinds); full != nil {
			full.forms = append(full.forms, c.name)
			short[c] = true
		}
	}
	var out []draftEntity
	for _, c := range kept {
		if short[c] {
			continue
		}
		out = append(out, draftEntity{Kind: string(kinds[c]), Name: r.display(c.name), Spoken: append([]string{c.name}, c.forms...)})
	}
	return out
}

// fullName returns the only longer name that a person's short one is a part of.
func fullName(short *candidate, all []*candidate, kinds map[*candidate]recording.EntityKind) *candidate {
	var full *candidate
	for _, c := range all {
		parts := norms(c.name)
		if kinds[c] != recording.EntityPerson || len(parts) < 2 || !slices.Contains(parts, norms(short.name)[0]) {
			continue
		}
		if full != nil {
			return nil
		}
		full = c
	}
	return full
}

// display returns a name with capitals.
func (r *reader) display(name string) string {
	if r.cased {
		return name
	}
	fields := strings.Fields(name)
	for i, f := range fields {
		if i == 0 || !links(fold(f)) {
			fields[i] = capital(f)
		}
	}
	return strings.Join(fields, " ")
}

// links reports whether a small word may be within a name: University of Warsaw.
func links(word string) bool {
	return slices.Contains([]string{"of", "the", "de", "del", "della", "di", "da", "du", "des", "la", "le", "van", "von", "der", "den", "and"}, word)
}

// kind returns what most speaks for. A name that nothing speaks for is a person's if it
// is repeated: in what people tell, most are.
func (c *candidate) kind(r *reader) (recording.EntityKind, bool) {
	var best recording.EntityKind
	for _, k := range []recording.EntityKind{recording.EntityPerson, recording.EntityPlace, recording.EntityOrganization} {
		if c.votes[k] > c.votes[best] {
			best = k
		}
	}
	if c.votes[best] > 0 {
		return best, true
	}
	if r.lang == "de" {
		return "", false // every noun has a capital there
	}
	return recording.EntityPerson, c.inner >= 2 || c.inner >= 1 && len(norms(c.name)) > 1
}

// capitalized finds names by their capitals.
func (r *reader) capitalized(found candidateSet, begins map[int]bool) {
	for i := 0; i < len(r.atoms); {
		last, ok := r.nameFrom(i, begins)
		// A title alone is nobody's name, and "Ella" at the beginning is rather "she".
		if !ok || last == i && (r.cue("title", r.atoms[i].norm) || begins[i] && r.lexicon.stop[r.lang].has(r.atoms[i].norm, false)) {
			i++
			continue
		}
		kind, votes := r.judge(i, last)
		if begins[i] && votes == 0 {
			// It may have its capital from the sentence alone.
			if last > i && r.lexicon.stop["en"].has(r.atoms[i].norm, false) {
				i++
				continue
			}
		}
		found.add(r, i, last, !begins[i], kind, votes)
		i = last + 1
	}
}

// nameFrom returns the last atom of the name that begins with the atom i.
func (r *reader) nameFrom(i int, begins map[int]bool) (last int, ok bool) {
	if !r.namelike(i) {
		return 0, false
	}
	last = i
	for next := i + 1; next < len(r.atoms) && next < i+6 && !begins[next] && r.follows(next); next++ {
		if r.namelike(next) {
			if r.lang == "de" && !r.german(last, next) {
				break
			}
			last = next
			continue
		}
		// A link counts if a name goes on behind it; "and" only in names of organizations.
		a := r.atoms[next]
		goesOn := next+1 < len(r.atoms) && r.joined(next+1) && (r.namelike(next+1) || r.atoms[next].norm == "of" && r.atoms[next+1].norm == "the")
		if a.upper || !links(a.norm) || a.norm == "and" || !goesOn {
			break
		}
		if a.norm == "of" && !r.headed(i, last) {
			break
		}
	}
	return last, true
}

// follows reports whether an atom can go on with the name that ends before it, which a
// full stop doesn't end if it is of "Mrs." or "J."
func (r *reader) follows(i int) bool {
	between := r.slice(r.atoms[i-1].to, r.atoms[i].from)
	return r.joined(i) || between == ". " && (r.cue("title", r.atoms[i-1].norm) || r.initial(i-1) && r.atoms[i-1].to-r.atoms[i-1].from == 1)
}

// german reports whether two nouns that follow each other are one name.
func (r *reader) german(a, b int) bool {
	return r.lexicon.names.has(r.atoms[a].norm, false) || r.cue("title", r.atoms[a].norm) || r.lexicon.places.has(r.atoms[a].norm+" "+r.atoms[b].norm, false)
}

// namelike reports whether an atom may be part of a name: it has a capital and is no
// word that always or often has one.
func (r *reader) namelike(i int) bool {
	a := r.atoms[i]
	if !a.upper || a.to-a.from < 2 && !r.initial(i) {
		return false
	}
	if r.cue("title", a.norm) || r.lexicon.names.has(a.norm, false) || r.lexicon.places.has(a.norm, true) {
		return true
	}
	return !r.lexicon.stop[r.lang].has(a.norm, false) && !r.lexicon.stop["en"].has(a.norm, false) && !r.cue("capital", a.norm)
}

// initial reports whether an atom is one, as in J. Smith.
func (r *reader) initial(i int) bool {
	return r.atoms[i].to < len(r.runes) && r.runes[r.atoms[i].to] == '.' && r.atoms[i].norm != "i"
}

// cue reports whether a word tells something about the name beside it: see words/cues.txt.
func (r *reader) cue(what, word string) bool { return r.lexicon.cues[what].has(word, false) }

// kin reports whether a name that follows is probably a person's: "my sister Anna".
func (r *reader) kin(word string) bool { return r.cue("title", word) || r.cue("kin", word) }

// headed reports whether a name's words are of an organization or a place, so that "of"
// goes on with it.
func (r *reader) headed(first, last int) bool {
	for i := first; i <= last; i++ {
		if w := r.atoms[i].norm; r.cue("organization", w) || r.cue("place", w) {
			return true
		}
	}
	return false
}

// judge returns the kind that a name and its neighbours speak for, and how much.
func (r *reader) judge(first, last int) (recording.EntityKind, int) {
	var parts []string
	for i := first; i <= last; i++ {
		parts = append(parts, r.atoms[i].norm)
	}
	whole := strings.Join(parts, " ")
	before, beforeThat := r.normAt(first-1), r.normAt(first-2)
	acronym := len(parts) == 1 && len(whole) >= 2 && len(whole) <= 5 && strings.IndexFunc(r.slice(r.atoms[first].from, r.atoms[first].to), unicode.IsLower) < 0
	switch {
	case r.lexicon.organizations.has(whole, true):
		return recording.EntityOrganization, 5
	case r.lexicon.places.has(whole, true):
		return recording.EntityPlace, 5
	case len(parts) > 1 && r.cue("title", parts[0]):
		return recording.EntityPerson, 5
	case len(parts) > 1 && slices.ContainsFunc(parts, func(w string) bool { return r.cue("organization", w) }):
		return recording.EntityOrganization, 4
	case len(parts) > 1 && (r.cue("place", parts[0]) || r.cue("place", parts[len(parts)-1])):
		return recording.EntityPlace, 4
	case len(parts) > 1 && r.lexicon.names.has(parts[0], false):
		return recording.EntityPerson, 4
	case r.kin(before) && !r.cue("locative-"+r.lang, before):
		return recording.EntityPerson, 4
	case r.lexicon.places.has(whole, false) && r.cue("locative-"+r.lang, before):
		return recording.EntityPlace, 4
	case r.lexicon.names.has(whole, false):
		return recording.EntityPerson, 3
	case r.lexicon.places.has(whole, false):
		return recording.EntityPlace, 3
	case r.lexicon.organizations.has(whole, false):
		return recording.EntityOrganization, 3
	case r.speaks(last + 1):
		return recording.EntityPerson, 2
	case acronym && r.cased:
		return recording.EntityOrganization, 2
	case r.cue("locative-"+r.lang, before) || before == "the" && r.cue("locative-"+r.lang, beforeThat) && len(parts) > 1:
		return recording.EntityPlace, 1
	}
	return recording.EntityPerson, 0
}

func (r *reader) normAt(i int) string {
	if i < 0 || i >= len(r.atoms) {
		return ""
	}
	return r.atoms[i].norm
}

// speaks reports whether a word is what persons do.
func (r *reader) speaks(i int) bool {
	return r.lexicon.cues["speaks"].has(r.normAt(i), false)
}
