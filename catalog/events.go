package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// eventChannel is the NOTIFY channel that wakes the event hubs of all replicas.
const eventChannel = "reprise_events"

// listenPatience is how long nothing may come before Listen asks whether the
// connection is alive.
const listenPatience = 10 * time.Second

// appendEvent stores a milestone with its owner's next sequence number and
// wakes the hubs at commit. It locks the owner's row, so it comes last in its
// transaction: numbers become visible in their order, and a reader who has seen
// one has seen all before it.
func appendEvent(ctx context.Context, tx pgx.Tx, e recording.Event) error {
	var seq int64
	if err := tx.QueryRow(ctx, `
		WITH next AS (UPDATE users SET event_seq = event_seq + 1 WHERE id = $1 RETURNING event_seq)
		INSERT INTO events (owner_id, seq, recording_id, type, at, data)
		SELECT $1, event_seq, $2, $3, $4, $5 FROM next RETURNING seq`,
		e.OwnerID, e.RecordingID, e.Type, e.At, e.Data).Scan(&seq); err != nil {
		return fmt.Errorf("append event: %w", err)
	}
	return notifyEvent(ctx, tx, e.OwnerID, seq)
}

// appendUpdates is appendEvent for an update of several recordings of one owner.
func appendUpdates(ctx context.Context, tx pgx.Tx, owner uuid.UUID, ids []uuid.UUID, at time.Time) error {
	if len(ids) == 0 {
		return nil
	}
	var seq int64
	if err := tx.QueryRow(ctx, `UPDATE users SET event_seq = event_seq + $2 WHERE id = $1 RETURNING event_seq`, owner, len(ids)).Scan(&seq); err != nil {
		return fmt.Errorf("append updates: %w", err)
	}
	if _, err := tx.Exec(ctx, `
		INSERT INTO events (owner_id, seq, recording_id, type, at, data)
		SELECT $1, $2 + n.i, r.id, $4, $5, jsonb_strip_nulls(jsonb_build_object('title', r.title, 'storyId', r.story_id))
		FROM unnest($3::uuid[]) WITH ORDINALITY n(id, i) JOIN recordings r ON r.id = n.id`,
		owner, seq-int64(len(ids)), ids, recording.EventRecordingUpdated, at); err != nil {
		return fmt.Errorf("append updates: %w", err)
	}
	return notifyEvent(ctx, tx, owner, seq)
}

func notifyEvent(ctx context.Context, tx pgx.Tx, owner uuid.UUID, seq int64) error {
	payload, err := json.Marshal(map[string]any{"owner": owner, "seq": seq})
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `SELECT pg_notify($1, $2)`, eventChannel, string(payload))
	return err
}

// EventsSince lists the owner's milestones with a number above since, in order:
// all of them, or those of the given recordings.
func (c *Catalog) EventsSince(ctx context.Context, owner uuid.UUID, recordings []uuid.UUID, since int64, limit int) ([]recording.Event, error) {
	rows, err := c.pool.Query(ctx, `
		SELECT seq, recording_id, type, at, data FROM events
		WHERE owner_id = $1 AND seq > $2 AND ($3::uuid[] IS NULL OR recording_id = ANY($3))
		ORDER BY seq LIMIT $4`, owner, since, recordings, limit)
	if err != nil {
		return nil, classify(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (recording.Event, error) {
		e := recording.Event{OwnerID: owner}
		err := row.Scan(&e.Seq, &e.RecordingID, &e.Type, &e.At, &e.Data)
		e.At = e.At.UTC()
		return e, err
	})
	return list, classify(err)
}

// LatestSeq returns the number of the owner's latest milestone, 0 if there is
// none.
func (c *Catalog) LatestSeq(ctx context.Context, owner uuid.UUID) (int64, error) {
	var seq int64
	err := c.pool.QueryRow(ctx, `SELECT coalesce(max(event_seq), 0) FROM users WHERE id = $1`, owner).Scan(&seq)
	return seq, classify(err)
}

// Notify sends a payload of less than 8000 bytes to the hubs of all replicas.
// It is not stored: who doesn't listen misses it.
func (c *Catalog) Notify(ctx context.Context, payload string) error {
	_, err := c.pool.Exec(ctx, `SELECT pg_notify($1, $2)`, eventChannel, payload)
	return classify(err)
}

// Listen calls handle for every payload until ctx ends or the connection
// breaks; it always returns an error. It calls started once nothing will be
// missed any more.
func (c *Catalog) Listen(ctx context.Context, started func(), handle func(payload string)) error {
	return c.listen(ctx, eventChannel, started, handle)
}

func (c *Catalog) listen(ctx context.Context, channel string, started func(), handle func(payload string)) error {
	// A connection of its own: LISTEN belongs to a session, and a pool recycles those.
	conn, err := pgx.ConnectConfig(ctx, c.pool.Config().ConnConfig)
	if err != nil {
		return classify(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return classify(err)
	}
	started()
	for {
		wait, cancel := context.WithTimeout(ctx, listenPatience)
		n, err := conn.WaitForNotification(wait)
		quiet := wait.Err() != nil && ctx.Err() == nil
		cancel()
		if err != nil && quiet {
			err = pingSoon(ctx, conn)
		}
		if err != nil {
			return classify(err)
		}
		if n != nil {
			handle(n.Payload)
		}
	}
}
