package catalog_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reprise/recording"
)

func TestCorrections(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	bob, err := r.EnsureUser(ctx, "dev:bob")
	must(t, err)
	id := r.tell(r.alice, told{language: "en", said: "hello word\nhow are you\nbye"})
	change := func(startMs, endMs int64, text string, version int64) (recording.Transcript, error) {
		return r.CorrectTranscript(ctx, r.alice, id, recording.CorrectionChange{StartMs: startMs, EndMs: endMs, Text: &text, Version: version})
	}
	ok := func(now recording.Transcript, err error) func(version int64, text string) {
		t.Helper()
		return func(version int64, text string) {
			t.Helper()
			if err != nil || now.Version != version || now.Text() != text {
				t.Errorf("version %d %q, %v; want %d %q", now.Version, now.Text(), err, version, text)
			}
		}
	}
	refused := func(code recording.Code) func(recording.Transcript, error) {
		return func(_ recording.Transcript, err error) {
			t.Helper()
			if recording.CodeOf(err) != code {
				t.Errorf("%v, want %s", err, code)
			}
		}
	}
	ok(change(0, 200, "hello world", 1))(2, "hello world\nhow are you\nbye")
	ok(change(0, 200, "hello world", 1))(2, "hello world\nhow are you\nbye") // its answer was lost
	ok(change(0, 200, "hello world", 2))(2, "hello world\nhow are you\nbye") // changes nothing
	ok(change(200, 500, "how are you", 2))(2, "hello world\nhow are you\nbye")
	refused(recording.CodeConflict)(change(200, 500, "who are you", 1))
	refused(recording.CodeNotFound)(change(200, 400, "who are", 2))
	refused(recording.CodeNotFound)(r.CorrectTranscript(ctx, bob, id, recording.CorrectionChange{StartMs: 0, EndMs: 200, Text: new(string), Version: 2}))
	refused(recording.CodeNotFound)(r.CorrectTranscript(ctx, r.alice, id, recording.CorrectionChange{StartMs: 200, EndMs: 500, Version: 2}))
	ok(change(500, 600, "", 2))(3, "hello world\nhow are you")
	ok(r.CorrectTranscript(ctx, r.alice, id, recording.CorrectionChange{StartMs: 500, EndMs: 600, Version: 3}))(4, "hello world\nhow are you\nbye")

	list, err := r.Corrections(ctx, r.alice, id)
	must(t, err)
	want := []recording.Correction{
		{StartMs: 500, EndMs: 600, Version: 4, At: r.clock, Withdrawn: true}, {StartMs: 500, EndMs: 600, Version: 3, At: r.clock},
		{StartMs: 0, EndMs: 200, Text: "hello world", Version: 2, At: r.clock},
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Error(diff)
	}
	events, err := r.EventsSince(ctx, r.alice, nil, 0, 100)
	must(t, err)
	var data []string
	for _, e := range events {
		if e.Type == recording.EventTranscriptCorrected {
			data = append(data, string(e.Data))
		}
	}
	if !slices.Equal(data, []string{`{"endMs": 200, "startMs": 0, "version": 2}`, `{"endMs": 600, "startMs": 500, "version": 3}`, `{"endMs": 600, "startMs": 500, "version": 4}`}) {
		t.Errorf("events %q", data)
	}
	if list, err := r.Corrections(ctx, bob, id); err != nil || len(list) > 0 {
		t.Errorf("bob sees %v, %v", list, err)
	}
	refused(recording.CodeNotFound)(r.Transcript(ctx, bob, id))
	if _, err := r.Analysis(ctx, bob, id); recording.CodeOf(err) != recording.CodeNotFound {
		t.Error(err)
	}
	must(t, r.DeleteRecording(ctx, r.alice, id))
	refused(recording.CodeNotFound)(r.Transcript(ctx, r.alice, id))
}

// TestCorrectionOutlives: the recording is transcribed again, with segments that reach
// into a correction; what of them is outside can be corrected too.
func TestCorrectionOutlives(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	id := r.tell(r.alice, told{language: "en", said: "one two\nthree four"})
	text := "ONE TWO"
	_, err := r.CorrectTranscript(ctx, r.alice, id, recording.CorrectionChange{StartMs: 0, EndMs: 200, Text: &text, Version: 1})
	must(t, err)
	_, err = r.pool.Exec(ctx, `UPDATE transcripts SET version = version + 1, segments = '[{"startMs": 0, "endMs": 400, "text": "un du trois quatre", "words": [
		{"text": "un", "startMs": 0, "endMs": 100}, {"text": "du", "startMs": 100, "endMs": 190},
		{"text": "trois", "startMs": 190, "endMs": 300}, {"text": "quatre", "startMs": 300, "endMs": 400}]}]' WHERE recording_id = $1`, id)
	must(t, err)
	now, err := r.Transcript(ctx, r.alice, id)
	must(t, err)
	if now.Text() != "ONE TWO\ntrois quatre" || now.Version != 3 {
		t.Fatalf("version %d: %q", now.Version, now.Text())
	}
	text = "three four"
	now, err = r.CorrectTranscript(ctx, r.alice, id, recording.CorrectionChange{StartMs: 190, EndMs: 400, Text: &text, Version: 3})
	must(t, err)
	if now.Text() != "ONE TWO\nthree four" || now.Segments[1].StartMs != 200 {
		t.Errorf("%+v", now.Segments)
	}
}

// TestCorrectionsAtOnce: of those of one version exactly one wins.
func TestCorrectionsAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.tell(r.alice, told{language: "en", said: "hello word"})
	var wg sync.WaitGroup
	codes := make([]recording.Code, 8)
	for i := range codes {
		wg.Go(func() {
			text := string(rune('a' + i))
			_, err := r.CorrectTranscript(t.Context(), r.alice, id, recording.CorrectionChange{StartMs: 0, EndMs: 200, Text: &text, Version: 1})
			codes[i] = recording.CodeOf(err)
		})
	}
	wg.Wait()
	slices.Sort(codes)
	if codes[0] != "" || codes[1] != recording.CodeConflict || codes[7] != recording.CodeConflict {
		t.Errorf("%v", codes)
	}
	if n := r.count(`SELECT count(*) FROM corrections`); n != 1 {
		t.Errorf("%d corrections", n)
	}
}
