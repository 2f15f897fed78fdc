package analysis

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// weigh gives each sentence the weight of its words: how often the recording says
// them, for as many words as it has. Beginnings, which say where and when, weigh more.
func (r *reader) weigh(sentences []sentence) {
	counts := map[string]int{}
	for _, s := range r.stems {
		if s != "" {
			counts[s]++
		}
	}
	for i := range sentences {
		s := &sentences[i]
		seen := map[string]bool{}
		for j := s.first; j <= s.last; j++ {
			stem := r.stems[j]
			if stem == "" || seen[stem] {
				continue
			}
			seen[stem] = true
			weight := math.Log1p(float64(counts[stem]))
			if r.weak(j) {
				weight /= 3
			}
			if r.cased && r.atoms[j].upper && j > s.first {
				weight *= 1.3 // a name
			}
			s.score += weight
		}
		s.score /= math.Sqrt(float64(max(s.length(), 8)))
		if s.length() < 5 || s.length() >= maxSentence {
			s.score /= 3
		}
		if dangling(r.atoms[s.first].norm) {
			s.score *= 0.75
		}
		if i < 2 {
			s.score *= 1.2
		}
	}
}

// dangling reports whether a sentence that begins so leans on the one before.
func dangling(word string) bool {
	return slices.Contains([]string{
		"and", "but", "so", "because", "then", "it", "he", "she", "they", "that", "this", "these", "those", "or", "which", "well", "yeah",
		"et", "mais", "il", "elle", "ils", "y", "pero", "el", "ella", "und", "aber", "er", "sie", "es", "e", "ma", "lui", "lei", "и", "но", "он", "она", "они",
	}, word)
}

// choose returns the count best sentences, which don't say the same: a word counts less
// in each sentence after the first. They are in the order of the transcript.
func (r *reader) choose(sentences []sentence, count int) []sentence {
	var chosen []sentence
	left := slices.Clone(sentences)
	said := map[string]int{}
	for len(chosen) < count && len(left) > 0 {
		best, bestScore := 0, math.Inf(-1)
		for i, s := range left {
			if score := s.score * r.novelty(s, said); score > bestScore {
				best, bestScore = i, score
			}
		}
		s := left[best]
		for i := s.first; i <= s.last; i++ {
			said[r.stems[i]]++
		}
		chosen = append(chosen, s)
		left = slices.Delete(left, best, best+1)
	}
	slices.SortFunc(chosen, func(a, b sentence) int { return cmp.Compare(a.first, b.first) })
	return chosen
}

// novelty is 1 for a sentence none of whose words was said, and near 0 if all were.
func (r *reader) novelty(s sentence, said map[string]int) float64 {
	fresh, all := 0.2, 0.2
	for i := s.first; i <= s.last; i++ {
		if stem := r.stems[i]; stem != "" {
			all++
			fresh += 1 / float64(1+said[stem])
		}
	}
	return fresh / all
}

// Sizes of what the local analyst picks.
const (
	candidates       = 200 // sentences that are compared: of six hours the best
	longestSummary   = 6   // sentences
	sentencesPerPick = 5   // a summary has one sentence of so many
	longestQuotes    = 3
	wordsPerQuote    = 120
)

// best returns the count best-scored sentences, in the order of the transcript.
func best(sentences []sentence, count int) []sentence {
	sorted := slices.Clone(sentences)
	slices.SortStableFunc(sorted, func(a, b sentence) int { return cmp.Compare(b.score, a.score) })
	sorted = sorted[:min(len(sorted), count)]
	slices.SortFunc(sorted, func(a, b sentence) int { return cmp.Compare(a.first, b.first) })
	return sorted
}

// summary returns the sentences that say most of a recording.
func (r *reader) summary(sentences []sentence) string {
	count := min(longestSummary, max(1, (len(sentences)+sentencesPerPick-1)/sentencesPerPick))
	var b strings.Builder
	for _, s := range r.choose(best(sentences, candidates), count) {
		said := r.write(s)
		if b.Len() > 0 && b.Len()+len(said) > maxSummary {
			break
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(said)
	}
	return b.String()
}

// quotes returns sentences worth quoting: those of some weight and mood, of a length
// that stands alone.
func (r *reader) quotes(sentences []sentence) []string {
	var fit []sentence
	for _, s := range sentences {
		if s.length() < 6 || s.length() > 35 || dangling(r.atoms[s.first].norm) && s.length() < 9 {
			continue
		}
		s.score *= 1 + 0.4*math.Abs(r.mood(s))
		fit = append(fit, s)
	}
	count := min(longestQuotes, 1+len(r.atoms)/wordsPerQuote)
	var out []string
	for _, s := range r.choose(best(fit, candidates), count) {
		out = append(out, r.say(s))
	}
	return out
}
