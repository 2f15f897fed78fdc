package catalog

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// recordingColumns are what scanRecording reads, of recordings named r.
const recordingColumns = `r.id, r.owner_id, r.state, r.reason, r.detail, r.stage, r.title, r.filename, r.filetype, r.language,
	r.story_id, r.recorded_at, r.size_bytes, r.sha256, r.object_key, r.media, r.loudness, r.silences,
	r.version, r.created_at, r.updated_at, r.received_at, r.ready_at`

func scanRecording(row pgx.CollectableRow) (recording.Recording, error) {
	var r recording.Recording
	err := row.Scan(&r.ID, &r.OwnerID, &r.State, &r.Reason, &r.Detail, &r.Stage, &r.Title, &r.Filename, &r.Filetype, &r.Language,
		&r.StoryID, &r.RecordedAt, &r.SizeBytes, &r.SHA256, &r.ObjectKey, &r.Media, &r.Loudness, &r.Silences,
		&r.Version, &r.CreatedAt, &r.UpdatedAt, &r.ReceivedAt, &r.ReadyAt)
	return r, err
}

// queryRecordings reads recordings with their artifacts and insights.
func queryRecordings(ctx context.Context, q querier, sql string, args ...any) ([]recording.Recording, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, classify(err)
	}
	list, err := pgx.CollectRows(rows, scanRecording)
	if err != nil {
		return nil, classify(err)
	}
	ids := make([]uuid.UUID, len(list))
	at := make(map[uuid.UUID]int, len(list))
	for i, r := range list {
		ids[i], at[r.ID] = r.ID, i
	}
	rows, err = q.Query(ctx, `
		SELECT recording_id, kind, object_key, content_type, size_bytes, sha256
		FROM artifacts WHERE recording_id = ANY($1) ORDER BY recording_id, kind`, ids)
	if err != nil {
		return nil, classify(err)
	}
	var id uuid.UUID
	var a recording.Artifact
	_, err = pgx.ForEachRow(rows, []any{&id, &a.Kind, &a.ObjectKey, &a.ContentType, &a.SizeBytes, &a.SHA256}, func() error {
		r := &list[at[id]]
		r.Artifacts = append(r.Artifacts, a)
		a.SHA256 = nil // the next scan must not write into the bytes of this one
		return nil
	})
	if err != nil {
		return nil, classify(err)
	}
	rows, err = q.Query(ctx, `
		SELECT recording_id, stage, state, run, language, model, reason, detail, updated_at
		FROM insights WHERE recording_id = ANY($1) ORDER BY recording_id, stage DESC`, ids)
	if err != nil {
		return nil, classify(err)
	}
	var n recording.Insight
	_, err = pgx.ForEachRow(rows, []any{&id, &n.Stage, &n.State, &n.Run, &n.Language, &n.Model, &n.Reason, &n.Detail, &n.UpdatedAt}, func() error {
		r := &list[at[id]]
		r.Insights = append(r.Insights, n)
		return nil
	})
	return list, classify(err)
}

func oneRecording(ctx context.Context, q querier, sql string, args ...any) (recording.Recording, error) {
	list, err := queryRecordings(ctx, q, sql, args...)
	if err != nil {
		return recording.Recording{}, err
	}
	if len(list) == 0 {
		return recording.Recording{}, recording.ErrNotFound
	}
	return list[0], nil
}

// Recordings lists the owner's recordings, newest first, without deleted ones.
func (c *Catalog) Recordings(ctx context.Context, owner uuid.UUID, page recording.Page) ([]recording.Recording, error) {
	return queryRecordings(ctx, c.pool, `SELECT `+recordingColumns+` FROM recordings r
		WHERE r.owner_id = $1 AND r.state <> 'deleted' AND ($2::uuid IS NULL OR r.id < $2)
		ORDER BY r.id DESC LIMIT $3`, owner, nullID(page.Before), page.Limit)
}

// Recording returns one of the owner's recordings that is not deleted.
func (c *Catalog) Recording(ctx context.Context, owner, id uuid.UUID) (recording.Recording, error) {
	return oneRecording(ctx, c.pool, `SELECT `+recordingColumns+` FROM recordings r
		WHERE r.owner_id = $1 AND r.id = $2 AND r.state <> 'deleted'`, owner, id)
}

// PatchRecording changes what the patch names and returns the recording as it
// is then. A patch that changes nothing raises no version and makes no event.
func (c *Catalog) PatchRecording(ctx context.Context, owner, id uuid.UUID, patch recording.RecordingPatch) (recording.Recording, error) {
	var r recording.Recording
	err := c.inTx(ctx, func(tx pgx.Tx) error {
		now := c.now()
		var story *uuid.UUID // that it is put into
		if patch.StoryID != nil {
			story = nullID(*patch.StoryID)
		}
		if story != nil {
			if err := ensureStory(ctx, tx, owner, *story, now); err != nil {
				return err
			}
		}
		tag, err := tx.Exec(ctx, `
			UPDATE recordings SET title = coalesce($3, title), story_id = CASE WHEN $5 THEN $6 ELSE story_id END, version = version + 1, updated_at = $4
			WHERE owner_id = $1 AND id = $2 AND state <> 'deleted' AND (title <> $3 OR $5 AND story_id IS DISTINCT FROM $6)`,
			owner, id, patch.Title, now, patch.StoryID != nil, story)
		if err != nil {
			return err
		}
		r, err = oneRecording(ctx, tx, `SELECT `+recordingColumns+` FROM recordings r
			WHERE r.owner_id = $1 AND r.id = $2 AND r.state <> 'deleted'`, owner, id)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		if r.State == recording.StateReady {
			if err := showReady(ctx, tx, r, now); err != nil {
				return err
			}
		}
		if err := indexRecording(ctx, tx, id); err != nil {
			return err
		}
		data := map[string]any{"title": r.Title}
		if r.StoryID != nil {
			data["storyId"] = r.StoryID
		}
		return appendEvent(ctx, tx, recording.NewEvent(owner, id, recording.EventRecordingUpdated, now, data))
	})
	return r, err
}

// DeleteRecording deletes a recording for its owner. An upload that is still
// running ends with it, and its bytes are purged at once; those of a finished
// one follow after the retention period.
func (c *Catalog) DeleteRecording(ctx context.Context, owner, id uuid.UUID) error {
	return c.inTx(ctx, func(tx pgx.Tx) error {
		now := c.now()
		purgeAt := now.Add(c.deletedRetention)
		// The upload ends in every case: its clientId is free again, and a HEAD must
		// not promise what is gone.
		var unfinished bool
		var partials []uuid.UUID
		err := tx.QueryRow(ctx, `
			WITH before AS MATERIALIZED (
				SELECT id, state FROM uploads WHERE owner_id = $1 AND recording_id = $2 FOR UPDATE
			)
			UPDATE uploads SET state = 'terminated', epoch = epoch + 1, updated_at = $3
			FROM before WHERE uploads.id = before.id RETURNING before.state = 'receiving', partial_ids`, owner, id, now).Scan(&unfinished, &partials)
		if errors.Is(err, pgx.ErrNoRows) {
			return recording.ErrNotFound
		}
		if err != nil {
			return err
		}
		if unfinished {
			purgeAt = now
		}
		if err := setPartials(ctx, tx, partials, recording.UploadTerminated, now); err != nil {
			return err
		}
		var wasReady bool
		err = tx.QueryRow(ctx, `
			UPDATE recordings SET state = 'deleted', deleted_at = $3, updated_at = $3, version = version + 1
			WHERE owner_id = $1 AND id = $2 AND state <> 'deleted' RETURNING ready_at IS NOT NULL`, owner, id, now).Scan(&wasReady)
		if errors.Is(err, pgx.ErrNoRows) {
			return recording.ErrNotFound
		}
		if err != nil {
			return err
		}
		if wasReady { // else the graph has never heard of it
			if err := hideFromGraph(ctx, tx, owner, id, now); err != nil {
				return err
			}
		}
		if err := unindexRecordings(ctx, tx, owner, []uuid.UUID{id}); err != nil {
			return err
		}
		if err := c.enqueue(ctx, tx, recording.PurgeJob{RecordingID: id}, purgeAt); err != nil {
			return err
		}
		return appendEvent(ctx, tx, recording.NewEvent(owner, id, recording.EventRecordingDeleted, now, nil))
	})
}

// endRecording gives a recording its verdict.
func (c *Catalog) endRecording(ctx context.Context, tx pgx.Tx, id uuid.UUID, state recording.State, reason recording.Reason, detail string) error {
	_, err := tx.Exec(ctx, `
		UPDATE recordings SET state = $2, reason = $3, detail = $4, updated_at = $5, version = version + 1
		WHERE id = $1`, id, state, reason, detail, c.now())
	return err
}

func verdictEvent(owner, id uuid.UUID, typ recording.EventType, at time.Time, reason recording.Reason, detail string) recording.Event {
	return recording.NewEvent(owner, id, typ, at, map[string]any{"reason": reason, "detail": detail})
}

// stageDue is true of recording $1 while stage $2 is what is to be done of it.
const stageDue = `id = $1 AND stage = $2 AND state IN ('received', 'processing')`

// lockStage locks a recording and reports its owner if this stage is the one to
// do. It is not if the stage was done before, the recording was deleted, or a
// verdict fell.
func lockStage(ctx context.Context, tx pgx.Tx, id uuid.UUID, stage recording.Stage) (owner uuid.UUID, current bool, err error) {
	err = tx.QueryRow(ctx, `SELECT owner_id FROM recordings WHERE `+stageDue+` FOR UPDATE`, id, stage).Scan(&owner)
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, false, nil
	}
	return owner, err == nil, err
}
