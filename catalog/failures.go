package catalog

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"reprise/recording"
)

// FailRecording ends a recording for a fault of ours, if that stage is still
// the current one. The stage stays noted, so that it can be tried again. If its
// bytes are lost (recording.ReasonStorage) its upload fails with it: nobody may be
// told any more that it is complete, and the client may upload it again.
func (c *Catalog) FailRecording(ctx context.Context, recordingID uuid.UUID, stage recording.Stage, reason recording.Reason, detail string) error {
	return c.inTx(ctx, func(tx pgx.Tx) error {
		if reason != recording.ReasonStorage {
			return c.fail(ctx, tx, recordingID, stage, reason, detail)
		}
		upload, err := lockUploadOf(ctx, tx, recordingID)
		if err != nil {
			return err
		}
		owner, current, err := lockStage(ctx, tx, recordingID, stage)
		if err != nil || !current {
			return err
		}
		if err := c.setUploadState(ctx, tx, upload.id, recording.UploadFailed); err != nil {
			return err
		}
		return c.endStage(ctx, tx, owner, recordingID, recording.StateFailed, reason, detail)
	})
}

// LoseOriginal records that the bytes of a complete upload, or of the original that
// was made of it, are not in storage any more: the upload fails, as in
// FailRecording, and so does its recording while there is something to do with the
// original. One that is ready stays so, because it can still be played. It reports
// false if that is known already, or if the recording is deleted.
func (c *Catalog) LoseOriginal(ctx context.Context, recordingID uuid.UUID, detail string) (changed bool, err error) {
	err = c.inTx(ctx, func(tx pgx.Tx) error {
		upload, err := lockUploadOf(ctx, tx, recordingID)
		if err != nil || !upload.state.Complete() {
			return err
		}
		changed = true
		if err := c.setUploadState(ctx, tx, upload.id, recording.UploadFailed); err != nil {
			return err
		}
		var owner uuid.UUID
		err = tx.QueryRow(ctx, `SELECT owner_id FROM recordings WHERE id = $1 AND state IN ('received', 'processing') FOR UPDATE`, recordingID).Scan(&owner)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return c.endStage(ctx, tx, owner, recordingID, recording.StateFailed, recording.ReasonStorage, detail)
	})
	return changed && err == nil, err
}

// RetryRecording gives a failed recording another chain of attempts, from the
// stage that failed on. If its upload failed with it, for want of bytes that
// somebody may have brought back, that is complete again.
func (c *Catalog) RetryRecording(ctx context.Context, owner, id uuid.UUID) (recording.Recording, error) {
	var r recording.Recording
	err := c.inTx(ctx, func(tx pgx.Tx) error {
		// What is not the owner's is not locked either: it would make its owner wait, and
		// whoever asks.
		upload, err := lockUploadFor(ctx, tx, owner, id)
		if err != nil {
			return err
		}
		r, err = oneRecording(ctx, tx, `SELECT `+recordingColumns+` FROM recordings r
			WHERE r.owner_id = $1 AND r.id = $2 AND r.state <> 'deleted' FOR UPDATE`, owner, id)
		if err != nil {
			return err
		}
		if r.State != recording.StateFailed {
			return recording.Errorf(recording.CodeConflict, "Only a failed recording can be tried again; this one is %s.", r.State)
		}
		if r.Stage == "" {
			return recording.Errorf(recording.CodeConflict, "The server lost bytes of this recording before it had all of them; upload it again.")
		}
		if upload.state == recording.UploadFailed {
			if err := c.restoreUpload(ctx, tx, upload.id, r.Stage); err != nil {
				return err
			}
		}
		if err := c.endRecording(ctx, tx, id, recording.StateProcessing, "", ""); err != nil {
			return err
		}
		r.State, r.Reason, r.Detail, r.Version = recording.StateProcessing, "", "", r.Version+1
		if err := c.enqueue(ctx, tx, recording.StageJob{RecordingID: id, Stage: r.Stage}, time.Time{}); err != nil {
			return err
		}
		return appendEvent(ctx, tx, recording.NewEvent(owner, id, recording.EventRecordingRetried, c.now(), map[string]any{"stage": r.Stage}))
	})
	return r, err
}

// restoreUpload makes an upload complete again that failed at a stage.
func (c *Catalog) restoreUpload(ctx context.Context, tx pgx.Tx, id uuid.UUID, stage recording.Stage) error {
	state := recording.UploadStored
	if stage == recording.StageStore {
		state = recording.UploadReceived
	}
	err := c.setUploadState(ctx, tx, id, state)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.ConstraintName == "uploads_client_id" {
		return recording.Errorf(recording.CodeConflict, "This file has been uploaded again since, as another recording.")
	}
	return err
}

// uploadLock is what is known of an upload whose row is locked.
type uploadLock struct {
	id    uuid.UUID
	state recording.UploadState
}

// lockUploadOf locks the upload of a recording, before the recording itself is: the
// order of locks. ErrNotFound says that there is none.
func lockUploadOf(ctx context.Context, tx pgx.Tx, recordingID uuid.UUID) (uploadLock, error) {
	return lockUpload(tx.QueryRow(ctx, `SELECT id, state FROM uploads WHERE recording_id = $1 FOR UPDATE`, recordingID))
}

// lockUploadFor is lockUploadOf for what is this owner's.
func lockUploadFor(ctx context.Context, tx pgx.Tx, owner, recordingID uuid.UUID) (uploadLock, error) {
	return lockUpload(tx.QueryRow(ctx, `SELECT id, state FROM uploads WHERE owner_id = $1 AND recording_id = $2 FOR UPDATE`, owner, recordingID))
}

func lockUpload(row pgx.Row) (uploadLock, error) {
	var u uploadLock
	err := row.Scan(&u.id, &u.state)
	if errors.Is(err, pgx.ErrNoRows) {
		err = recording.ErrNotFound
	}
	return u, err
}

// setUploadState gives an upload, and the partial ones of a final one, another
// state: what a HEAD says of them, and whether they can be joined, goes with it.
func (c *Catalog) setUploadState(ctx context.Context, tx pgx.Tx, id uuid.UUID, state recording.UploadState) error {
	var partials []uuid.UUID
	err := tx.QueryRow(ctx, `UPDATE uploads SET state = $2, epoch = epoch + 1, updated_at = $3 WHERE id = $1 RETURNING partial_ids`,
		id, state, c.now()).Scan(&partials)
	if err != nil {
		return err
	}
	if state == recording.UploadStored {
		state = recording.UploadJoined
	}
	return setPartials(ctx, tx, partials, state, c.now())
}
