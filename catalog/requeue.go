package catalog

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// requeueBatch is how many recordings without their job are looked up at once.
const requeueBatch = 500

// The transaction that makes a job due enqueues it, so none is ever missing,
// unless somebody's hand took it: a row of the queue deleted or cancelled, or the
// queue's table restored from another day than the others.
const (
	isLive = `j.state IN ('available', 'pending', 'retryable', 'running', 'scheduled')`

	lackStage = ` FROM recordings r
		WHERE r.state IN ('received', 'processing') AND r.stage <> '' AND NOT EXISTS (
			SELECT FROM river_job j WHERE j.kind = 'stage' AND ` + isLive + `
			AND j.args->>'recordingId' = r.id::text AND j.args->>'stage' = r.stage)`

	lackInsight = ` FROM insights i JOIN recordings r ON r.id = i.recording_id
		WHERE i.state = 'waiting' AND r.state <> 'deleted' AND NOT EXISTS (
			SELECT FROM river_job j WHERE j.kind = 'insight' AND ` + isLive + `
			AND j.args->>'recordingId' = r.id::text AND j.args->>'stage' = i.stage AND (j.args->>'run')::bigint = i.run)`

	lackPurge = ` FROM recordings r JOIN uploads u ON u.recording_id = r.id
		WHERE r.purged_at IS NULL AND (r.state = 'deleted' OR ` + endedEarly + `)
		AND NOT EXISTS (
			SELECT FROM river_job j WHERE j.kind = 'purge' AND ` + isLive + ` AND j.args->>'recordingId' = r.id::text)`

	// A partial upload that was joined is purged with its final one's recording.
	lackPartialPurge = ` FROM uploads r
		WHERE r.partial AND r.final_id IS NULL AND r.state IN ('refused', 'terminated', 'expired', 'failed')
		AND EXISTS (SELECT FROM upload_parts p WHERE p.upload_id = r.id) AND NOT EXISTS (
			SELECT FROM river_job j WHERE j.kind = 'purge' AND ` + isLive + ` AND j.args->>'uploadId' = r.id::text)`
)

// RecordingsWithoutJob returns recordings whose next stage no job is to do: those
// with ids above after, in order, at most limit. It only looks in passing;
// RequeueStage makes sure.
func (c *Catalog) RecordingsWithoutJob(ctx context.Context, after uuid.UUID, limit int) ([]uuid.UUID, error) {
	return c.lacking(ctx, lackStage, after, limit)
}

// RecordingsWithoutPurge is the same of recordings whose bytes are to be deleted,
// now or one day, by no job. It reads every recording.
func (c *Catalog) RecordingsWithoutPurge(ctx context.Context, after uuid.UUID, limit int) ([]uuid.UUID, error) {
	return c.lacking(ctx, lackPurge, after, limit)
}

func (c *Catalog) lacking(ctx context.Context, lack string, after uuid.UUID, limit int) ([]uuid.UUID, error) {
	rows, err := c.pool.Query(ctx, `SELECT r.id`+lack+` AND r.id > $1 ORDER BY r.id LIMIT $2`, after, limit)
	if err != nil {
		return nil, classify(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	return list, classify(err)
}

// RequeueStages enqueues the next stage of every recording that has no job for
// it, and returns how many there were.
func (c *Catalog) RequeueStages(ctx context.Context) (int, error) {
	return requeueAll(ctx, c.RecordingsWithoutJob, c.RequeueStage)
}

// RequeuePurges enqueues the purge of every recording, and of every partial upload,
// whose bytes are to be deleted and that has no job for it, and returns how many
// there were.
func (c *Catalog) RequeuePurges(ctx context.Context) (int, error) {
	n, err := requeueAll(ctx, c.RecordingsWithoutPurge, c.RequeuePurge)
	if err != nil {
		return n, err
	}
	partials, err := requeueAll(ctx, func(ctx context.Context, after uuid.UUID, limit int) ([]uuid.UUID, error) {
		return c.lacking(ctx, lackPartialPurge, after, limit)
	}, c.requeuePartialPurge)
	return n + partials, err
}

func requeueAll(ctx context.Context, lacking func(context.Context, uuid.UUID, int) ([]uuid.UUID, error), requeue func(context.Context, uuid.UUID) (bool, error)) (int, error) {
	total := 0
	for after := uuid.Nil; ; {
		ids, err := lacking(ctx, after, requeueBatch)
		if err != nil || len(ids) == 0 {
			return total, err
		}
		for _, id := range ids {
			done, err := requeue(ctx, id)
			if err != nil {
				return total, err
			}
			if done {
				total++
			}
		}
		after = ids[len(ids)-1]
	}
}

// RequeueStage enqueues the next stage of a recording and says true, unless there
// is a job for it already, or nothing to do.
func (c *Catalog) RequeueStage(ctx context.Context, recordingID uuid.UUID) (bool, error) {
	var stage recording.Stage
	return c.requeue(ctx, lockRecording, recordingID, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT r.stage`+lackStage+` AND r.id = $1`, recordingID).Scan(&stage); err != nil {
			return err
		}
		return c.enqueue(ctx, tx, recording.StageJob{RecordingID: recordingID, Stage: stage}, time.Time{})
	})
}

// RequeueInsights enqueues every insight that is waited for without a job, and returns
// of how many recordings there were some.
func (c *Catalog) RequeueInsights(ctx context.Context) (int, error) {
	return requeueAll(ctx, func(ctx context.Context, after uuid.UUID, limit int) ([]uuid.UUID, error) {
		return c.lacking(ctx, lackInsight, after, limit)
	}, c.requeueInsight)
}

func (c *Catalog) requeueInsight(ctx context.Context, recordingID uuid.UUID) (bool, error) {
	return c.requeue(ctx, lockRecording, recordingID, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT r.id, i.stage, i.run`+lackInsight+` AND r.id = $1`, recordingID)
		if err != nil {
			return err
		}
		jobs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[recording.InsightJob])
		if err != nil {
			return err
		}
		if len(jobs) == 0 {
			return pgx.ErrNoRows
		}
		for _, job := range jobs {
			if err := c.enqueue(ctx, tx, job, time.Time{}); err != nil {
				return err
			}
		}
		return nil
	})
}

// RequeuePurge enqueues the purge of a recording, for the day it is due, and says
// true, unless there is a job for it already, or nothing to do.
func (c *Catalog) RequeuePurge(ctx context.Context, recordingID uuid.UUID) (bool, error) {
	var deletedAt *time.Time
	return c.requeue(ctx, lockRecording, recordingID, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT r.deleted_at`+lackPurge+` AND r.id = $1`, recordingID).Scan(&deletedAt); err != nil {
			return err
		}
		var at time.Time
		if deletedAt != nil {
			at = deletedAt.Add(c.deletedRetention)
		}
		return c.enqueue(ctx, tx, recording.PurgeJob{RecordingID: recordingID}, at)
	})
}

func (c *Catalog) requeuePartialPurge(ctx context.Context, uploadID uuid.UUID) (bool, error) {
	var id uuid.UUID
	return c.requeue(ctx, `SELECT FROM uploads WHERE id = $1 FOR UPDATE`, uploadID, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT r.id`+lackPartialPurge+` AND r.id = $1`, uploadID).Scan(&id); err != nil {
			return err
		}
		return c.enqueue(ctx, tx, recording.PurgeJob{UploadID: id}, time.Time{})
	})
}

// lockRecording locks what everybody locks who enqueues a job of a recording.
const lockRecording = `SELECT FROM recordings WHERE id = $1 FOR UPDATE`

// requeue runs fn, which gets no row if nothing is lacking, under a row's lock, so
// that only one of several finds it lacking; fn's own statement sees what was
// committed while this waited.
func (c *Catalog) requeue(ctx context.Context, lock string, id uuid.UUID, fn func(pgx.Tx) error) (done bool, err error) {
	err = c.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lock, id); err != nil {
			return err
		}
		err := fn(tx)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		done = err == nil
		return err
	})
	return done && err == nil, err
}
