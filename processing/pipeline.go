package processing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"reprise/internal/failpoint"
	"reprise/recording"
)

// errDeadline is the cause of the end of a stage's context.
var errDeadline = errors.New("the stage did not end within its deadline")

// errNotDue is the cause of the end of a stage that nobody needs any more.
var errNotDue = errors.New("the recording was deleted, or the stage done elsewhere")

// lookEvery is how often a running stage is asked after: how long a deleted
// recording keeps a worker busy, for a small query each time.
const lookEvery = 2 * time.Second

// pipeline runs stages and records how they end.
type pipeline struct {
	catalog Catalog
	stages  []stage         // in their order
	insight recording.Stage // what is asked for of a ready recording; "" for nothing
	dir     *workDir        // set before the first job
	metrics *metrics
	log     *slog.Logger
}

// work runs one stage of one recording, unless it has been done already. An
// error asks for another attempt.
func (p *pipeline) work(ctx context.Context, job recording.StageJob) error {
	st, next, err := p.find(job.Stage)
	if err != nil {
		return err
	}
	w, err := p.catalog.Work(ctx, job.RecordingID)
	if recording.CodeOf(err) == recording.CodeNotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the recording: %w", err)
	}
	state := w.Recording.State
	if w.Recording.Stage != job.Stage || state != recording.StateReceived && state != recording.StateProcessing {
		return nil
	}
	if err := p.mayDecode(ctx, job, w); err != nil {
		return err
	}
	failpoint.Hit("stage." + string(job.Stage) + ".before")
	start := time.Now()
	res, err := p.run(ctx, st, w)
	if err == nil {
		failpoint.Hit("stage." + string(job.Stage) + ".done")
		if res.Next = next; next == "" {
			res.Insight = p.insight
		}
		err = p.catalog.CompleteStage(ctx, job.RecordingID, job.Stage, res)
	}
	outcome, err := p.settle(ctx, job, err)
	p.metrics.stageSeconds.WithLabelValues(string(job.Stage), outcome).Observe(time.Since(start).Seconds())
	if err == nil {
		failpoint.Hit("stage." + string(job.Stage) + ".recorded")
	}
	return err
}

// delayed says that a stage waits because its owner has reached a limit.
type delayed struct{ until time.Time }

func (d *delayed) Error() string { return "the owner's limit is reached until " + d.until.String() }

// mayDecode returns a delayed if a stage would decode more of its owner's audio than
// may be in a day. Nothing is refused for that: the recording's bytes are safe, and
// its turn comes. What is being decoded at this moment isn't counted yet, so a day may
// have a little more.
func (p *pipeline) mayDecode(ctx context.Context, job recording.StageJob, w recording.Work) error {
	if job.Stage != recording.StageTranscode {
		return nil
	}
	from, err := p.catalog.MayDecode(ctx, w.Recording.OwnerID)
	if err != nil {
		return fmt.Errorf("ask for the owner's limit: %w", err)
	}
	if from == nil {
		return nil
	}
	p.metrics.refused(recording.LimitDailyDecoded)
	if err := p.catalog.DelayStage(ctx, job.RecordingID, job.Stage, *from); err != nil {
		return fmt.Errorf("delay the stage: %w", err)
	}
	return &delayed{*from}
}

// find returns a stage and the name of the one after it.
func (p *pipeline) find(name recording.Stage) (stage, recording.Stage, error) {
	for i, st := range p.stages {
		if st.name() != name {
			continue
		}
		if i+1 < len(p.stages) {
			return st, p.stages[i+1].name(), nil
		}
		return st, "", nil
	}
	// A newer replica has enqueued it; in a rolling deployment one of those takes it.
	return nil, "", recording.Errorf(recording.CodeUnavailable, "There is no stage %q in this version.", name)
}

// run runs a stage.
func (p *pipeline) run(ctx context.Context, st stage, w recording.Work) (recording.StageResult, error) {
	isDue := func(ctx context.Context) (bool, error) { return p.catalog.StageDue(ctx, w.Recording.ID, st.name()) }
	return attempt(ctx, p.dir, st.deadline(w), isDue, func(ctx context.Context, dir string) (recording.StageResult, error) {
		return st.run(ctx, w, dir)
	})
}

// attempt does the work of a stage in a folder of its own, within its deadline and
// while it is due. A panic is an error like others: it must not take the recording's
// last word away.
func attempt[T any](ctx context.Context, parent *workDir, deadline time.Duration, isDue func(context.Context) (bool, error), work func(ctx context.Context, dir string) (T, error)) (res T, err error) {
	dir, err := parent.make()
	if err != nil {
		return res, fmt.Errorf("make a work folder: %w", err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeoutCause(ctx, deadline, errDeadline)
	defer cancel()
	ctx, release := whileDue(ctx, isDue)
	defer release()
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
		if err != nil && errors.Is(context.Cause(ctx), errNotDue) {
			err = errNotDue
		}
	}()
	return work(ctx, dir)
}

// whileDue returns a context that ends once a stage is not due any more, and what
// to call when nobody needs it. It asks instead of being told: whichever process
// deletes a recording, no notice can get lost.
func whileDue(ctx context.Context, isDue func(context.Context) (bool, error)) (due context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			// While the database is away nobody knows, and the stage goes on.
			if due, err := isDue(ctx); err == nil && !due {
				cancel(errNotDue)
			}
		}
	}()
	return ctx, func() { cancel(nil); <-done }
}

// settle records the verdict that err is, if it is one, and returns what is
// left of it.
func (p *pipeline) settle(ctx context.Context, job recording.StageJob, err error) (outcome string, rest error) {
	var rejection *recording.Rejection
	var permanent *permanentError
	log := p.log.With(slog.String("recording", job.RecordingID.String()), slog.String("stage", string(job.Stage)))
	switch {
	case err == nil:
		return outcomeDone, nil
	case errors.Is(err, errNotDue):
		log.InfoContext(ctx, "stage ended early", slog.Any("reason", err))
		return outcomeObsolete, nil
	case errors.As(err, &rejection):
		log.InfoContext(ctx, "recording rejected", slog.String("reason", string(rejection.Reason)))
		if err := p.catalog.CountDecoded(ctx, job.RecordingID, job.Stage, rejection.Decoded); err != nil {
			return outcomeError, fmt.Errorf("count what was decoded: %w", err)
		}
		if err := p.catalog.RejectRecording(ctx, job.RecordingID, job.Stage, rejection.Reason, rejection.Detail); err != nil {
			return outcomeError, fmt.Errorf("record the rejection: %w", err)
		}
		p.metrics.rejected.WithLabelValues(string(rejection.Reason)).Inc()
		return outcomeRejected, nil
	case errors.As(err, &permanent):
		log.ErrorContext(ctx, "recording failed", slog.String("reason", string(permanent.reason)), slog.Any("error", permanent.err))
		if err := p.catalog.FailRecording(ctx, job.RecordingID, job.Stage, permanent.reason, permanent.detail); err != nil {
			return outcomeError, fmt.Errorf("record the failure: %w", err)
		}
		p.metrics.failed.WithLabelValues(string(permanent.reason)).Inc()
		return outcomeFailed, nil
	case errors.Is(ctx.Err(), context.Canceled):
		return outcomeStopped, err
	}
	return outcomeError, err
}

// giveUp ends a recording whose last attempt has failed.
func (p *pipeline) giveUp(ctx context.Context, job recording.StageJob, err error) error {
	p.log.ErrorContext(ctx, "recording failed after the last attempt", slog.String("recording", job.RecordingID.String()),
		slog.String("stage", string(job.Stage)), slog.Any("error", err))
	// The attempt's own time may be over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err = p.catalog.FailRecording(ctx, job.RecordingID, job.Stage, recording.ReasonInternal,
		"The server could not process this recording; trying again later may help.")
	if err == nil {
		p.metrics.failed.WithLabelValues(string(recording.ReasonInternal)).Inc()
	}
	return err
}
