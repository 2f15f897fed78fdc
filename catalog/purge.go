package catalog

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// ExpireUploads ends unfinished uploads for which nothing came for too long and
// returns how many. Their recordings are deleted and their bytes purged.
func (c *Catalog) ExpireUploads(ctx context.Context, now time.Time) (int, error) {
	total := 0
	for {
		n, err := c.expireSome(ctx, now)
		total += n
		if err != nil || n == 0 {
			return total, err
		}
	}
}

// expired is a recording whose upload has expired.
type expired struct{ RecordingID, OwnerID uuid.UUID }

// expireSome ends a bounded number of uploads, so that no transaction gets long.
// It takes them one owner at a time: appending an event locks the owner's row.
func (c *Catalog) expireSome(ctx context.Context, now time.Time) (int, error) {
	var list []expired
	err := c.inTx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			UPDATE uploads SET state = 'expired', epoch = epoch + 1, updated_at = $1
			WHERE id IN (
				SELECT id FROM uploads WHERE state = 'receiving' AND expires_at < $1
				AND owner_id = (SELECT owner_id FROM uploads WHERE state = 'receiving' AND expires_at < $1 LIMIT 1)
				LIMIT 100 FOR UPDATE SKIP LOCKED)
			RETURNING recording_id, owner_id`, now)
		if err != nil {
			return err
		}
		if list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[expired]); err != nil {
			return err
		}
		return c.deleteExpired(ctx, tx, list, now)
	})
	if err != nil {
		return 0, err
	}
	return len(list), nil
}

func (c *Catalog) deleteExpired(ctx context.Context, tx pgx.Tx, list []expired, now time.Time) error {
	for _, x := range list {
		if _, err := tx.Exec(ctx, `
			UPDATE recordings SET state = 'deleted', deleted_at = $2, updated_at = $2, version = version + 1
			WHERE id = $1`, x.RecordingID, now); err != nil {
			return err
		}
		if err := c.enqueue(ctx, tx, recording.PurgeJob{RecordingID: x.RecordingID}, time.Time{}); err != nil {
			return err
		}
	}
	// The events come after every recording: the first one locks the owner.
	for _, x := range list {
		if err := appendEvent(ctx, tx, recording.NewEvent(x.OwnerID, x.RecordingID, recording.EventUploadExpired, now, nil)); err != nil {
			return err
		}
	}
	return nil
}

// Purgeable says what may be deleted of a recording for good: everything of a
// deleted one, the parts of one whose upload ended. A living recording, or one
// that never was, is ErrNotFound.
func (c *Catalog) Purgeable(ctx context.Context, recordingID uuid.UUID) (recording.Purge, error) {
	p := recording.Purge{RecordingID: recordingID}
	var deleted bool
	var objectKey string
	var uploadID uuid.UUID
	err := c.pool.QueryRow(ctx, `
		SELECT u.id, u.state IN ('refused', 'terminated', 'expired', 'failed') OR r.state = 'deleted', r.state = 'deleted', r.object_key,
			coalesce((SELECT array_agg(a.object_key) FROM artifacts a WHERE a.recording_id = r.id), '{}')
		FROM recordings r JOIN uploads u ON u.recording_id = r.id WHERE r.id = $1`, recordingID).
		Scan(&uploadID, &p.DiscardParts, &deleted, &objectKey, &p.Keys)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !p.DiscardParts {
		return recording.Purge{}, recording.ErrNotFound
	}
	if !deleted {
		p.Keys = nil
	} else {
		p.Keys = append(p.Keys, objectKey)
	}
	if err != nil {
		return recording.Purge{}, classify(err)
	}
	p.Upload, err = oneUpload(ctx, c.pool, `SELECT `+uploadColumns+` FROM uploads u WHERE u.id = $1`, uploadID)
	return p, err
}

// MarkPurged forgets what a purge has deleted from storage.
func (c *Catalog) MarkPurged(ctx context.Context, recordingID uuid.UUID) error {
	return c.inTx(ctx, func(tx pgx.Tx) error {
		for _, sql := range []string{
			`DELETE FROM upload_parts p USING uploads u WHERE p.upload_id = u.id AND u.recording_id = $1`,
			`DELETE FROM artifacts WHERE recording_id = $1`,
			`UPDATE recordings SET purged_at = now() WHERE id = $1`,
		} {
			if _, err := tx.Exec(ctx, sql, recordingID); err != nil {
				return err
			}
		}
		return nil
	})
}

// KnownObjects says which of the storage keys a living row owns.
func (c *Catalog) KnownObjects(ctx context.Context, keys []string) (map[string]bool, error) {
	return known[string](ctx, c, `
		SELECT object_key FROM recordings WHERE object_key = ANY($1) AND purged_at IS NULL
		UNION SELECT object_key FROM artifacts WHERE object_key = ANY($1)`, keys)
}

// KnownUploads says which of the uploads have, or may get, parts that matter.
func (c *Catalog) KnownUploads(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]bool, error) {
	return known[uuid.UUID](ctx, c, `
		SELECT u.id FROM uploads u WHERE u.id = ANY($1) AND u.state IN ('receiving', 'received')`, ids)
}

func known[K comparable](ctx context.Context, c *Catalog, sql string, list any) (map[K]bool, error) {
	rows, err := c.pool.Query(ctx, sql, list)
	if err != nil {
		return nil, classify(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[K])
	if err != nil {
		return nil, classify(err)
	}
	m := make(map[K]bool, len(found))
	for _, k := range found {
		m[k] = true
	}
	return m, nil
}
