package catalog

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// errTaken says that the owner has a living upload of the ClientID already.
var errTaken = errors.New("client id is taken")

// CreateUpload writes a new upload with its recording and says created. If the
// owner has a living upload of the same ClientID, that one comes back instead.
// With a Receipt (an upload of zero bytes) it is received at once. A partial upload
// has no recording, and no event.
func (c *Catalog) CreateUpload(ctx context.Context, n recording.NewUpload) (u recording.Upload, created bool, err error) {
	err = c.inTx(ctx, func(tx pgx.Tx) error {
		u, err = c.insertUpload(ctx, tx, n)
		return err
	})
	if !errors.Is(err, errTaken) {
		return u, err == nil, err
	}
	u, free, err := c.takenBy(ctx, n)
	if free && err == nil {
		return c.CreateUpload(ctx, n)
	}
	return u, false, err
}

// takenBy returns the upload that has n's ClientID, unless that is free by now: it
// has just ended, or has expired, which is written here.
func (c *Catalog) takenBy(ctx context.Context, n recording.NewUpload) (u recording.Upload, free bool, err error) {
	u, err = c.FindUploadByClientID(ctx, n.OwnerID, n.ClientID)
	if errors.Is(err, recording.ErrNotFound) {
		return u, true, c.expireClientID(ctx, n.OwnerID, n.ClientID)
	}
	return u, false, err
}

// insertUpload writes a new upload, and what goes with it. A final one has the
// bytes of its partial ones, whose rows are locked.
func (c *Catalog) insertUpload(ctx context.Context, tx pgx.Tx, n recording.NewUpload) (recording.Upload, error) {
	var none recording.Upload
	now := c.now()
	if !n.Partial {
		if err := insertRecording(ctx, tx, n, now); err != nil {
			return none, err
		}
	}
	tag, err := tx.Exec(ctx, `
		INSERT INTO uploads (id, recording_id, owner_id, client_id, state, length, object_key, metadata, created_at, updated_at, expires_at,
			partial, partial_ids, committed_offset, ticket_hashes)
		VALUES ($1, $2, $3, nullif($4, ''), CASE WHEN $10 AND $5 = 0::bigint THEN 'received' ELSE 'receiving' END, $5, $6, $7, $8, $8, $9,
			$10, $11, CASE WHEN $11::uuid[] IS NULL THEN 0 ELSE $5 END, array_remove(ARRAY[$12::bytea], NULL))
		ON CONFLICT (owner_id, client_id) WHERE client_id IS NOT NULL AND state IN ('receiving', 'received', 'stored') DO NOTHING`,
		n.UploadID, nullID(n.RecordingID), n.OwnerID, n.ClientID, n.Length, n.ObjectKey, n.Metadata, now, n.ExpiresAt, n.Partial, n.PartialIDs,
		n.TicketHash)
	if err != nil {
		return none, err
	}
	if tag.RowsAffected() == 0 {
		return none, errTaken
	}
	if n.PartialIDs == nil { // else its bytes count already
		by := growth{uploads: 1}
		if n.Length != nil {
			by.bytes = *n.Length
		}
		if err := c.checkGrowth(ctx, tx, n.OwnerID, by); err != nil {
			return none, err
		}
	}
	if n.PartialIDs != nil {
		if _, err := tx.Exec(ctx, `UPDATE uploads SET final_id = $1, updated_at = $3 WHERE id = ANY($2)`, n.UploadID, n.PartialIDs, now); err != nil {
			return none, err
		}
	}
	if n.Receipt != nil {
		if err := c.receive(ctx, tx, n.UploadID, *n.Receipt); err != nil {
			return none, err
		}
	}
	if n.Recording.Title != "" && !n.Partial {
		if err := indexRecording(ctx, tx, n.RecordingID); err != nil {
			return none, err
		}
	}
	if !n.Partial {
		if err := appendCreation(ctx, tx, n, now); err != nil {
			return none, err
		}
	}
	return oneUpload(ctx, tx, `SELECT `+uploadColumns+` FROM uploads u WHERE u.id = $1`, n.UploadID)
}

// insertRecording writes the recording of a new upload, and its story if that is new too.
func insertRecording(ctx context.Context, tx pgx.Tx, n recording.NewUpload, now time.Time) error {
	r := n.Recording
	if r.StoryID != nil {
		if err := ensureStory(ctx, tx, n.OwnerID, *r.StoryID, now); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO recordings (id, owner_id, state, title, filename, filetype, language, story_id, recorded_at, object_key, created_at, updated_at)
		VALUES ($1, $2, 'uploading', $3, $4, $5, $6, $7, $8, $9, $10, $10)`,
		n.RecordingID, n.OwnerID, r.Title, r.Filename, r.Filetype, r.Language, r.StoryID, r.RecordedAt, n.ObjectKey, now)
	return err
}

// appendCreation tells of a new upload, and of its end if it is complete.
func appendCreation(ctx context.Context, tx pgx.Tx, n recording.NewUpload, now time.Time) error {
	data := map[string]any{}
	if n.Length != nil {
		data["lengthBytes"] = *n.Length
	}
	if err := appendEvent(ctx, tx, recording.NewEvent(n.OwnerID, n.RecordingID, recording.EventUploadCreated, now, data)); err != nil {
		return err
	}
	if n.Receipt == nil {
		return nil
	}
	return appendEvent(ctx, tx, n.Receipt.Event)
}
