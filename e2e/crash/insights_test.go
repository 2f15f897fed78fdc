package crash

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reprise/internal/aiserver"
)

// TestPaidOnce kills the worker around every answer of a service, also between the
// answer and the transaction that keeps it: in the end there is one result of each
// stage, told once, and each answer was billed once.
func TestPaidOnce(t *testing.T) {
	t.Parallel()
	chains := [][]string{
		// At its end, because a busy server may have analysed before it dies.
		{"insight.transcribe.before", "insight.answered", "insight.answered", "insight.kept", "insight.transcribe.done", "insight.transcribe.recorded"},
		{"insight.analyse.before", "insight.answered", "insight.kept", "insight.analyse.done", "insight.analyse.recorded"},
	}
	for range rounds(0, 9) {
		chains = append(chains, chains[0], chains[1])
	}
	for i, points := range chains {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			service := aiserver.New(t)
			w := newWorld(t)
			w.settings = []string{
				"REPRISE_AI_TRANSCRIPTION=http", "REPRISE_AI_TRANSCRIPTION_URL=" + service.URL, "REPRISE_AI_TRANSCRIPTION_MODEL=whisper-1",
				"REPRISE_AI_ANALYSIS=http", "REPRISE_AI_ANALYSIS_URL=" + service.URL, "REPRISE_AI_ANALYSIS_MODEL=some-model",
			}
			p := w.phone("alice", wav(t, 0, clipSeconds, 1), way{})
			s := w.start("server 1", points[0])
			wait := w.begin(p)
			for i, point := range points {
				if i > 0 {
					s = w.start(fmt.Sprintf("server %d", i+1), point)
				}
				if i == 0 {
					wait()
				}
				s.awaitDeath()
			}
			s = w.start("last server", "")
			w.awaitInsights(p)
			if n := service.Billed(); n != 2 {
				t.Errorf("%d answers were billed, not one for each stage", n)
			}
			if n := query[int](w, `SELECT count(*) FROM provider_results`); n != 2 {
				t.Errorf("%d answers are kept", n)
			}
			if n := query[int](w, `SELECT count(*) FROM provider_usage WHERE audio_ms = $1`, clipSeconds*1000); n != 1 {
				t.Error("what was transcribed is not counted once")
			}
			if diff := cmp.Diff([]string{"transcript.ready", "analysis.ready"}, list[string](w, `SELECT type FROM events
				WHERE recording_id = $1 AND type ~ '^(transcript|analysis)' ORDER BY seq`, p.recording)); diff != "" {
				t.Errorf("I5: (-want +got)\n%s", diff)
			}
			s.stop()
		})
	}
}

// awaitInsights waits until a recording is transcribed and analysed.
func (w *world) awaitInsights(p *phone) {
	w.t.Helper()
	w.eventually("recording "+p.recording.String()+" is analysed", func() bool {
		return query[int](w, `SELECT count(*) FROM insights WHERE recording_id = $1 AND state = 'ready'`, p.recording) == 2
	})
}
