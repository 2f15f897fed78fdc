package speech

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reprise/recording"
)

func TestCut(t *testing.T) {
	t.Parallel()
	const s = time.Second
	silence := func(start, end int64) recording.Silence {
		return recording.Silence{StartMs: 1000 * start, EndMs: 1000 * end}
	}
	for name, tt := range map[string]struct {
		total    time.Duration
		silences []recording.Silence
		want     []Span
	}{
		"nothing":                {0, nil, nil},
		"short":                  {80 * s, []recording.Silence{silence(30, 40)}, []Span{{0, 80 * s}}},
		"a silence":              {120 * s, []recording.Silence{silence(60, 64)}, []Span{{0, 62 * s}, {62 * s, 120 * s}}},
		"the longest":            {120 * s, []recording.Silence{silence(45, 46), silence(50, 54), silence(70, 71)}, []Span{{0, 52 * s}, {52 * s, 120 * s}}},
		"one across the bound":   {120 * s, []recording.Silence{silence(70, 90)}, []Span{{0, 75 * s}, {75 * s, 120 * s}}},
		"one too early":          {120 * s, []recording.Silence{silence(10, 30)}, []Span{{0, 80 * s}, {70 * s, 120 * s}}},
		"none":                   {230 * s, nil, []Span{{0, 80 * s}, {70 * s, 150 * s}, {140 * s, 220 * s}, {210 * s, 230 * s}}},
		"impossible ones":        {100 * s, []recording.Silence{silence(50, 50), silence(60, 55), silence(-9, -5), silence(900, 999)}, []Span{{0, 80 * s}, {70 * s, 100 * s}}},
		"silence and no more":    {160 * s, []recording.Silence{silence(0, 160)}, []Span{{0, 60 * s}, {60 * s, 120 * s}, {120 * s, 160 * s}}},
		"a silence, then speech": {200 * s, []recording.Silence{silence(50, 60)}, []Span{{0, 55 * s}, {55 * s, 135 * s}, {125 * s, 200 * s}}},
	} {
		if diff := cmp.Diff(tt.want, Cut(tt.total, tt.silences, 80*s)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// checkCut checks what holds for every recording.
func checkCut(t *testing.T, total time.Duration, silences []recording.Silence, longest time.Duration) {
	spans := Cut(total, silences, longest)
	if total <= 0 || longest <= 0 {
		if spans != nil {
			t.Fatalf("%v of nothing", spans)
		}
		return
	}
	overlap := 2 * min(longestOverlap, longest/8)
	for i, s := range spans {
		if s.End <= s.Start || s.End-s.Start > longest {
			t.Fatalf("span %d is %v", i, s)
		}
		if i == 0 {
			continue
		}
		before := spans[i-1]
		if s.Start <= before.Start || s.End <= before.End || s.Start != before.End && before.End-s.Start != overlap {
			t.Fatalf("%v, then %v", before, s)
		}
	}
	if spans[0].Start != 0 || spans[len(spans)-1].End != total {
		t.Fatalf("%v of %s", spans, total)
	}
	if pieces := int(total/longest) + 1; len(spans) > 3*pieces {
		t.Fatalf("%d spans, where %d would do", len(spans), pieces)
	}
}

func TestCutAnything(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		total := time.Duration(rnd.Int64N(int64(6 * time.Hour)))
		silences := make([]recording.Silence, rnd.IntN(50))
		for i := range silences {
			start := rnd.Int64N(total.Milliseconds()+1000) - 500
			silences[i] = recording.Silence{StartMs: start, EndMs: start + rnd.Int64N(60_000) - 100}
		}
		checkCut(t, total, silences, Longest)
	}
}

func FuzzCut(f *testing.F) {
	f.Add(int64(time.Hour), int64(time.Minute), int64(50_000), int64(55_000))
	f.Add(int64(1), int64(1), int64(0), int64(1))
	f.Add(int64(time.Hour), int64(5*time.Minute), int64(math.MinInt64), int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, total, longest, start, end int64) {
		if longest > 0 && total/longest > 10_000 { // nobody has so many
			t.Skip()
		}
		checkCut(t, time.Duration(total), []recording.Silence{{StartMs: start, EndMs: end}, {StartMs: end, EndMs: start}}, time.Duration(longest))
	})
}
