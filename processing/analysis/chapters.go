package analysis

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// Chapters are for recordings in which one looks for a place.
const (
	shortestWithChapters  = 5 * 60 * 1000 // ms
	shortestChapter       = 90 * 1000     // ms
	chapterEvery          = 3 * 60 * 1000 // ms, on average at most
	cohesionWords         = 120           // compared on each side of a gap
	longPauseMs           = 4000
	mostLocalChapters     = 30
	chapterTitlePhrases   = 2
	cohesionStep          = 20 // words, in a transcript of a few very long segments
	chapterDepthDeviation = 0.5
	chapterDepthShare     = 0.4 // of the deepest gap's depth
)

// A gap is a place between two segments where a chapter may begin.
type gap struct {
	segment int
	depth   float64 // how much less the two sides have in common than around
}

// chapters splits a long recording where its words change (TextTiling) or where
// somebody pauses for long.
func (r *reader) chapters(skip func(phrase) bool) []draftChapter {
	starts := []int{0}
	if len(r.atoms) > 0 && r.atoms[len(r.atoms)-1].endMs-r.atoms[0].startMs >= shortestWithChapters {
		starts = append(starts, r.boundaries()...)
	}
	if len(starts) == 1 {
		return nil
	}
	slices.Sort(starts)
	var out []draftChapter
	used := map[string]bool{}
	for i, s := range starts {
		end := len(r.atoms)
		if i+1 < len(starts) {
			end = r.first[starts[i+1]]
		}
		again := func(p phrase) bool { return skip(p) || used[strings.Join(p.stems, " ")] }
		all := r.phrases(r.first[s], end)
		phrases := distinct(all, chapterTitlePhrases, again)
		if len(phrases) == 0 {
			phrases = distinct(all, chapterTitlePhrases, skip)
		}
		var names []string
		for _, p := range phrases {
			names = append(names, p.name)
			used[strings.Join(p.stems, " ")] = true
		}
		title := capital(strings.Join(names, ", "))
		if title == "" {
			title = capital(r.slice(r.atoms[r.first[s]].from, r.atoms[min(end, r.first[s]+8)-1].to))
		}
		out = append(out, draftChapter{Segment: s, Title: title})
	}
	return out
}

// boundaries returns the segments at which chapters begin, but for the first one.
func (r *reader) boundaries() []int {
	gaps := r.gaps()
	mean, deviation := spread(gaps)
	slices.SortStableFunc(gaps, func(a, b gap) int { return cmp.Compare(b.depth, a.depth) })
	begin, end := r.atoms[0].startMs, r.atoms[len(r.atoms)-1].endMs
	most := min(mostLocalChapters, int((end-begin)/chapterEvery)) - 1
	var chosen []int
	for _, g := range gaps {
		if len(chosen) >= most || g.depth < max(mean+chapterDepthDeviation*deviation, chapterDepthShare*gaps[0].depth) {
			break
		}
		at := r.segments[g.segment].StartMs
		near := func(other int) bool { return abs(r.segments[other].StartMs-at) < shortestChapter }
		if at-begin >= shortestChapter && end-at >= shortestChapter && !slices.ContainsFunc(chosen, near) {
			chosen = append(chosen, g.segment)
		}
	}
	return chosen
}

func abs(v int64) int64 { return max(v, -v) }

func spread(gaps []gap) (mean, deviation float64) {
	if len(gaps) == 0 {
		return 0, 0
	}
	for _, g := range gaps {
		mean += g.depth / float64(len(gaps))
	}
	for _, g := range gaps {
		deviation += (g.depth - mean) * (g.depth - mean) / float64(len(gaps))
	}
	return mean, math.Sqrt(deviation)
}

// gaps returns the places between segments with words, at least cohesionStep words apart.
func (r *reader) gaps() []gap {
	var gaps []gap
	var similarities []float64
	last := 0
	for s := 1; s < len(r.segments); s++ {
		at := r.first[s]
		if at-last < cohesionStep || at == r.first[s+1] || at == 0 {
			continue
		}
		last = at
		gaps = append(gaps, gap{segment: s})
		similarities = append(similarities, r.similarity(at))
	}
	similarities = smooth(similarities)
	for i := range gaps {
		// The depth of the valley, seen from the nearest hills.
		left, right := i, i
		for left > 0 && similarities[left-1] >= similarities[left] {
			left--
		}
		for right+1 < len(gaps) && similarities[right+1] >= similarities[right] {
			right++
		}
		gaps[i].depth = similarities[left] + similarities[right] - 2*similarities[i]
		at := r.first[gaps[i].segment]
		if r.atoms[at].startMs-r.atoms[at-1].endMs >= longPauseMs {
			gaps[i].depth += 0.5
		}
	}
	return gaps
}

// smooth returns the mean of each value and its neighbours, in which a chance is no hill.
func smooth(values []float64) []float64 {
	out := make([]float64, len(values))
	for i := range values {
		near := values[max(0, i-1):min(len(values), i+2)]
		for _, v := range near {
			out[i] += v / float64(len(near))
		}
	}
	return out
}

// similarity is the cosine of the words on both sides of an atom.
func (r *reader) similarity(at int) float64 {
	before, after := map[string]float64{}, map[string]float64{}
	for i := max(0, at-cohesionWords); i < at; i++ {
		if r.stems[i] != "" {
			before[r.stems[i]]++
		}
	}
	for i := at; i < min(len(r.atoms), at+cohesionWords); i++ {
		if r.stems[i] != "" {
			after[r.stems[i]]++
		}
	}
	var product, left, right float64 // whole numbers, so that their order doesn't matter
	for w, n := range before {
		product += n * after[w]
		left += n * n
	}
	for _, n := range after {
		right += n * n
	}
	if product == 0 {
		return 0
	}
	return product / math.Sqrt(left*right)
}
