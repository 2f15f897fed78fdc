// Package processing turns an upload whose every byte is safe into a recording
// that can be played: it runs a list of stages as jobs, and the janitor that
// clears up behind everybody.
//
// It decides whether a file is acceptable, what is made of it and when
// something is tried again. It is no queue: jobs lie in Postgres and are
// enqueued by the transactions that make them due, so a recording has exactly
// one chain of them. It speaks no SQL and no HTTP, and what a file holds is for
// the package ffmpeg to find out.
//
// What it promises:
//   - A stage may be killed at any point and run again: its findings count once,
//     and what a dead attempt has left in storage is deleted by the janitor.
//   - A file at fault is rejected at once. A fault of the server is tried again
//     after seconds; after the last attempt the recording is failed, not stuck.
//   - Every stage has a deadline of its own, so no file holds a worker for ever. A
//     running one ends within seconds of its recording's deletion.
//   - The job of a killed worker runs again within seconds, because workers hold
//     a lock that dies with them. So does one that a living worker was given by a
//     database that went away before it said so. One that somebody has deleted from
//     the queue is enqueued again by the janitor, once.
//   - The janitor deletes nothing that a row of the database may need, or that none
//     has ever been about.
package processing

import (
	"context"
	"io"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

// Catalog is what processing asks of the database. Each method is one
// transaction.
type Catalog interface {
	// Work returns a recording and its upload, or recording.ErrNotFound.
	Work(ctx context.Context, recordingID uuid.UUID) (recording.Work, error)

	// StageDue reports whether that stage is still the recording's current one, which
	// it is not once it was done elsewhere or the recording was deleted.
	StageDue(ctx context.Context, recordingID uuid.UUID, stage recording.Stage) (bool, error)

	// CompleteStage, RejectRecording and FailRecording record the end of a stage.
	// They do nothing if it is not the recording's current one any more. A failure
	// for recording.ReasonStorage ends the upload too.
	CompleteStage(ctx context.Context, recordingID uuid.UUID, stage recording.Stage, result recording.StageResult) error
	RejectRecording(ctx context.Context, recordingID uuid.UUID, stage recording.Stage, reason recording.Reason, detail string) error
	FailRecording(ctx context.Context, recordingID uuid.UUID, stage recording.Stage, reason recording.Reason, detail string) error

	// MayDecode returns when more audio of this user may be decoded, nil for now.
	// DelayStage tells the owner of a recording that its stage waits for that, and
	// CountDecoded counts what was decoded for a rejection.
	MayDecode(ctx context.Context, owner uuid.UUID) (from *time.Time, err error)
	DelayStage(ctx context.Context, recordingID uuid.UUID, stage recording.Stage, until time.Time) error
	CountDecoded(ctx context.Context, recordingID uuid.UUID, stage recording.Stage, decoded time.Duration) error

	// InsightWork returns what a job needs, recording.ErrNotFound if there is nothing to
	// do for it (any more), which InsightDue tells while it runs.
	InsightWork(ctx context.Context, job recording.InsightJob) (recording.InsightWork, error)
	InsightDue(ctx context.Context, job recording.InsightJob) (bool, error)
	// CompleteTranscript, CompleteAnalysis and FailInsight record how a job has ended;
	// they do nothing if there was nothing to do for it any more.
	CompleteTranscript(ctx context.Context, job recording.InsightJob, t recording.Transcript, analyse bool) error
	CompleteAnalysis(ctx context.Context, job recording.InsightJob, a recording.Analysis) error
	FailInsight(ctx context.Context, job recording.InsightJob, reason recording.Reason, detail string) error
	// MayAsk returns when more of this user's may be transcribed or analysed, nil for
	// now, and DelayInsight tells the owner of a recording that it waits for that.
	MayAsk(ctx context.Context, owner uuid.UUID, stage recording.Stage) (from *time.Time, err error)
	DelayInsight(ctx context.Context, job recording.InsightJob, until time.Time) error
	// ProviderResult returns an answer that KeepResult has kept, or ErrNotFound.
	ProviderResult(ctx context.Context, recordingID uuid.UUID, digest []byte) (recording.ProviderResult, error)
	// CountTokens counts what was used for no answer.
	KeepResult(ctx context.Context, r recording.ProviderResult) error
	CountTokens(ctx context.Context, recordingID uuid.UUID, tokens int64) error

	// HoldWorkerLock makes it known that the worker clientID lives, until release
	// or the end of this process.
	HoldWorkerLock(ctx context.Context, clientID string) (release func(), err error)
	// RescueJobs makes the running jobs of dead workers available again and
	// returns how many.
	RescueJobs(ctx context.Context) (int, error)
	// RunningJobs returns the ids of the jobs that the worker clientID is running by
	// the queue's rows, and RescueLost makes some of them available again.
	RunningJobs(ctx context.Context, clientID string) ([]int64, error)
	RescueLost(ctx context.Context, clientID string, ids []int64) (int, error)

	// ExpireUploads ends uploads that nothing came for, with their purge enqueued.
	ExpireUploads(ctx context.Context, now time.Time) (int, error)
	// Purgeable returns what to delete of a recording or a partial upload; ErrNotFound
	// while it lives.
	Purgeable(ctx context.Context, job recording.PurgeJob) (recording.Purge, error)
	// MarkPurged records that nothing of it is in storage any more.
	MarkPurged(ctx context.Context, job recording.PurgeJob) error
	// Holdings says what entries of the storage are to the ledger, in their order.
	// Since is when the storage began to tell of them.
	Holdings(ctx context.Context, entries []recording.StoredEntry, since time.Time) ([]recording.Holding, error)
	// RequeueStages, RequeueInsights and RequeuePurges enqueue what is to be done of
	// recordings that no job is there for, and return how many those were.
	RequeueStages(ctx context.Context) (int, error)
	RequeueInsights(ctx context.Context) (int, error)
	RequeuePurges(ctx context.Context) (int, error)
	// RecountUsage corrects what is counted wrong of what users have, and returns for
	// how many it was.
	RecountUsage(ctx context.Context) (int, error)
}

// Objects is what processing asks of the storage; storage.Store says what the
// methods promise.
type Objects interface {
	Assemble(ctx context.Context, u recording.Upload) error
	DiscardParts(ctx context.Context, u recording.Upload) error
	Open(ctx context.Context, key string) (recording.Object, error)
	Fetch(ctx context.Context, key, path string) error
	Put(ctx context.Context, key string, r io.Reader) (recording.ObjectInfo, error)
	Delete(ctx context.Context, key string) error
	List(ctx context.Context, fn func(recording.StoredEntry) error) error
	Remove(ctx context.Context, entry recording.StoredEntry) error
}

// Ticks takes events that are live only: progress.
type Ticks interface {
	Publish(ctx context.Context, tick recording.Event)
}
