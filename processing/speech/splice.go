package speech

import (
	"slices"
	"strings"
	"unicode"

	"reprise/recording"
)

const (
	// slackMs is how far two engines, or one that hears a word twice, may disagree
	// about when it was said.
	slackMs = 1000
	// guessedSlackMs is the same where times are guessed from the length of words.
	guessedSlackMs = 3000
	// maxComparisons bounds what an engine can cause with words without number.
	maxComparisons = 1 << 20
)

// spot is a word with its place: parts[part].words[word].
type spot struct {
	part, word int
	recording.Word
}

// splice returns what to keep of two spans' parts that overlap between two times.
func splice(before, after []part, fromMs, toMs int64) (a, b []part) {
	// The words of both that are in the overlap, or nearly.
	tail, head := spots(before), spots(after)
	for len(tail) > 0 && tail[0].EndMs <= fromMs-slackMs {
		tail = tail[1:]
	}
	for len(head) > 0 && head[len(head)-1].StartMs >= toMs+slackMs {
		head = head[:len(head)-1]
	}
	if len(tail) == 0 || len(head) == 0 {
		return before, after
	}
	keep, drop := seam(tail, head, (fromMs+toMs)/2, slackOf(before, after))
	return sew(upTo(before, tail, keep), from(after, head, drop))
}

// spots returns all words of the parts, in order.
func spots(parts []part) []spot {
	var all []spot
	for i, p := range parts {
		for j, w := range p.words {
			all = append(all, spot{i, j, w})
		}
	}
	return all
}

// slackOf returns which slack is for times such as these.
func slackOf(before, after []part) int64 {
	if before[len(before)-1].guessed || after[0].guessed {
		return guessedSlackMs
	}
	return slackMs
}

// seam returns how many words to keep of those before and how many to drop of those
// after: up to the word that both have which is nearest to the middle. The words at
// the ends of a span are the ones that an engine has heard only a half of.
func seam(before, after []spot, middleMs, slack int64) (keep, drop int) {
	nearest := int64(-1)
	for _, p := range surest(align(before, after, slack)) {
		if d := distance(middle(before[p[0]]), middleMs); nearest < 0 || d < nearest {
			keep, drop, nearest = p[0]+1, p[1]+1, d
		}
	}
	if nearest >= 0 {
		return keep, drop
	}
	// They have nothing in common. What follows is after what is kept.
	for keep < len(before) && middle(before[keep]) < middleMs {
		keep++
	}
	for drop < len(after) && keep > 0 && middle(after[drop]) < before[keep-1].EndMs {
		drop++
	}
	return keep, drop
}

// surest returns the pairs that are between others, without a word between that only
// one side has; all if there are none. A common word may be another one.
func surest(pairs [][2]int) [][2]int {
	follows := func(a, b [2]int) bool { return b[0] == a[0]+1 && b[1] == a[1]+1 }
	var sure [][2]int
	for k := 1; k+1 < len(pairs); k++ {
		if follows(pairs[k-1], pairs[k]) && follows(pairs[k], pairs[k+1]) {
			sure = append(sure, pairs[k])
		}
	}
	if sure == nil {
		return pairs
	}
	return sure
}

func middle(w spot) int64 { return w.StartMs + (w.EndMs-w.StartMs)/2 }

// align returns pairs of words, in order, that are the same and were said at about
// the same time: as many as there can be and, of those, the closest.
func align(a, b []spot, slack int64) [][2]int {
	if len(a)*len(b) > maxComparisons {
		return nil
	}
	// best[i][j] is the worth of the best pairs among a[i:] and b[j:]. A pair is worth 1
	// and up to a half for being close.
	best := make([][]float64, len(a)+1)
	for i := range best {
		best[i] = make([]float64, len(b)+1)
	}
	plainA, plainB := plainWords(a), plainWords(b)
	worth := func(i, j int) float64 {
		d := distance(middle(a[i]), middle(b[j]))
		if plainA[i] == "" || plainA[i] != plainB[j] || d > slack {
			return 0
		}
		return 1 + 0.5*float64(slack-d)/float64(slack)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			best[i][j] = max(best[i+1][j], best[i][j+1])
			if w := worth(i, j); w > 0 {
				best[i][j] = max(best[i][j], w+best[i+1][j+1])
			}
		}
	}
	var pairs [][2]int
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch best[i][j] {
		case best[i+1][j]:
			i++
		case best[i][j+1]:
			j++
		default:
			pairs = append(pairs, [2]int{i, j})
			i, j = i+1, j+1
		}
	}
	return pairs
}

// plainWords returns words without what is no letter or digit, in lower case.
func plainWords(words []spot) []string {
	plain := make([]string, len(words))
	for i, w := range words {
		plain[i] = strings.Map(func(r rune) rune {
			if unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) {
				return unicode.ToLower(r)
			}
			return -1
		}, w.Text)
	}
	return plain
}

// upTo returns the parts up to the first keep of the spots, which are the last words.
func upTo(parts []part, spots []spot, keep int) []part {
	if keep == len(spots) {
		return parts
	}
	end := spots[keep] // the first to go
	kept := slices.Clone(parts[:end.part])
	if end.word > 0 {
		kept = append(kept, parts[end.part].slice(0, end.word))
	}
	return kept
}

// from returns the parts without the first drop of the spots, which are the first words.
func from(parts []part, spots []spot, drop int) []part {
	if drop == 0 {
		return parts
	}
	last := spots[drop-1] // to go
	rest := parts[last.part+1:]
	if words := len(parts[last.part].words); last.word+1 < words {
		rest = append([]part{parts[last.part].slice(last.word+1, words)}, rest...)
	}
	return rest
}

// sew makes one part of the two at a seam if it has gone through a sentence of both.
func sew(before, after []part) (a, b []part) {
	if len(before) == 0 || len(after) == 0 || !before[len(before)-1].tornEnd || !after[0].tornStart {
		return before, after
	}
	l, r := before[len(before)-1], after[0]
	l.text = strings.TrimSpace(l.text + " " + r.text)
	if l.confidence != nil && r.confidence != nil {
		mean := (*l.confidence*float64(len(l.words)) + *r.confidence*float64(len(r.words))) / float64(len(l.words)+len(r.words))
		l.confidence = &mean
	}
	l.words = append(slices.Clone(l.words), r.words...)
	l.endMs = max(l.endMs, r.endMs)
	l.guessed, l.tornEnd = l.guessed || r.guessed, r.tornEnd
	return append(slices.Clone(before[:len(before)-1]), l), after[1:]
}
