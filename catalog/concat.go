package catalog

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// JoinUploads writes a final upload of the partial ones that n.PartialIDs names in
// the order of their bytes, with its recording, and says created. It locks the
// partial uploads and calls decide with what is known of them by then (ID, State,
// Offset, Length, Partial, FinalID, ExpiresAt), in that order: its error ends the
// attempt, its Receipt is written. One that is not the owner's is CodeNotFound.
//
// If exactly these were joined in this order before, that final upload comes back,
// and so does a living upload of the same ClientID; decide has been called before
// the latter.
func (c *Catalog) JoinUploads(ctx context.Context, n recording.NewUpload, decide func(partials []recording.Upload) (recording.Receipt, error)) (u recording.Upload, created bool, err error) {
	err = c.inTx(ctx, func(tx pgx.Tx) error {
		partials, err := lockPartials(ctx, tx, n.OwnerID, n.PartialIDs)
		if err != nil {
			return err
		}
		if u, err = joinedBefore(ctx, tx, n.PartialIDs, partials); !errors.Is(err, recording.ErrNotFound) {
			return err
		}
		receipt, err := decide(partials)
		if err != nil {
			return err
		}
		n.Length, n.Receipt = &receipt.SizeBytes, &receipt
		u, err = c.insertUpload(ctx, tx, n)
		created = err == nil
		return err
	})
	if !errors.Is(err, errTaken) {
		return u, created && err == nil, err
	}
	u, free, err := c.takenBy(ctx, n)
	if free && err == nil {
		return c.JoinUploads(ctx, n, decide)
	}
	return u, false, err
}

// lockPartials locks the owner's uploads with these ids and returns them in the
// order of ids. Rows are locked in the order of their ids, as everywhere.
func lockPartials(ctx context.Context, tx pgx.Tx, owner uuid.UUID, ids []uuid.UUID) ([]recording.Upload, error) {
	rows, err := tx.Query(ctx, `
		SELECT id, state, committed_offset, length, partial, final_id, expires_at FROM uploads
		WHERE owner_id = $1 AND id = ANY($2) ORDER BY id FOR UPDATE`, owner, ids)
	if err != nil {
		return nil, err
	}
	found := make(map[uuid.UUID]recording.Upload, len(ids))
	var u recording.Upload
	var finalID *uuid.UUID
	if _, err := pgx.ForEachRow(rows, []any{&u.ID, &u.State, &u.Offset, &u.Length, &u.Partial, &finalID, &u.ExpiresAt}, func() error {
		u.OwnerID, u.FinalID = owner, orNil(finalID)
		found[u.ID] = u
		u, finalID = recording.Upload{}, nil // the next scan must not write into this one
		return nil
	}); err != nil {
		return nil, err
	}
	list := make([]recording.Upload, len(ids))
	for i, id := range ids {
		p, ok := found[id]
		if !ok {
			return nil, recording.Errorf(recording.CodeNotFound, "There is no upload %s, or it is not yours.", id)
		}
		list[i] = p
	}
	return list, nil
}

// joinedBefore returns the living final upload of exactly these partial ones, or
// ErrNotFound.
func joinedBefore(ctx context.Context, tx pgx.Tx, ids []uuid.UUID, partials []recording.Upload) (recording.Upload, error) {
	final := partials[0].FinalID
	if final == uuid.Nil {
		return recording.Upload{}, recording.ErrNotFound
	}
	u, err := oneUpload(ctx, tx, `SELECT `+uploadColumns+` FROM uploads u WHERE u.id = $1`, final)
	if err == nil && (u.State.Gone() || !slices.Equal(u.PartialIDs, ids)) {
		err = recording.ErrNotFound
	}
	return u, err
}

// partialsOf returns the partial uploads of a final one, in their order.
func partialsOf(ctx context.Context, q querier, u recording.Upload) ([]recording.Upload, error) {
	if u.PartialIDs == nil {
		return nil, nil
	}
	rows, err := q.Query(ctx, `SELECT `+uploadColumns+` FROM uploads u WHERE u.id = ANY($1)
		ORDER BY array_position($1, u.id)`, u.PartialIDs)
	if err != nil {
		return nil, classify(err)
	}
	list, err := pgx.CollectRows(rows, scanUpload)
	return list, classify(err)
}

// setPartials gives the partial uploads of a final one another state.
func setPartials(ctx context.Context, tx pgx.Tx, ids []uuid.UUID, state recording.UploadState, now time.Time) error {
	if ids == nil {
		return nil
	}
	// In the order of their ids, as lockPartials does: it may be at the same ones.
	_, err := tx.Exec(ctx, `
		WITH p AS MATERIALIZED (SELECT id FROM uploads WHERE id = ANY($1) ORDER BY id FOR UPDATE)
		UPDATE uploads SET state = $2, updated_at = $3 FROM p WHERE uploads.id = p.id`, ids, state, now)
	return err
}

// terminatePartial ends a partial upload that was not joined, and has its bytes
// purged.
func (c *Catalog) terminatePartial(ctx context.Context, id uuid.UUID) error {
	return c.inTx(ctx, func(tx pgx.Tx) error {
		var state recording.UploadState
		var finalID *uuid.UUID
		err := tx.QueryRow(ctx, `SELECT state, final_id FROM uploads WHERE id = $1 FOR UPDATE`, id).Scan(&state, &finalID)
		switch {
		case err != nil:
			return err
		case state.Gone():
			return recording.ErrNotFound
		case finalID != nil:
			return recording.Errorf(recording.CodeConflict, "This partial upload was joined; delete the final upload or its recording.")
		}
		if _, err := tx.Exec(ctx, `UPDATE uploads SET state = 'terminated', epoch = epoch + 1, updated_at = $2 WHERE id = $1`, id, c.now()); err != nil {
			return err
		}
		return c.enqueue(ctx, tx, recording.PurgeJob{UploadID: id}, time.Time{})
	})
}
