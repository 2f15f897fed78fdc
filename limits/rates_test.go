package limits

import (
	"strconv"
	"testing"
	"time"
)

func TestRate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	r := newRates[string](Rate{PerSecond: 2, Burst: 3}, 10)
	for range 3 {
		if wait := r.take("a", now); wait != 0 {
			t.Fatalf("within the burst: wait %v", wait)
		}
	}
	for range 5 { // asking costs nothing
		if wait := r.take("a", now); wait != 500*time.Millisecond {
			t.Fatalf("after the burst: wait %v, want 500ms", wait)
		}
	}
	if wait := r.take("b", now); wait != 0 {
		t.Errorf("another key waits %v", wait)
	}
	now = now.Add(500 * time.Millisecond)
	if wait := r.take("a", now); wait != 0 {
		t.Errorf("after waiting: wait %v", wait)
	}
	if wait := r.take("a", now); wait == 0 {
		t.Error("two for one")
	}
	if wait := newRates[string](Rate{}, 10).take("a", now); wait != 0 {
		t.Errorf("without a limit: wait %v", wait)
	}
}

// TestRatesAreBounded: the table keeps the latest, and shrinks when others have been
// idle for so long that they would begin anew anyway.
func TestRatesAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	r := newRates[string](Rate{PerSecond: 1, Burst: 1}, 100)
	for i := range 10_000 {
		r.take(strconv.Itoa(i), now)
	}
	if len(r.keys) > 100 || r.recent.Len() != len(r.keys) {
		t.Errorf("%d keys, %d in the list", len(r.keys), r.recent.Len())
	}
	if wait := r.take("9999", now); wait == 0 {
		t.Error("the latest was forgotten")
	}
	now = now.Add(time.Minute)
	for i := range 100 {
		r.take("new"+strconv.Itoa(i%2), now)
		now = now.Add(time.Second)
	}
	for i := range 100 {
		r.take("more"+strconv.Itoa(i), now.Add(time.Duration(i)*2*time.Second))
	}
	if len(r.keys) > 5 {
		t.Errorf("%d keys are left of which nobody has asked for long", len(r.keys))
	}
}
