package analysis

import (
	"slices"
	"strings"

	"reprise/recording"
)

// uncapitalized finds names where nothing has a capital: those it knows by heart, and
// what stands behind "uncle" or "university of".
func (r *reader) uncapitalized(found candidateSet) {
	for i := 0; i < len(r.atoms); {
		last, kind := r.knownName(i)
		if kind == "" {
			i++
			continue
		}
		found.add(r, i, last, true, kind, 3)
		i = last + 1
	}
}

// knownName returns the last atom of the name that begins with the atom i, and its kind,
// "" if there is none.
func (r *reader) knownName(i int) (last int, kind recording.EntityKind) {
	before := r.normAt(i - 1)
	place := r.cue("locative-"+r.lang, before)
	for length := longestPhrase + 1; length > 0; length-- {
		last := i + length - 1
		whole, ok := r.wholeName(i, last)
		if !ok {
			continue
		}
		switch {
		case r.lexicon.organizations.has(whole, true):
			return last, recording.EntityOrganization
		case r.lexicon.places.has(whole, !place):
			return last, recording.EntityPlace
		}
	}
	w := r.atoms[i].norm
	switch {
	case slices.Contains([]string{"university", "bank", "ministry", "church", "department"}, w) && r.normAt(i+1) == "of" && r.content(i+2):
		return i + 2, recording.EntityOrganization
	case slices.Contains([]string{"lake", "mount"}, w) && r.content(i+1):
		return i + 1, recording.EntityPlace
	case r.cue("title", w) && r.titled(i+1):
		return r.withSurname(i + 1), recording.EntityPerson
	case r.lexicon.names.has(w, true):
		return r.withSurname(i), recording.EntityPerson
	case r.lexicon.names.has(w, false) && r.kin(before):
		return r.withSurname(i), recording.EntityPerson
	case r.lexicon.names.has(w, false) && r.lexicon.surnames.has(r.normAt(i+1), false):
		return i + 1, recording.EntityPerson
	}
	return 0, ""
}

// wholeName joins atoms that only spaces are between.
func (r *reader) wholeName(first, last int) (string, bool) {
	if last >= len(r.atoms) {
		return "", false
	}
	parts := []string{r.atoms[first].norm}
	for i := first + 1; i <= last; i++ {
		if !r.joined(i) {
			return "", false
		}
		parts = append(parts, r.atoms[i].norm)
	}
	return strings.Join(parts, " "), true
}

// content reports whether an atom is a word that says something.
func (r *reader) content(i int) bool {
	return i < len(r.atoms) && r.stems[i] != "" && r.joined(i) && !r.weak(i)
}

// titled reports whether an atom can be the name behind a title: a known one, or an
// unknown word behind one that is a title only.
func (r *reader) titled(i int) bool {
	if i >= len(r.atoms) || !r.joined(i) {
		return false
	}
	w := r.atoms[i].norm
	if r.lexicon.names.has(w, false) || r.lexicon.surnames.has(w, false) {
		return true
	}
	strict := slices.Contains([]string{"mr", "mrs", "ms", "mister", "missus", "uncle", "aunt", "professor"}, r.normAt(i-1))
	return strict && r.content(i)
}

// withSurname returns the atom with which a person's name ends that begins with i.
func (r *reader) withSurname(i int) int {
	if i+1 < len(r.atoms) && r.joined(i+1) && r.lexicon.surnames.has(r.atoms[i+1].norm, false) {
		return i + 1
	}
	return i
}
