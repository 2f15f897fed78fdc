package catalog

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// Inventory returns recordings that are not deleted, with their uploads: those with
// ids above after, in order, at most limit.
func (c *Catalog) Inventory(ctx context.Context, after uuid.UUID, limit int) ([]recording.Work, error) {
	var list []recording.Work
	err := c.inTx(ctx, func(tx pgx.Tx) error {
		recordings, err := queryRecordings(ctx, tx, `SELECT `+recordingColumns+` FROM recordings r
			WHERE r.id > $1 AND r.state <> 'deleted' ORDER BY r.id LIMIT $2`, after, limit)
		if err != nil {
			return err
		}
		list = make([]recording.Work, len(recordings))
		ids := make([]uuid.UUID, len(recordings))
		at := make(map[uuid.UUID]int, len(recordings))
		for i, r := range recordings {
			list[i].Recording, ids[i], at[r.ID] = r, r.ID, i
		}
		rows, err := tx.Query(ctx, `SELECT `+uploadColumns+` FROM uploads u WHERE u.recording_id = ANY($1)`, ids)
		if err != nil {
			return err
		}
		uploads, err := pgx.CollectRows(rows, scanUpload)
		if err != nil {
			return err
		}
		for _, u := range uploads {
			if u.Partials, err = partialsOf(ctx, tx, u); err != nil {
				return err
			}
			list[at[u.RecordingID]].Upload = u
		}
		return nil
	})
	return list, err
}

// PartialInventory returns partial uploads that live and are not joined: those with
// ids above after, in order, at most limit.
func (c *Catalog) PartialInventory(ctx context.Context, after uuid.UUID, limit int) ([]recording.Upload, error) {
	rows, err := c.pool.Query(ctx, `SELECT `+uploadColumns+` FROM uploads u
		WHERE u.id > $1 AND u.partial AND u.final_id IS NULL AND u.state IN ('receiving', 'received') ORDER BY u.id LIMIT $2`, after, limit)
	if err != nil {
		return nil, classify(err)
	}
	list, err := pgx.CollectRows(rows, scanUpload)
	return list, classify(err)
}

// UploadByID returns an upload, whoever owns it, for those who work on behalf of
// nobody.
func (c *Catalog) UploadByID(ctx context.Context, id uuid.UUID) (recording.Upload, error) {
	return oneUpload(ctx, c.pool, `SELECT `+uploadColumns+` FROM uploads u WHERE u.id = $1`, id)
}

// RemakeArtifacts has the artifacts of a ready recording made anew: it goes back to
// the transcode stage. It reports false if the recording is in another state, or its
// original is known to be lost.
func (c *Catalog) RemakeArtifacts(ctx context.Context, recordingID uuid.UUID) (changed bool, err error) {
	const stage = recording.StageTranscode
	err = c.inTx(ctx, func(tx pgx.Tx) error {
		var owner uuid.UUID
		err := tx.QueryRow(ctx, `
			UPDATE recordings SET state = 'processing', stage = $2, updated_at = $3, version = version + 1
			WHERE id = $1 AND state = 'ready' AND EXISTS (SELECT FROM uploads WHERE recording_id = $1 AND state = 'stored')
			RETURNING owner_id`, recordingID, stage, c.now()).Scan(&owner)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		changed = true
		if err := c.enqueue(ctx, tx, recording.StageJob{RecordingID: recordingID, Stage: stage}, time.Time{}); err != nil {
			return err
		}
		// Until it is ready again the graph doesn't show it.
		if err := lockGraph(ctx, tx, owner); err != nil {
			return err
		}
		if err := touchGraph(ctx, tx, owner, c.now(), graphRefs(recording.GraphRecording, recordingID)...); err != nil {
			return err
		}
		return appendEvent(ctx, tx, recording.NewEvent(owner, recordingID, recording.EventRecordingRetried, c.now(), map[string]any{"stage": stage}))
	})
	return changed && err == nil, err
}
