package processing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"reprise/recording"
)

// notes is a catalog that holds one recording and notes what is recorded of it.
type notes struct {
	Catalog
	work   recording.Work
	broken bool
	wait   *time.Time // when more may be decoded
	list   []string
}

func (n *notes) Work(_ context.Context, id uuid.UUID) (recording.Work, error) {
	if id != n.work.Recording.ID {
		return recording.Work{}, recording.ErrNotFound
	}
	return n.work, nil
}

func (n *notes) note(s string) error {
	if n.broken {
		return errors.New("the database is away")
	}
	n.list = append(n.list, s)
	return nil
}

func (n *notes) CompleteStage(_ context.Context, _ uuid.UUID, stage recording.Stage, res recording.StageResult) error {
	return n.note("completed " + string(stage) + ", next " + string(res.Next))
}

func (n *notes) MayDecode(context.Context, uuid.UUID) (*time.Time, error) { return n.wait, nil }

func (n *notes) DelayStage(_ context.Context, _ uuid.UUID, stage recording.Stage, until time.Time) error {
	return n.note("delayed " + string(stage) + " until " + until.String())
}

func (n *notes) CountDecoded(_ context.Context, _ uuid.UUID, _ recording.Stage, decoded time.Duration) error {
	if decoded == 0 {
		return nil
	}
	return n.note("counted " + decoded.String())
}

func (n *notes) RejectRecording(_ context.Context, _ uuid.UUID, _ recording.Stage, reason recording.Reason, _ string) error {
	return n.note("rejected " + string(reason))
}

func (n *notes) FailRecording(_ context.Context, _ uuid.UUID, _ recording.Stage, reason recording.Reason, _ string) error {
	return n.note("failed " + string(reason))
}

// step is a stage that does what it is told.
type step struct {
	label recording.Stage
	do    func(ctx context.Context, dir string) error
}

func (s step) name() recording.Stage                 { return s.label }
func (s step) deadline(recording.Work) time.Duration { return 50 * time.Millisecond }
func (s step) run(ctx context.Context, _ recording.Work, dir string) (recording.StageResult, error) {
	return recording.StageResult{}, s.do(ctx, dir)
}

func TestHowAStageEnds(t *testing.T) {
	t.Parallel()
	returns := func(err error) func(context.Context, string) error {
		return func(context.Context, string) error { return err }
	}
	id := recording.NewID()
	processing := recording.Recording{ID: id, State: recording.StateProcessing, Stage: recording.StageProbe}
	for _, c := range []struct {
		name      string
		recording recording.Recording
		job       recording.StageJob
		do        func(context.Context, string) error
		broken    bool
		want      []string
		wantErr   bool
	}{
		{name: "done", do: returns(nil), want: []string{"completed probe, next transcode"}},
		{name: "not recorded", do: returns(nil), broken: true, wantErr: true},
		{name: "rejected after decoding", do: returns(&recording.Rejection{Reason: recording.ReasonTooLong, Decoded: time.Hour}), want: []string{"counted 1h0m0s", "rejected too_long"}},
		{name: "rejected", do: returns(&recording.Rejection{Reason: recording.ReasonTooLong, Detail: "x"}), want: []string{"rejected too_long"}},
		{name: "rejection not recorded", do: returns(&recording.Rejection{Reason: recording.ReasonTooLong}), broken: true, wantErr: true},
		{name: "for good", do: returns(lost(errors.New("x"))), want: []string{"failed storage_error"}},
		{name: "for now", do: returns(errors.New("x")), wantErr: true},
		{name: "panic", do: func(context.Context, string) error { panic("x") }, wantErr: true},
		{name: "too slow", do: func(ctx context.Context, _ string) error { <-ctx.Done(); return context.Cause(ctx) }, wantErr: true},
		{name: "done before", recording: recording.Recording{ID: id, State: recording.StateProcessing, Stage: recording.StageTranscode}},
		{name: "deleted", recording: recording.Recording{ID: id, State: recording.StateDeleted, Stage: recording.StageProbe}},
		{name: "failed before", recording: recording.Recording{ID: id, State: recording.StateFailed, Stage: recording.StageProbe}},
		{name: "unknown recording", job: recording.StageJob{RecordingID: recording.NewID(), Stage: recording.StageProbe}},
		{name: "unknown stage", job: recording.StageJob{RecordingID: id, Stage: "sing"}, wantErr: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.recording.ID == uuid.Nil {
				c.recording = processing
			}
			if c.job.RecordingID == uuid.Nil {
				c.job = recording.StageJob{RecordingID: id, Stage: recording.StageProbe}
			}
			if c.do == nil {
				c.do = func(context.Context, string) error { t.Error("the stage ran"); return nil }
			}
			n := &notes{work: recording.Work{Recording: c.recording}, broken: c.broken}
			p := newTestPipeline(t, n, step{recording.StageProbe, c.do}, step{label: recording.StageTranscode})
			if err := p.work(t.Context(), c.job); (err != nil) != c.wantErr {
				t.Errorf("got %v", err)
			}
			if diff := cmp.Diff(c.want, n.list); diff != "" {
				t.Error(diff)
			}
			if left, err := os.ReadDir(p.dir.path); err != nil || len(left) != 1 { // the lock
				t.Errorf("left in the work folder: %v, %v", left, err)
			}
		})
	}
}

func newTestPipeline(t *testing.T, c Catalog, stages ...stage) *pipeline {
	t.Helper()
	dir, err := openWorkDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.close() })
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	m.refused = func(recording.LimitName) {}
	return &pipeline{catalog: c, stages: stages, dir: dir, metrics: m, log: slog.New(slog.DiscardHandler)}
}

// Outages take up no attempt: a storage that is full, a database that is away, a
// stage that only a newer replica knows.
func TestOutages(t *testing.T) {
	t.Parallel()
	_, _, unknown := (&pipeline{}).find("later")
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"unknown stage": {unknown, true},
		"full storage":  {fmt.Errorf("put: %w", &recording.Error{Code: recording.CodeStorageFull}), true},
		"full disk":     {&os.PathError{Op: "write", Err: syscall.ENOSPC}, true},
		"database away": {&recording.Error{Code: recording.CodeUnavailable}, true},
		"decoder crash": {errors.New("ffmpeg: signal: segmentation fault"), false},
	} {
		if got := isOutage(tt.err); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestDailyLimitDelays: a recording whose owner's day is full waits, and nothing of it
// runs or fails.
func TestDailyLimitDelays(t *testing.T) {
	t.Parallel()
	id, until := uuid.New(), time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC)
	n := &notes{wait: &until, work: recording.Work{Recording: recording.Recording{ID: id, State: recording.StateProcessing, Stage: recording.StageTranscode}}}
	ran := false
	p := newTestPipeline(t, n, step{recording.StageTranscode, func(context.Context, string) error { ran = true; return nil }})
	var refused []recording.LimitName
	p.metrics.refused = func(name recording.LimitName) { refused = append(refused, name) }
	w := &stageWorker{pipeline: p}
	job := &river.Job[recording.StageJob]{
		JobRow: &rivertype.JobRow{Attempt: 3, MaxAttempts: 3},
		Args:   recording.StageJob{RecordingID: id, Stage: recording.StageTranscode},
	}
	var snooze *river.JobSnoozeError
	if err := w.Work(t.Context(), job); !errors.As(err, &snooze) || snooze.Duration > delayRetry+time.Minute {
		t.Errorf("got %v, want a snooze of an hour at the most", err)
	}
	if ran {
		t.Error("the stage ran")
	}
	want := []string{"delayed transcode until 2026-05-02 00:00:00 +0000 UTC"}
	if diff := cmp.Diff(want, n.list); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]recording.LimitName{recording.LimitDailyDecoded}, refused); diff != "" {
		t.Error(diff)
	}
}
