package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// uploadColumns are what scanUpload reads, of uploads named u.
const uploadColumns = `u.id, u.recording_id, u.owner_id, coalesce(u.client_id, ''), u.state, u.length,
	u.committed_offset, u.object_key, u.metadata, u.epoch, u.writer_open, u.writer_epoch, u.hash_state, u.head,
	coalesce(u.multipart_id, ''), u.part_number, u.segmented, u.partial, u.final_id, u.partial_ids,
	u.created_at, u.updated_at, u.expires_at,
	coalesce((SELECT jsonb_agg(jsonb_build_object('Number', p.number, 'Size', p.size, 'Ref', p.ref) ORDER BY p.number)
	          FROM upload_parts p WHERE p.upload_id = u.id), '[]')`

func scanUpload(row pgx.CollectableRow) (recording.Upload, error) {
	var u recording.Upload
	var recordingID, finalID *uuid.UUID
	err := row.Scan(&u.ID, &recordingID, &u.OwnerID, &u.ClientID, &u.State, &u.Length,
		&u.Offset, &u.ObjectKey, &u.Metadata, &u.Epoch, &u.WriterOpen, &u.WriterEpoch, &u.HashState, &u.Head,
		&u.MultipartID, &u.PartNumber, &u.Segmented, &u.Partial, &finalID, &u.PartialIDs,
		&u.CreatedAt, &u.UpdatedAt, &u.ExpiresAt, &u.Parts)
	u.RecordingID, u.FinalID = orNil(recordingID), orNil(finalID)
	return u, err
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// oneUpload runs a query for one row of uploadColumns; no row is ErrNotFound.
func oneUpload(ctx context.Context, q querier, sql string, args ...any) (recording.Upload, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return recording.Upload{}, classify(err)
	}
	u, err := pgx.CollectExactlyOneRow(rows, scanUpload)
	if errors.Is(err, pgx.ErrNoRows) {
		return recording.Upload{}, recording.ErrNotFound
	}
	return u, classify(err)
}

// FindUpload returns an upload of this owner.
func (c *Catalog) FindUpload(ctx context.Context, owner, id uuid.UUID) (recording.Upload, error) {
	return oneUpload(ctx, c.pool, `SELECT `+uploadColumns+` FROM uploads u WHERE u.owner_id = $1 AND u.id = $2`, owner, id)
}

// FindUploadByClientID returns the owner's living upload of this client id, which
// is not one that has expired.
func (c *Catalog) FindUploadByClientID(ctx context.Context, owner uuid.UUID, clientID string) (recording.Upload, error) {
	return oneUpload(ctx, c.pool, `SELECT `+uploadColumns+` FROM uploads u
		WHERE u.owner_id = $1 AND u.client_id = $2
		AND u.state IN ('receiving', 'received', 'stored') AND NOT (u.expires_at <= $3 AND (`+unfinished+` OR `+unjoined+`))`, owner, clientID, c.now())
}

// AcquireUpload takes the upload over: its epoch rises, so commits of whoever
// held it before are refused. An upload that takes no more bytes or has expired, or
// that a writer claims at another offset than the committed one, is not acquired and
// returned as it is. The WriterOpen and PartNumber it returns are those of before;
// for a writer the first is set from now on, until a commit of its epoch closes it,
// and the second is raised by the numbers that the writer may use. A writer from
// whom it takes the upload over is told to stop, in whatever process it is.
//
// A Fast claim is not flushed to the disk: if the database crashes before Settle or
// any other commit, the row is what it was. That's why epochs are times: counted up
// they would be given out again.
func (c *Catalog) AcquireUpload(ctx context.Context, id uuid.UUID, claim recording.Claim) (u recording.Upload, acquired bool, err error) {
	u, err = oneUpload(ctx, c.pool, `
		WITH before AS MATERIALIZED (
			SELECT id, writer_open, part_number, writer_epoch = epoch AS writing,
				greatest(epoch + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS next FROM uploads
			WHERE id = $1 AND state = 'receiving' AND expires_at > $5 AND (NOT $2 OR committed_offset = $3) FOR UPDATE
		), u AS (
			UPDATE uploads SET epoch = before.next, writer_open = uploads.writer_open OR $2,
				writer_epoch = CASE WHEN $2 THEN before.next ELSE uploads.writer_epoch END,
				part_number = uploads.part_number + CASE WHEN $2 THEN $4 ELSE 0 END
			FROM before WHERE uploads.id = before.id
			RETURNING uploads.id, recording_id, owner_id, client_id, state, length, committed_offset, object_key, metadata,
				epoch, before.writer_open, writer_epoch, hash_state, head, multipart_id, before.part_number, segmented, partial, final_id, partial_ids,
				created_at, updated_at, expires_at
		), told AS (
			SELECT pg_notify($6, json_build_object('upload', u.id, 'epoch', u.epoch, 'taken', true)::text)
			FROM u JOIN before USING (id) WHERE before.writing
		)
		SELECT `+uploadColumns+` FROM u WHERE (SELECT count(*) FROM told) >= 0
			AND (NOT $7 OR set_config('synchronous_commit', 'off', true) <> '')`,
		id, claim.Write, claim.Offset, recording.PartWindow, c.now(), writerChannel, claim.Fast)
	if errors.Is(err, recording.ErrNotFound) {
		u, err = oneUpload(ctx, c.pool, `SELECT `+uploadColumns+` FROM uploads u WHERE u.id = $1`, id)
		return u, false, err
	}
	return u, err == nil, err
}

// Settle makes everything durable that was committed before it, Fast claims among it.
func (c *Catalog) Settle(ctx context.Context) error {
	_, err := c.pool.Exec(ctx, `SELECT pg_logical_emit_message(true, 'reprise', '')`) // the smallest commit that waits for the disk
	return classify(err)
}

// moveOffset is a commit in one statement. No row means that the writer's time
// is over: another epoch, another offset, or an upload that takes no bytes, one
// that has expired among them: clients have been told so, and it stays so. A
// partial upload is received with its last byte; of others the receipt says so.
const moveOffset = `
	WITH moved AS (
		UPDATE uploads SET committed_offset = $4, hash_state = $5, head = $6, writer_open = writer_open AND NOT $7,
			writer_epoch = CASE WHEN $7 THEN 0 ELSE writer_epoch END,
			expires_at = $8, updated_at = $9, multipart_id = coalesce(nullif($14, ''), multipart_id),
			part_number = $15,
			segmented = segmented OR $16, object_key = coalesce(nullif($17, ''), object_key),
			state = CASE WHEN partial AND length = $4 THEN 'received' ELSE state END
		WHERE id = $1 AND epoch = $2 AND committed_offset = $3 AND state = 'receiving' AND expires_at > $9
		RETURNING id
	), written AS (
		INSERT INTO upload_parts (upload_id, number, size, ref, inline)
		SELECT moved.id, part.number, part.size, part.ref, part.inline
		FROM moved, unnest($10::int[], $11::bigint[], $12::text[], $13::bytea[]) AS part (number, size, ref, inline)
		ON CONFLICT (upload_id, number) DO UPDATE SET size = excluded.size, ref = excluded.ref
	), dropped AS (
		DELETE FROM upload_parts USING moved WHERE upload_id = moved.id AND number = ANY($18::int[])
	)
	SELECT count(*) FROM moved`

// CommitChunk moves the offset. With a Receipt the upload becomes received in
// the same transaction. A writer whose epoch is over gets ErrTakenOver. A chunk that
// is Growing beyond what its owner may send or store is refused as a whole.
func (c *Catalog) CommitChunk(ctx context.Context, ch recording.Chunk) error {
	numbers := make([]int, len(ch.Parts))
	sizes := make([]int64, len(ch.Parts))
	refs := make([]string, len(ch.Parts))
	inline := make([][]byte, len(ch.Parts))
	for i, p := range ch.Parts {
		numbers[i], sizes[i], refs[i], inline[i] = p.Number, p.Size, p.Ref, p.Inline
	}
	args := []any{
		ch.UploadID, ch.Epoch, ch.From, ch.To, ch.HashState, ch.Head, ch.CloseWrite, ch.ExpiresAt, c.now(), numbers, sizes, refs, inline,
		ch.MultipartID, ch.PartNumber, ch.Segmented, ch.ObjectKey, append([]int{}, ch.Dropped...),
	}
	move := func(row pgx.Row) error {
		var moved int
		if err := row.Scan(&moved); err != nil {
			return err
		}
		if moved == 0 {
			return recording.ErrTakenOver
		}
		return nil
	}
	switch {
	case ch.Growing:
		// One round trip, and one transaction: a batch is.
		batch := &pgx.Batch{}
		batch.Queue(moveOffset, args...).QueryRow(move)
		batch.Queue(checkUsage, c.checkArgs(ch.OwnerID)...)
		return classify(c.exceeded(c.pool.SendBatch(ctx, batch).Close(), growth{bytes: ch.To - ch.From}))
	case ch.Receipt == nil:
		return classify(move(c.pool.QueryRow(ctx, moveOffset, args...)))
	}
	return c.inTx(ctx, func(tx pgx.Tx) error {
		if err := move(tx.QueryRow(ctx, moveOffset, args...)); err != nil {
			return err
		}
		if err := c.receive(ctx, tx, ch.UploadID, *ch.Receipt); err != nil {
			return err
		}
		return appendEvent(ctx, tx, ch.Receipt.Event)
	})
}

// DeclareLength sets the length of an upload that was created without one, if its
// owner may send and store as much. With
// a Receipt (every byte is there already) it becomes received at once, and so does
// a partial one without.
func (c *Catalog) DeclareLength(ctx context.Context, id uuid.UUID, epoch, length int64, receipt *recording.Receipt) error {
	return c.inTx(ctx, func(tx pgx.Tx) error {
		var owner uuid.UUID
		var offset int64
		err := tx.QueryRow(ctx, `
			UPDATE uploads SET length = $3, updated_at = $4,
				state = CASE WHEN partial AND committed_offset = $3 THEN 'received' ELSE state END
			WHERE id = $1 AND epoch = $2 AND length IS NULL AND committed_offset <= $3 AND state = 'receiving' AND expires_at > $4
			RETURNING owner_id, committed_offset`, id, epoch, length, c.now()).Scan(&owner, &offset)
		if errors.Is(err, pgx.ErrNoRows) {
			return recording.ErrTakenOver
		}
		if err != nil {
			return err
		}
		if length > offset {
			if err := c.checkGrowth(ctx, tx, owner, growth{bytes: length - offset}); err != nil {
				return err
			}
		}
		if receipt == nil {
			return nil
		}
		if err := c.receive(ctx, tx, id, *receipt); err != nil {
			return err
		}
		return appendEvent(ctx, tx, receipt.Event)
	})
}

// receive completes an upload: its state, the recording's receipt, the first
// job. The event is the caller's, so that it comes last.
func (c *Catalog) receive(ctx context.Context, tx pgx.Tx, uploadID uuid.UUID, r recording.Receipt) error {
	var recordingID uuid.UUID
	if err := tx.QueryRow(ctx, `
		UPDATE uploads SET state = 'received', writer_open = false, writer_epoch = 0 WHERE id = $1 RETURNING recording_id`,
		uploadID).Scan(&recordingID); err != nil {
		return fmt.Errorf("mark the upload received: %w", err)
	}
	if _, err := tx.Exec(ctx, `
		UPDATE recordings SET state = 'received', stage = $2, size_bytes = $3, sha256 = $4,
			received_at = $5, updated_at = $5, version = version + 1,
			object_key = (SELECT object_key FROM uploads WHERE recording_id = $1)
		WHERE id = $1`, recordingID, r.Job.Stage, r.SizeBytes, r.SHA256, c.now()); err != nil {
		return fmt.Errorf("write the receipt: %w", err)
	}
	return c.enqueue(ctx, tx, r.Job, time.Time{})
}

// FailUpload ends an unfinished upload, or a partial one that was not joined, whose
// storage has lost committed bytes: its recording fails, and what is left of it is
// purged. A request whose epoch is over gets ErrTakenOver.
func (c *Catalog) FailUpload(ctx context.Context, id uuid.UUID, epoch int64, reason recording.Reason, detail string) error {
	return c.endUpload(ctx, id, epoch, uploadEnd{recording.UploadFailed, recording.StateFailed, recording.EventRecordingFailed, reason, detail})
}

// RefuseUpload ends an upload whose first bytes are not acceptable: the
// recording is rejected and its bytes are purged. A request whose epoch is over
// gets ErrTakenOver.
func (c *Catalog) RefuseUpload(ctx context.Context, id uuid.UUID, epoch int64, reason recording.Reason, detail string) error {
	return c.endUpload(ctx, id, epoch, uploadEnd{recording.UploadRefused, recording.StateRejected, recording.EventRecordingRejected, reason, detail})
}

// uploadEnd is how an upload ends before its last byte.
type uploadEnd struct {
	upload    recording.UploadState
	recording recording.State
	event     recording.EventType
	reason    recording.Reason
	detail    string
}

func (c *Catalog) endUpload(ctx context.Context, id uuid.UUID, epoch int64, end uploadEnd) error {
	return c.inTx(ctx, func(tx pgx.Tx) error {
		var recordingID *uuid.UUID
		var owner uuid.UUID
		err := tx.QueryRow(ctx, `
			UPDATE uploads SET state = $4, epoch = epoch + 1, updated_at = $3
			WHERE id = $1 AND epoch = $2 AND (state = 'receiving' OR state = 'received' AND partial AND final_id IS NULL)
			RETURNING recording_id, owner_id`, id, epoch, c.now(), end.upload).Scan(&recordingID, &owner)
		if errors.Is(err, pgx.ErrNoRows) {
			return recording.ErrTakenOver
		}
		if err != nil {
			return err
		}
		if recordingID == nil {
			return c.enqueue(ctx, tx, recording.PurgeJob{UploadID: id}, time.Time{})
		}
		if err := c.endRecording(ctx, tx, *recordingID, end.recording, end.reason, end.detail); err != nil {
			return err
		}
		if err := c.enqueue(ctx, tx, recording.PurgeJob{RecordingID: *recordingID}, time.Time{}); err != nil {
			return err
		}
		return appendEvent(ctx, tx, verdictEvent(owner, *recordingID, end.event, c.now(), end.reason, end.detail))
	})
}

// TerminateUpload ends an unfinished upload: its recording is deleted and its
// bytes are purged at once. Terminating a finished one deletes its recording as
// DeleteRecording does. A partial upload can be terminated until it is joined.
func (c *Catalog) TerminateUpload(ctx context.Context, owner, id uuid.UUID) error {
	u, err := c.FindUpload(ctx, owner, id)
	if err != nil {
		return err
	}
	if u.Partial {
		return c.terminatePartial(ctx, id)
	}
	return c.DeleteRecording(ctx, owner, u.RecordingID)
}

// ResumableUploads lists the owner's unfinished uploads, newest first, but for
// partial ones: only who has begun them knows what belongs together.
func (c *Catalog) ResumableUploads(ctx context.Context, owner uuid.UUID, page recording.Page) ([]recording.Upload, error) {
	rows, err := c.pool.Query(ctx, `SELECT `+uploadColumns+` FROM uploads u
		WHERE u.owner_id = $1 AND u.state = 'receiving' AND NOT u.partial AND u.expires_at > $4 AND ($2::uuid IS NULL OR u.id < $2)
		ORDER BY u.id DESC LIMIT $3`, owner, nullID(page.Before), page.Limit, c.now())
	if err != nil {
		return nil, classify(err)
	}
	list, err := pgx.CollectRows(rows, scanUpload)
	return list, classify(err)
}

// InlineParts returns the bytes that CommitChunk was given as Inline, of those of
// the upload's parts, in their order.
func (c *Catalog) InlineParts(ctx context.Context, id uuid.UUID, numbers []int) ([][]byte, error) {
	rows, err := c.pool.Query(ctx, `
		SELECT inline FROM upload_parts WHERE upload_id = $1 AND number = ANY($2) AND inline IS NOT NULL
		ORDER BY number`, id, numbers)
	if err != nil {
		return nil, classify(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err == nil && len(list) != len(numbers) { // folded or purged since
		err = recording.ErrNotFound
	}
	return list, classify(err)
}

// orNil makes an SQL NULL uuid.Nil.
func orNil(id *uuid.UUID) uuid.UUID {
	if id == nil {
		return uuid.Nil
	}
	return *id
}

// nullID makes uuid.Nil an SQL NULL.
func nullID(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}
