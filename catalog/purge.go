package catalog

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// The uploads that expire: unfinished ones, and partial ones that nobody joins.
// Each is a query of its own, so that it has its index.
const (
	unfinished = `state = 'receiving'`
	unjoined   = `partial AND state = 'received' AND final_id IS NULL`
)

// ExpireUploads ends unfinished uploads for which nothing came for too long, and
// partial ones that were not joined in that time, and returns how many. Their
// recordings are deleted and their bytes purged.
func (c *Catalog) ExpireUploads(ctx context.Context, now time.Time) (int, error) {
	total := 0
	for _, which := range []string{unfinished, unjoined} {
		for {
			n, err := c.expireSome(ctx, which, now)
			total += n
			if err != nil {
				return total, err
			}
			if n == 0 {
				break
			}
		}
	}
	return total, nil
}

// expired is an upload that has expired.
type expired struct {
	UploadID, OwnerID uuid.UUID
	RecordingID       *uuid.UUID // nil of a partial upload
}

// expireSome ends a bounded number of uploads, so that no transaction gets long.
// It takes them one owner at a time: appending an event locks the owner's row.
func (c *Catalog) expireSome(ctx context.Context, which string, now time.Time) (int, error) {
	var list []expired
	err := c.inTx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			UPDATE uploads SET state = 'expired', epoch = epoch + 1, updated_at = $1
			WHERE id IN (
				SELECT id FROM uploads WHERE `+which+` AND expires_at < $1
				AND owner_id = (SELECT owner_id FROM uploads WHERE `+which+` AND expires_at < $1 LIMIT 1)
				LIMIT 100 FOR UPDATE SKIP LOCKED)
			RETURNING id, owner_id, recording_id`, now)
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

// expireClientID ends the owner's upload of this client id if it has expired, so
// that the client id is free before the janitor comes.
func (c *Catalog) expireClientID(ctx context.Context, owner uuid.UUID, clientID string) error {
	now := c.now()
	return c.inTx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			UPDATE uploads SET state = 'expired', epoch = epoch + 1, updated_at = $1
			WHERE owner_id = $2 AND client_id = $3 AND expires_at <= $1 AND (`+unfinished+` OR `+unjoined+`)
			RETURNING id, owner_id, recording_id`, now, owner, clientID)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[expired])
		if err != nil {
			return err
		}
		return c.deleteExpired(ctx, tx, list, now)
	})
}

func (c *Catalog) deleteExpired(ctx context.Context, tx pgx.Tx, list []expired, now time.Time) error {
	for _, x := range list {
		if x.RecordingID == nil {
			if err := c.enqueue(ctx, tx, recording.PurgeJob{UploadID: x.UploadID}, time.Time{}); err != nil {
				return err
			}
			continue
		}
		if _, err := tx.Exec(ctx, `
			UPDATE recordings SET state = 'deleted', deleted_at = $2, updated_at = $2, version = version + 1
			WHERE id = $1`, x.RecordingID, now); err != nil {
			return err
		}
		if err := c.enqueue(ctx, tx, recording.PurgeJob{RecordingID: *x.RecordingID}, time.Time{}); err != nil {
			return err
		}
	}
	recordings := map[uuid.UUID][]uuid.UUID{}
	for _, x := range list {
		if x.RecordingID != nil {
			recordings[x.OwnerID] = append(recordings[x.OwnerID], *x.RecordingID)
		}
	}
	for owner, ids := range recordings { // it is one owner
		if err := unindexRecordings(ctx, tx, owner, ids); err != nil {
			return err
		}
	}
	// The events come after every recording: the first one locks the owner.
	for _, x := range list {
		if x.RecordingID == nil {
			continue
		}
		if err := appendEvent(ctx, tx, recording.NewEvent(x.OwnerID, *x.RecordingID, recording.EventUploadExpired, now, nil)); err != nil {
			return err
		}
	}
	return nil
}

// endedEarly is true of an upload u that ended before its last byte without its
// recording r being deleted. One that was found to be lost later is kept as it is
// until its owner deletes it.
const endedEarly = `(u.state = 'refused' OR u.state = 'failed' AND r.state = 'failed' AND r.stage = '')`

// Purgeable says what may be deleted for good: everything of a deleted recording,
// the parts of one whose upload ended, a partial upload that ended. What lives, or
// never was, is ErrNotFound.
func (c *Catalog) Purgeable(ctx context.Context, job recording.PurgeJob) (recording.Purge, error) {
	if job.UploadID != uuid.Nil {
		return c.purgeablePartial(ctx, job.UploadID)
	}
	p := recording.Purge{RecordingID: job.RecordingID}
	var deleted bool
	var objectKey string
	var uploadID uuid.UUID
	err := c.pool.QueryRow(ctx, `
		SELECT u.id, `+endedEarly+` OR r.state = 'deleted', r.state = 'deleted', r.object_key,
			coalesce((SELECT array_agg(a.object_key) FROM artifacts a WHERE a.recording_id = r.id), '{}')
		FROM recordings r JOIN uploads u ON u.recording_id = r.id WHERE r.id = $1`, job.RecordingID).
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
	if err != nil {
		return recording.Purge{}, err
	}
	p.Upload.Partials, err = partialsOf(ctx, c.pool, p.Upload)
	for _, partial := range p.Upload.Partials {
		p.Keys = append(p.Keys, partial.ObjectKey)
	}
	return p, err
}

func (c *Catalog) purgeablePartial(ctx context.Context, id uuid.UUID) (recording.Purge, error) {
	u, err := oneUpload(ctx, c.pool, `SELECT `+uploadColumns+` FROM uploads u WHERE u.id = $1 AND u.partial`, id)
	if err == nil && !u.State.Gone() {
		err = recording.ErrNotFound
	}
	return recording.Purge{Upload: u, DiscardParts: true, Keys: []string{u.ObjectKey}}, err
}

// deleteParts forgets the parts of a recording's upload and of its partial ones.
const deleteParts = `
	DELETE FROM upload_parts WHERE upload_id IN (
		SELECT id FROM uploads WHERE recording_id = $1
		UNION ALL SELECT p.id FROM uploads p JOIN uploads f ON f.id = p.final_id WHERE f.recording_id = $1)`

// MarkPurged forgets what a purge has deleted from storage.
func (c *Catalog) MarkPurged(ctx context.Context, job recording.PurgeJob) error {
	if job.UploadID != uuid.Nil {
		return c.inTx(ctx, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `UPDATE uploads SET updated_at = $2 WHERE id = $1`, job.UploadID, c.now()); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `DELETE FROM upload_parts WHERE upload_id = $1`, job.UploadID)
			return err
		})
	}
	return c.inTx(ctx, func(tx pgx.Tx) error {
		for _, sql := range []string{
			deleteParts,
			`DELETE FROM artifacts WHERE recording_id = $1`,
			`DELETE FROM insights WHERE recording_id = $1`,
			`DELETE FROM provider_results WHERE recording_id = $1`,
			`DELETE FROM analyses WHERE recording_id = $1`,
			`DELETE FROM corrections WHERE recording_id = $1`,
			`DELETE FROM transcripts WHERE recording_id = $1`,
		} {
			if _, err := tx.Exec(ctx, sql, job.RecordingID); err != nil {
				return err
			}
		}
		var owner uuid.UUID
		var wasShown bool
		err := tx.QueryRow(ctx, `UPDATE recordings SET purged_at = now() WHERE id = $1 RETURNING owner_id, state = 'deleted' AND ready_at IS NOT NULL`,
			job.RecordingID).Scan(&owner, &wasShown)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if wasShown {
			// No name stays that was only said in what is purged, whatever became of it. The
			// rest is done, unless a process of a version without a graph has deleted it.
			if err := hideFromGraph(ctx, tx, owner, job.RecordingID, c.now()); err != nil {
				return err
			}
			if err := forgetEntities(ctx, tx, owner, c.now()); err != nil {
				return err
			}
		}
		// That is done, unless a process of a version that has no search has deleted it.
		return indexRecording(ctx, tx, job.RecordingID)
	})
}
