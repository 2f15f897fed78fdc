package processing

import (
	"context"
	"errors"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"reprise/processing/provider"
	"reprise/recording"
)

const (
	purgeTimeout   = 10 * time.Minute
	janitorTimeout = time.Hour
	// sweepTimeout lets a storage be listed that answers ten requests a second, each
	// with a thousand names, and holds hundreds of millions of objects.
	sweepTimeout = 6 * time.Hour
	// sweepEvery is how often the storage is looked through, which costs a request
	// for every thousand objects. The queue remembers it, for all processes.
	sweepEvery = 24 * time.Hour
	// sweepAsk is how often a process asks whether it is time.
	sweepAsk = 10 * time.Minute
	// giveUpRetry is when giving a recording up is tried again, if even that
	// could not be recorded.
	giveUpRetry = 10 * time.Second
	// outageRetry is the longest pause before a stage is tried again.
	outageRetry = 30 * time.Second
	// delayRetry is the longest pause of a stage whose owner has reached a limit.
	delayRetry = time.Hour
)

// stageWorker runs the jobs of stages.
type stageWorker struct {
	river.WorkerDefaults[recording.StageJob]
	pipeline *pipeline
	timeout  time.Duration // longer than any stage's deadline
}

func (w *stageWorker) Timeout(*river.Job[recording.StageJob]) time.Duration { return w.timeout }

// NextRetry comes after seconds, 2, 8, then at most 30: somebody is waiting for
// the recording.
func (w *stageWorker) NextRetry(job *river.Job[recording.StageJob]) time.Time {
	return time.Now().Add(min(outageRetry, time.Second<<min(2*job.Attempt-1, 10)))
}

func (w *stageWorker) Work(ctx context.Context, job *river.Job[recording.StageJob]) error {
	if job.Attempt > 1 {
		w.pipeline.metrics.retries.WithLabelValues(string(job.Args.Stage)).Inc()
	}
	err := w.pipeline.work(ctx, job.Args)
	var late *delayed
	switch {
	case err == nil:
		return nil
	case errors.As(err, &late):
		// Not until then: an operator may raise the limit.
		return river.JobSnooze(max(0, min(delayRetry, time.Until(late.until))) + rand.N(time.Minute)) // not all at once
	case stopping(ctx):
		return river.JobSnooze(0) // an attempt cut short by a stop does not count
	case isOutage(err):
		return river.JobSnooze(outageRetry)
	case job.Attempt < job.MaxAttempts:
		return err
	}
	if err := w.pipeline.giveUp(ctx, job.Args, err); err != nil {
		return river.JobSnooze(giveUpRetry)
	}
	return err
}

// isOutage reports whether err is the server's trouble and not the file's: a
// storage or a database that is away or full. It takes up no attempt, or every
// recording that comes by during an outage would fail.
func isOutage(err error) bool {
	switch recording.CodeOf(err) {
	case recording.CodeUnavailable, recording.CodeStorageFull:
		return true
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// stopping reports whether ctx ended because the client is told to stop, not
// because of a timeout or because the job was cancelled.
func stopping(ctx context.Context) bool {
	return errors.Is(ctx.Err(), context.Canceled) && !errors.Is(context.Cause(ctx), rivertype.ErrJobCancelledRemotely)
}

// insightWorker runs the jobs of what follows a ready recording.
type insightWorker struct {
	river.WorkerDefaults[recording.InsightJob]
	insights *insights
	timeout  time.Duration // longer than any deadline
}

func (w *insightWorker) Timeout(*river.Job[recording.InsightJob]) time.Duration { return w.timeout }

// NextRetry comes after 10 seconds, 40, 160: nobody waits for it to listen.
func (w *insightWorker) NextRetry(job *river.Job[recording.InsightJob]) time.Time {
	return time.Now().Add(10 * time.Second << min(2*(job.Attempt-1), 10))
}

func (w *insightWorker) Work(ctx context.Context, job *river.Job[recording.InsightJob]) error {
	if job.Attempt > 1 {
		w.insights.metrics.retries.WithLabelValues(string(job.Args.Stage)).Inc()
	}
	err := w.insights.work(ctx, job.Args)
	var late *delayed
	var outage *provider.OutageError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &late):
		return river.JobSnooze(max(0, min(delayRetry, time.Until(late.until))) + rand.N(time.Minute))
	case stopping(ctx):
		return river.JobSnooze(0)
	case errors.As(err, &outage):
		// However long it lasts, it takes up no attempt. Not all at once afterwards.
		return river.JobSnooze(outage.RetryAfter + rand.N(outage.RetryAfter/4+time.Second))
	case isOutage(err):
		return river.JobSnooze(outageRetry)
	case job.Attempt < job.MaxAttempts:
		return err
	}
	if err := w.insights.giveUp(ctx, job.Args, err); err != nil {
		return river.JobSnooze(giveUpRetry)
	}
	return err
}

// purgeWorker deletes the bytes of recordings and of partial uploads.
type purgeWorker struct {
	river.WorkerDefaults[recording.PurgeJob]
	catalog Catalog
	objects Objects
}

func (w *purgeWorker) Timeout(*river.Job[recording.PurgeJob]) time.Duration { return purgeTimeout }

func (w *purgeWorker) Work(ctx context.Context, job *river.Job[recording.PurgeJob]) error {
	err := purge(ctx, w.catalog, w.objects, job.Args)
	if err != nil && stopping(ctx) {
		return river.JobSnooze(0)
	}
	return err
}

// janitorWorker does what the janitor does often.
type janitorWorker struct {
	river.WorkerDefaults[recording.JanitorJob]
	janitor *Janitor
	metrics *metrics
}

func (w *janitorWorker) Timeout(*river.Job[recording.JanitorJob]) time.Duration {
	return janitorTimeout
}

func (w *janitorWorker) Work(ctx context.Context, _ *river.Job[recording.JanitorJob]) error {
	res, err := w.janitor.Tidy(ctx)
	w.metrics.tidied(res)
	return err
}

// sweepWorker does what the janitor does rarely.
type sweepWorker struct {
	river.WorkerDefaults[recording.SweepJob]
	janitor *Janitor
	metrics *metrics
}

func (w *sweepWorker) Timeout(*river.Job[recording.SweepJob]) time.Duration { return sweepTimeout }

func (w *sweepWorker) Work(ctx context.Context, _ *river.Job[recording.SweepJob]) error {
	res, err := w.janitor.Sweep(ctx)
	w.metrics.tidied(res)
	if err != nil && stopping(ctx) {
		return river.JobSnooze(0)
	}
	return err
}

// janitorEvery is the periodic job; one round waits or runs at a time.
func janitorEvery(interval time.Duration) *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(interval), func() (river.JobArgs, *river.InsertOpts) {
		return recording.JanitorJob{}, &river.InsertOpts{
			MaxAttempts: 1, // the next round is another attempt
			Priority:    4,
			UniqueOpts: river.UniqueOpts{ByState: []rivertype.JobState{
				rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning,
				rivertype.JobStateRetryable, rivertype.JobStateScheduled,
			}},
		}
	}, &river.PeriodicJobOpts{ID: "janitor", RunOnStart: true})
}

// sweepJob is the sweep of a day (UTC): any of that day, a completed one too, keeps
// another from being enqueued, unless all its attempts have failed. A server that
// restarts often doesn't sweep for that.
func sweepJob() (river.JobArgs, *river.InsertOpts) {
	return recording.SweepJob{}, &river.InsertOpts{
		MaxAttempts: 3,
		Priority:    4,
		UniqueOpts:  river.UniqueOpts{ByPeriod: sweepEvery},
	}
}
