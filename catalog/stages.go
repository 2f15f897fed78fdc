package catalog

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// Work returns what a stage needs to know of a recording.
func (c *Catalog) Work(ctx context.Context, recordingID uuid.UUID) (recording.Work, error) {
	var w recording.Work
	err := c.inTx(ctx, func(tx pgx.Tx) (err error) {
		w.Recording, err = oneRecording(ctx, tx, `SELECT `+recordingColumns+` FROM recordings r WHERE r.id = $1`, recordingID)
		if err != nil {
			return err
		}
		w.Upload, err = oneUpload(ctx, tx, `SELECT `+uploadColumns+` FROM uploads u WHERE u.recording_id = $1`, recordingID)
		if err != nil {
			return err
		}
		w.Upload.Partials, err = partialsOf(ctx, tx, w.Upload)
		return err
	})
	return w, err
}

// StageDue reports whether a stage is still what is to be done of a recording.
func (c *Catalog) StageDue(ctx context.Context, recordingID uuid.UUID, stage recording.Stage) (due bool, err error) {
	err = c.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM recordings WHERE `+stageDue+`)`, recordingID, stage).Scan(&due)
	return due, classify(err)
}

// CompleteStage records the end of a stage with everything it found, the next
// job and the event. If that stage is not the current one any more (it was
// completed before, or the recording is deleted), it changes nothing.
func (c *Catalog) CompleteStage(ctx context.Context, recordingID uuid.UUID, stage recording.Stage, res recording.StageResult) error {
	return c.inTx(ctx, func(tx pgx.Tx) error {
		now := c.now()
		if stage == recording.StageStore {
			if err := markStored(ctx, tx, recordingID, now); err != nil { // before the recording's row is locked: the order of locks
				return err
			}
		}
		if err := c.countDecoded(ctx, tx, recordingID, stage, res.Decoded); err != nil { // likewise
			return err
		}
		owner, current, err := lockStage(ctx, tx, recordingID, stage)
		if err != nil || !current {
			return err
		}
		if err := dropParts(ctx, tx, recordingID, stage); err != nil {
			return err
		}
		state := recording.StateProcessing
		if res.Next == "" {
			state = recording.StateReady
		}
		r := recording.Recording{ID: recordingID, OwnerID: owner}
		if err := tx.QueryRow(ctx, `
			UPDATE recordings SET state = $2, stage = $3, detail = '', media = coalesce($4, media), loudness = coalesce($5, loudness),
				silences = coalesce($6, silences), ready_at = CASE WHEN $2 = 'ready' THEN $7 ELSE ready_at END,
				sha256 = coalesce($8, sha256), updated_at = $7, version = version + 1
			WHERE id = $1 RETURNING media, story_id`, recordingID, state, res.Next, res.Media, res.Loudness, res.Silences, now, res.SHA256).
			Scan(&r.Media, &r.StoryID); err != nil {
			return err
		}
		for _, a := range res.Artifacts {
			if err := putArtifact(ctx, tx, recordingID, a); err != nil {
				return err
			}
		}
		if res.Next != "" {
			if err := c.enqueue(ctx, tx, recording.StageJob{RecordingID: recordingID, Stage: res.Next}, time.Time{}); err != nil {
				return err
			}
		}
		if res.Insight != "" {
			if err := c.askInsight(ctx, tx, recordingID, recording.Insight{Stage: res.Insight}, time.Time{}); err != nil {
				return err
			}
		}
		if state == recording.StateReady {
			if err := showReady(ctx, tx, r, now); err != nil {
				return err
			}
		}
		if err := appendEvent(ctx, tx, recording.NewEvent(owner, recordingID, recording.EventStageCompleted, now, map[string]any{"stage": stage})); err != nil {
			return err
		}
		if state != recording.StateReady {
			return nil
		}
		return appendReady(ctx, tx, r, now)
	})
}

// appendReady tells that a recording is ready.
func appendReady(ctx context.Context, tx pgx.Tx, r recording.Recording, at time.Time) error {
	data := map[string]any{}
	if r.Media != nil {
		data["durationMs"] = r.Media.DurationMs
	}
	return appendEvent(ctx, tx, recording.NewEvent(r.OwnerID, r.ID, recording.EventRecordingReady, at, data))
}

// dropParts deletes the rows of an upload's parts, in which bytes of it may lie, at the
// end of verify: the object is what was received, so nobody asks for them any more.
func dropParts(ctx context.Context, tx pgx.Tx, recordingID uuid.UUID, stage recording.Stage) error {
	if stage != recording.StageVerify {
		return nil
	}
	_, err := tx.Exec(ctx, deleteParts, recordingID)
	return err
}

// markStored says that the object of a recording's upload is there. Its guard is
// the state: a second run finds it stored.
func markStored(ctx context.Context, tx pgx.Tx, recordingID uuid.UUID, now time.Time) error {
	var partials []uuid.UUID
	err := tx.QueryRow(ctx, `
		UPDATE uploads SET state = 'stored', updated_at = $2
		WHERE recording_id = $1 AND state = 'received' RETURNING partial_ids`, recordingID, now).Scan(&partials)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return setPartials(ctx, tx, partials, recording.UploadJoined, now)
}

func putArtifact(ctx context.Context, tx pgx.Tx, recordingID uuid.UUID, a recording.Artifact) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO artifacts (recording_id, kind, object_key, content_type, size_bytes, sha256)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (recording_id, kind) DO UPDATE SET object_key = excluded.object_key,
			content_type = excluded.content_type, size_bytes = excluded.size_bytes, sha256 = excluded.sha256`,
		recordingID, a.Kind, a.ObjectKey, a.ContentType, a.SizeBytes, a.SHA256)
	return err
}

// RejectRecording ends a recording whose file is not acceptable, if that stage
// is still the current one.
func (c *Catalog) RejectRecording(ctx context.Context, recordingID uuid.UUID, stage recording.Stage, reason recording.Reason, detail string) error {
	return c.inTx(ctx, func(tx pgx.Tx) error {
		owner, current, err := lockStage(ctx, tx, recordingID, stage)
		if err != nil || !current {
			return err
		}
		if err := dropParts(ctx, tx, recordingID, stage); err != nil {
			return err
		}
		return c.endStage(ctx, tx, owner, recordingID, recording.StateRejected, reason, detail)
	})
}

// fail ends a recording that the server can't process, if that stage is still the
// current one.
func (c *Catalog) fail(ctx context.Context, tx pgx.Tx, id uuid.UUID, stage recording.Stage, reason recording.Reason, detail string) error {
	owner, current, err := lockStage(ctx, tx, id, stage)
	if err != nil || !current {
		return err
	}
	return c.endStage(ctx, tx, owner, id, recording.StateFailed, reason, detail)
}

func (c *Catalog) endStage(ctx context.Context, tx pgx.Tx, owner, id uuid.UUID, state recording.State, reason recording.Reason, detail string) error {
	if err := c.endRecording(ctx, tx, id, state, reason, detail); err != nil {
		return err
	}
	typ := recording.EventRecordingRejected
	if state == recording.StateFailed {
		typ = recording.EventRecordingFailed
	}
	return appendEvent(ctx, tx, verdictEvent(owner, id, typ, c.now(), reason, detail))
}
