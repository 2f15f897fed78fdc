package analysis

import (
	"cmp"
	"slices"
	"strings"

	"reprise/recording"
)

// A form is one way in which an entity may be named in a transcript.
type form struct {
	entity int
	norms  []string
	// upper says that it has to begin with a capital where capitals mean something: Will
	// is not in "I will". A name of several words is told apart by those.
	upper bool
}

// groundEntities returns the entities that the transcript mentions, with every place
// where it does. Those whose names differ in nothing but case, accents, punctuation
// or a title are one, and so are those that share a form.
func groundEntities(drafts []draftEntity, x *text) []recording.Entity {
	entities, forms := mergeEntities(drafts)
	total := make([]int, len(entities))
	for at := 0; at < len(x.atoms); {
		f, found := longestForm(forms[x.atoms[at].norm], x, at)
		if !found {
			at++
			continue
		}
		first, last := x.atoms[at], x.atoms[at+len(f.norms)-1]
		total[f.entity]++
		if e := &entities[f.entity]; len(e.Mentions) < maxMentions {
			e.Mentions = append(e.Mentions, recording.Mention{
				AtMs:   first.startMs,
				Offset: first.from,
				Length: last.to - first.from,
				Text:   x.slice(first.from, last.to),
			})
		}
		at += len(f.norms)
	}
	order := make([]int, 0, len(entities))
	for i := range entities {
		if total[i] > 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(total[b], total[a]) })
	found := []recording.Entity{}
	for _, i := range order[:min(len(order), maxEntities)] {
		found = append(found, entities[i])
	}
	return found
}

// longestForm returns the longest of forms that the transcript has at an atom, so that
// New York is not mentioned in "the New York Times". Of equal ones the first counts.
func longestForm(forms []form, x *text, at int) (best form, found bool) {
	for _, f := range forms {
		if len(f.norms) <= len(best.norms) || !x.matches(at, f.norms) || f.upper && x.cased && !x.atoms[at].upper {
			continue
		}
		if x.together(at, len(f.norms)) {
			best, found = f, true
		}
	}
	return best, found
}

// together reports whether nothing but a little punctuation is between count atoms.
func (x *text) together(at, count int) bool {
	for i := at + 1; i < at+count; i++ {
		if x.atoms[i].from-x.atoms[i-1].to > 3 {
			return false
		}
	}
	return true
}

// A register has the entities of a draft, each once, without mentions.
type register struct {
	entities []recording.Entity
	named    map[string]int    // by the key of a name
	spoken   map[string]int    // by the key of a form
	taken    map[string]bool   // a kind and a form, to the letter
	forms    map[string][]form // by their first atom
}

// mergeEntities returns the entities, and the forms of all of them by their first atom.
func mergeEntities(drafts []draftEntity) ([]recording.Entity, map[string][]form) {
	r := register{named: map[string]int{}, spoken: map[string]int{}, taken: map[string]bool{}, forms: map[string][]form{}}
	for _, d := range drafts {
		kind, name := recording.EntityKind(d.Kind), line(d.Name, maxName)
		if !knownKind(kind) || len(norms(name)) == 0 {
			continue
		}
		spoken := append([]string{name}, d.Spoken[:min(len(d.Spoken), maxForms)]...)
		entity, known := r.lookUp(kind, spoken)
		if !known {
			// Those beyond a multiple of the bound can't all be mentioned most.
			if len(r.entities) == 4*maxEntities {
				continue
			}
			entity = len(r.entities)
			r.entities = append(r.entities, recording.Entity{Kind: kind, Name: name})
		}
		r.named[entityKey(kind, name)] = entity
		for _, s := range spoken {
			r.add(entity, kind, s)
		}
	}
	return r.entities, r.forms
}

// lookUp returns the entity that is named like one of the forms, or whose form the first
// of them is.
func (r *register) lookUp(kind recording.EntityKind, spoken []string) (entity int, known bool) {
	if entity, known = r.spoken[entityKey(kind, spoken[0])]; known {
		return entity, true
	}
	for _, s := range spoken {
		if entity, known = r.named[entityKey(kind, s)]; known {
			return entity, true
		}
	}
	return 0, false
}

// add notes that an entity is spoken of so, if no other one is.
func (r *register) add(entity int, kind recording.EntityKind, spoken string) {
	f := form{entity: entity}
	atoms := atomsOf([]rune(line(spoken, maxName)))
	for _, a := range atoms {
		f.norms = append(f.norms, a.norm)
	}
	key := string(kind) + " " + strings.Join(f.norms, " ")
	if len(atoms) == 0 || r.taken[key] {
		return
	}
	f.upper = atoms[0].upper && len(atoms) == 1
	r.taken[key] = true
	if _, known := r.spoken[entityKey(kind, spoken)]; !known {
		r.spoken[entityKey(kind, spoken)] = entity
	}
	r.forms[f.norms[0]] = append(r.forms[f.norms[0]], f)
}

func knownKind(k recording.EntityKind) bool {
	switch k {
	case recording.EntityPerson, recording.EntityPlace, recording.EntityOrganization, recording.EntityDate:
		return true
	}
	return false
}

// entityKey is the same for spellings of one name.
func entityKey(kind recording.EntityKind, name string) string {
	words := norms(line(name, maxName))
	if len(words) > 1 && slices.Contains([]string{"the", "mr", "mrs", "ms", "miss", "dr", "prof", "herr", "frau", "m", "mme", "senor", "senora", "signor", "signora"}, words[0]) {
		words = words[1:]
	}
	return string(kind) + " " + strings.Join(words, " ")
}
