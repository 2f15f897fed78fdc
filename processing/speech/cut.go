package speech

import (
	"time"

	"reprise/recording"
)

// Longest is how long a piece of a recording is at most: short enough for services
// that limit a request, long enough that few words are at an end.
const Longest = 5 * time.Minute

// longestOverlap is how far a piece goes beyond a cut where people speak. An engine
// hears the words at the end of a piece badly; those some seconds away it knows.
const longestOverlap = 5 * time.Second

// Span is the stretch of a recording that one piece has.
type Span struct {
	Start, End time.Duration
}

// Cut returns the spans of a recording, in order and without a gap: each is at most
// longest. It cuts within silences. Where people speak for too long it cuts anywhere,
// and the spans on both sides overlap, so that each word is whole in one of them.
func Cut(total time.Duration, silences []recording.Silence, longest time.Duration) []Span {
	if total <= 0 || longest <= 0 {
		return nil
	}
	overlap := min(longestOverlap, longest/8)
	var spans []Span
	start := time.Duration(0)
	for total-start > longest {
		// In the last half, so that pieces don't get many and small.
		if at, found := pause(silences, start+longest/2, start+longest); found {
			spans = append(spans, Span{start, at})
			start = at
			continue
		}
		spans = append(spans, Span{start, start + longest})
		start += longest - 2*overlap
	}
	return append(spans, Span{start, total})
}

// pause returns the middle of the longest silence between two times, as far as it is
// between them; of equally long ones the later.
func pause(silences []recording.Silence, from, to time.Duration) (at time.Duration, found bool) {
	longest := minPause.Milliseconds()
	for _, s := range silences {
		start := max(from.Milliseconds(), s.StartMs)
		end := max(start, min(to.Milliseconds(), s.EndMs))
		if end-start >= longest {
			at, longest, found = time.Duration(start+(end-start)/2)*time.Millisecond, end-start, true
		}
	}
	return at, found
}

// minPause is how long a silence is at least that is worth a cut: half of it is on
// each side.
const minPause = 200 * time.Millisecond
