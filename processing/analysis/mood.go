package analysis

import "slices"

// mood returns a sentence's mood from -1 to 1: the mean of its words' moods, turned
// round by a negation shortly before.
func (r *reader) mood(s sentence) float64 {
	moods := r.lexicon.moods[r.lang]
	sum, count := 0.0, 0
	for i := s.first; i <= s.last; i++ {
		weight := moods[r.atoms[i].norm]
		if weight == 0 {
			continue
		}
		for j := max(s.first, i-3); j < i; j++ {
			if negates(r.atoms[j].norm) {
				weight *= -0.7 // "not bad" is less than good
				break
			}
		}
		sum += weight
		count++
	}
	if count == 0 {
		return 0
	}
	return clamp(sum/float64(count)/2, -1, 1)
}

// negates reports whether a word turns the next ones round. "don't" is two atoms.
func negates(word string) bool {
	return slices.Contains([]string{
		"not", "never", "no", "nobody", "nothing", "without", "hardly", "cannot", "don", "didn", "doesn", "isn", "wasn", "weren", "aren", "couldn", "wouldn", "won", "haven", "hadn",
		"nicht", "kein", "keine", "keinen", "nie", "ohne", "pas", "jamais", "sans", "nunca", "sin", "non", "mai", "senza", "не", "нет", "никогда", "без",
	}, word)
}

// sentiment returns the recording's mood: of the sentences that show one, the mean; mixed
// if many show each.
func (r *reader) sentiment(sentences []sentence) draftSentiment {
	sum, positive, negative := 0.0, 0, 0
	for _, s := range sentences {
		m := r.mood(s)
		sum += m
		switch {
		case m > 0:
			positive++
		case m < 0:
			negative++
		}
	}
	moody := positive + negative
	if moody == 0 || moody*12 < len(sentences) {
		return draftSentiment{Label: moodNeutral, Score: 0}
	}
	d := draftSentiment{Score: sum / float64(moody)}
	d.Label = moodOf(d.Score)
	if moody >= 3 && positive*3 >= moody && negative*3 >= moody {
		d.Label = moodMixed
	}
	return d
}
