package crash

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	clipSeconds   = 6
	clipUpsampled = 6 // 96 kHz: 2.3 MB

	partSeconds = 17 // so upsampled, 6.5 MB: on S3, a part and a tail
)

// TestEveryPoint kills the server at every boundary of an upload's way, once
// each, and lets it start again: the phone resumes, and the recording plays.
func TestEveryPoint(t *testing.T) {
	t.Parallel()
	pieces := way{name: "in pieces", chunk: chunksOf(900 << 10)}
	atOnce := way{name: "with its creation", inCreation: true}
	slowly := way{name: "slowly", pace: pauseAfter(1<<20, 2300*time.Millisecond)} // longer than a request goes without a commit
	lengthLast := way{name: "length with the last bytes", chunk: chunksOf(1200 << 10), length: lengthLast}
	lengthAfter := way{name: "length after the last bytes", length: lengthAfter}
	inPartials := way{name: "in three partial uploads", partials: 3}
	type points []string // of one server after the other
	tests := []struct {
		way  way
		kill []points
	}{
		{pieces, []points{{"create.before"}, {"create.done"}}},
		{atOnce, []points{{"create.done"}, {"part.created"}, {"patch.written"}, {"patch.flushed"}, {"patch.committed"}}},
		{pieces, []points{{"part.created"}, {"patch.written"}, {"patch.written#2"}, {"part.synced"}, {"part.synced#2"},
			{"patch.flushed"}, {"patch.flushed#2"}, {"patch.flushed#3"}, {"patch.committed"}, {"patch.committed#2"}, {"patch.received"}}},
		{slowly, []points{{"patch.written"}, {"patch.flushed"}, {"patch.committed"}, {"patch.written#2"}}},
		{lengthLast, []points{{"length.before"}, {"length.done"}, {"patch.received"}}},
		{lengthAfter, []points{{"length.before"}, {"length.done"}, {"tx.commit#2"}}},
		// Every transaction of an upload's way, just before its commit.
		{pieces, []points{{"tx.commit#1"}, {"tx.commit#2"}, {"tx.commit#3"}, {"tx.commit#4"}, {"tx.commit#5"}, {"tx.commit#6"},
			{"tx.commit#7"}, {"tx.commit#8"}, {"tx.commit#9"}, {"tx.commit#10"}}},
		// The stages. The first server's death makes an upload of two parts, which
		// are joined instead of renamed.
		{pieces, []points{{"stage.store.before"}, {"part.sealed"}, {"object.named"}, {"stage.store.done"}, {"stage.store.recorded"}}},
		{pieces, []points{{"patch.flushed#2", "temp.written", "object.named"}, {"patch.flushed#2", "stage.store.done"}}},
		{pieces, []points{{"stage.verify.before"}, {"parts.removed"}, {"stage.verify.done"}, {"stage.verify.recorded"}}},
		{pieces, []points{{"stage.probe.before"}, {"stage.probe.done"}, {"stage.probe.recorded"}}},
		{pieces, []points{{"stage.transcode.before"}, {"temp.written#1"}, {"object.named#2"}, {"temp.written#3"}, {"object.named#5"},
			{"stage.transcode.done"}, {"stage.transcode.recorded"}, {"stage.transcode.done", "stage.transcode.done"}}},
		// Partial uploads, and what becomes of them when they are joined.
		{inPartials, []points{{"create.done"}, {"patch.received"}, {"patch.received#3"}, {"concat.before"}, {"concat.joined"},
			{"object.named#2"}, {"concat.partial#3"}, {"temp.written"}, {"object.named#4"}, {"stage.store.done"}, {"parts.removed#3"},
			{"concat.before", "concat.joined", "concat.partial#2", "temp.written", "stage.store.done", "parts.removed#2"}}},
		// One after the other, on the way of one upload.
		{pieces, []points{{"create.done", "patch.flushed", "patch.committed#2", "patch.written", "object.named",
			"stage.verify.done", "stage.probe.before", "temp.written#4"}}},
	}
	for _, tt := range tests {
		for _, points := range tt.kill {
			t.Run(label(tt.way.name, points), func(t *testing.T) {
				t.Parallel()
				newWorld(t).killAt(points, clipSeconds, tt.way)
			})
		}
	}
}

// TestEveryPointOnS3 is the same for what is done otherwise there, and for what goes
// with it.
func TestEveryPointOnS3(t *testing.T) {
	t.Parallel()
	pieces := way{name: "in pieces", chunk: chunksOf(900 << 10)}
	segments := way{name: "in pieces with segments", chunk: pieces.chunk}
	atOnce := way{name: "with its creation", inCreation: true}
	whole := way{name: "with its creation as an object", inCreation: true}
	tests := []struct {
		way     way
		seconds int
		tails   []string // settings
		kill    [][]string
	}{
		{pieces, partSeconds, nil, [][]string{{"part.before", "patch.flushed#2", "stage.store.done"}, {"part.done", "assemble.tail", "stage.verify.done"},
			{"patch.committed#7"}}},
		{segments, partSeconds, tailsInS3(), [][]string{{"segment.before", "segment.done", "part.done", "assemble.tail"}, {"segment.done#3", "stage.verify.before"}}},
		{whole, clipSeconds, nil, [][]string{{"object.before"}, {"object.done", "patch.committed"}}},
		{atOnce, partSeconds, nil, [][]string{{"part.before#2", "part.done", "patch.flushed"}, {"patch.received"}}},
	}
	turn := 0
	for _, tt := range tests {
		for _, points := range tt.kill {
			turn++
			t.Run(label(tt.way.name, points), func(t *testing.T) {
				t.Parallel()
				newWorldOnS3(t, turn, tt.tails...).killAt(points, tt.seconds, tt.way)
			})
		}
	}
}

// tailsInS3 are the settings that have tails of requests become segments, and not
// rows of the ledger.
func tailsInS3() []string { return []string{"REPRISE_INLINE_BYTES=0"} }

// killAt uploads speech while one server after the other dies at its point.
func (w *world) killAt(points []string, seconds int, way way) {
	t := w.t
	p := w.phone("alice", wav(t, 0, seconds, clipUpsampled), way)
	s := w.start("server 1", points[0])
	wait := w.begin(p)
	s.awaitDeath()
	for i, point := range points[1:] {
		s = w.start(fmt.Sprintf("server %d", i+2), point)
		s.awaitDeath()
	}
	died := time.Now()
	s = w.start("last server", "")
	wait()
	w.awaitReady(p)
	t.Logf("ready %v after the last death", time.Since(died).Round(time.Millisecond))
	w.finish([]*server{s}, p)
}

func label(name string, points []string) string {
	return strings.NewReplacer("#", "-").Replace(name + " " + strings.Join(points, " "))
}

// pauseAfter makes bodies pause once, after so many bytes.
func pauseAfter(after int, pause time.Duration) func() func(int) {
	return func() func(int) {
		sent := 0
		return func(n int) {
			if sent < after && sent+n >= after {
				time.Sleep(pause)
			}
			sent += n
		}
	}
}
