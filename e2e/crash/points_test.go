package crash

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const clip = 6 // seconds of speech in an upload

// TestEveryPoint kills the server at every boundary of an upload's way, once
// each, and lets it start again.
func TestEveryPoint(t *testing.T) {
	t.Parallel()
	inThree := way{chunk: chunksOf(900 << 10)}
	inTwo := way{chunk: chunksOf(1 << 20), length: lengthLast}
	pausing := way{pace: pauseOnce(1<<20, 2300*time.Millisecond)}
	tests := []struct {
		way    way
		points []string // of one server after the other
	}{
		// create
		{inThree, []string{"create.before"}},
		{inThree, []string{"create.done"}},
		{way{inCreation: true}, []string{"create.done"}},
		{way{inCreation: true}, []string{"part.created"}},
		{way{inCreation: true}, []string{"patch.written"}},
		{way{inCreation: true}, []string{"patch.flushed"}},
		{way{inCreation: true}, []string{"patch.committed"}},
		// patch
		{inThree, []string{"part.created"}},
		{inThree, []string{"patch.written"}},
		{inThree, []string{"patch.written#2"}},
		{inThree, []string{"part.synced"}},
		{inThree, []string{"part.synced#2"}},
		{inThree, []string{"patch.flushed"}},
		{inThree, []string{"patch.flushed#2"}},
		{inThree, []string{"patch.committed"}},
		{inThree, []string{"patch.committed#2"}},
	}
	_ = inTwo
	_ = pausing
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s", strings.Join(tt.points, ",")), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := w.phone("alice", wav(t, 0, clip, 2), tt.way)
			dying := w.start("server 1", tt.points[0])
			wait := w.begin(p)
			for i, point := range append(tt.points[1:], "") {
				dying.awaitDeath()
				dying = w.start(fmt.Sprintf("server %d", i+2), point)
			}
			wait()
			w.finish([]*server{dying}, p)
		})
	}
}

// pauseOnce makes a body pause once, after so many bytes.
func pauseOnce(after int, pause time.Duration) func(int) {
	sent := 0
	return func(n int) {
		if sent < after && sent+n >= after {
			time.Sleep(pause)
		}
		sent += n
	}
}
