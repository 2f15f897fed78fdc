package catalog

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// storyColumns are what scanStory reads, of stories named s.
const storyColumns = `s.id, s.key, s.title, s.created_at, s.updated_at,
	(SELECT count(*) FROM recordings r WHERE r.owner_id = s.owner_id AND r.story_id = s.id AND r.state <> 'deleted')`

func scanStory(row pgx.CollectableRow) (recording.Story, error) {
	var s recording.Story
	err := row.Scan(&s.ID, &s.Key, &s.Title, &s.CreatedAt, &s.UpdatedAt, &s.Recordings)
	s.CreatedAt, s.UpdatedAt = s.CreatedAt.UTC(), s.UpdatedAt.UTC()
	return s, err
}

// Stories lists the owner's stories, newest first. Page.Before is a key.
func (c *Catalog) Stories(ctx context.Context, owner uuid.UUID, page recording.Page) ([]recording.Story, error) {
	rows, err := c.pool.Query(ctx, `SELECT `+storyColumns+` FROM stories s
		WHERE s.owner_id = $1 AND ($2::uuid IS NULL OR s.key < $2) ORDER BY s.key DESC LIMIT $3`, owner, nullID(page.Before), page.Limit)
	if err != nil {
		return nil, classify(err)
	}
	list, err := pgx.CollectRows(rows, scanStory)
	return list, classify(err)
}

// Story returns one of the owner's stories.
func (c *Catalog) Story(ctx context.Context, owner, id uuid.UUID) (recording.Story, error) {
	s, err := readStory(ctx, c.pool, owner, id)
	return s, classify(err)
}

func readStory(ctx context.Context, q querier, owner, id uuid.UUID) (recording.Story, error) {
	rows, err := q.Query(ctx, `SELECT `+storyColumns+` FROM stories s WHERE s.owner_id = $1 AND s.id = $2`, owner, id)
	if err != nil {
		return recording.Story{}, err
	}
	return oneRow(rows, scanStory)
}

// StoryRecordings lists those of the owner's recordings that are in a story, newest first,
// without deleted ones.
func (c *Catalog) StoryRecordings(ctx context.Context, owner, story uuid.UUID, page recording.Page) ([]recording.Recording, error) {
	return queryRecordings(ctx, c.pool, `SELECT `+recordingColumns+` FROM recordings r
		WHERE r.owner_id = $1 AND r.story_id = $2 AND r.state <> 'deleted' AND ($3::uuid IS NULL OR r.id < $3)
		ORDER BY r.id DESC LIMIT $4`, owner, story, nullID(page.Before), page.Limit)
}

// CreateStory makes a story with a new id.
func (c *Catalog) CreateStory(ctx context.Context, owner uuid.UUID, title string) (recording.Story, error) {
	now := c.now()
	var s recording.Story
	err := c.inTx(ctx, func(tx pgx.Tx) error {
		id, key := recording.NewID(), recording.NewID()
		if _, err := tx.Exec(ctx, `INSERT INTO stories (owner_id, id, key, title, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)`,
			owner, id, key, title, now); err != nil {
			return err
		}
		if err := lockGraph(ctx, tx, owner); err != nil {
			return err
		}
		if err := touchGraph(ctx, tx, owner, now, graphRefs(recording.GraphStory, key)...); err != nil {
			return err
		}
		var err error
		s, err = readStory(ctx, tx, owner, id)
		return err
	})
	return s, err
}

// PatchStory gives a story another title.
func (c *Catalog) PatchStory(ctx context.Context, owner, id uuid.UUID, title string) (recording.Story, error) {
	now := c.now()
	var s recording.Story
	err := c.inTx(ctx, func(tx pgx.Tx) error {
		changed, err := queryIDs(ctx, tx, `UPDATE stories SET title = $3, updated_at = $4 WHERE owner_id = $1 AND id = $2 AND title <> $3 RETURNING key`,
			owner, id, title, now)
		if err != nil {
			return err
		}
		if s, err = readStory(ctx, tx, owner, id); err != nil || len(changed) == 0 {
			return err
		}
		if err := lockGraph(ctx, tx, owner); err != nil {
			return err
		}
		return touchGraph(ctx, tx, owner, now, graphRefs(recording.GraphStory, changed...)...)
	})
	return s, err
}

// DeleteStory deletes a story. Its recordings stay, and are in none then.
func (c *Catalog) DeleteStory(ctx context.Context, owner, id uuid.UUID) error {
	return c.inTx(ctx, func(tx pgx.Tx) error {
		now := c.now()
		// Whoever puts a recording into it waits for this, or this for them.
		keys, err := queryIDs(ctx, tx, `SELECT key FROM stories WHERE owner_id = $1 AND id = $2 FOR UPDATE`, owner, id)
		if err == nil && len(keys) == 0 {
			err = recording.ErrNotFound
		}
		if err != nil {
			return err
		}
		recordings, err := queryIDs(ctx, tx, `
			SELECT id FROM recordings WHERE owner_id = $1 AND story_id = $2 AND state <> 'deleted' ORDER BY id FOR UPDATE`, owner, id)
		if err != nil {
			return err
		}
		ready, err := queryIDs(ctx, tx, `
			WITH left_it AS (UPDATE recordings SET story_id = NULL, version = version + 1, updated_at = $2 WHERE id = ANY($1) RETURNING id, state)
			SELECT id FROM left_it WHERE state = 'ready'`, recordings, now)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM stories WHERE owner_id = $1 AND id = $2`, owner, id); err != nil {
			return err
		}
		if err := lockGraph(ctx, tx, owner); err != nil {
			return err
		}
		refs := append(graphRefs(recording.GraphStory, keys...), graphRefs(recording.GraphRecording, ready...)...)
		if err := touchGraph(ctx, tx, owner, now, refs...); err != nil {
			return err
		}
		// All that indexRecording would change, for as many as there are.
		if _, err := tx.Exec(ctx, `UPDATE search_documents SET tags = array_remove(tags, $2) WHERE recording_id = ANY($1)`, recordings, storyTag(id)); err != nil {
			return err
		}
		return appendUpdates(ctx, tx, owner, recordings, now)
	})
}

// ensureStory makes a story that is not there yet, and keeps it from being deleted until
// the transaction ends. It comes before the recording: the order of locks.
func ensureStory(ctx context.Context, tx pgx.Tx, owner, id uuid.UUID, at time.Time) error {
	for {
		if err := insertStory(ctx, tx, owner, id, at); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `SELECT FROM stories WHERE owner_id = $1 AND id = $2 FOR KEY SHARE`, owner, id)
		if err != nil || tag.RowsAffected() > 0 { // else it was deleted in between
			return err
		}
	}
}

// insertStory makes a story that is not there yet.
func insertStory(ctx context.Context, tx pgx.Tx, owner, id uuid.UUID, at time.Time) error {
	_, err := tx.Exec(ctx, `INSERT INTO stories (owner_id, id, key, created_at, updated_at) VALUES ($1, $2, $3, $4, $4) ON CONFLICT DO NOTHING`,
		owner, id, recording.NewID(), at)
	return err
}

// showReady shows a ready recording in the graph as it is now, with its story.
func showReady(ctx context.Context, tx pgx.Tx, r recording.Recording, at time.Time) error {
	refs := graphRefs(recording.GraphRecording, r.ID)
	if r.StoryID != nil {
		// It is there, unless a process of a version without stories has made the recording.
		if err := insertStory(ctx, tx, r.OwnerID, *r.StoryID, at); err != nil {
			return err
		}
		keys, err := queryIDs(ctx, tx, `SELECT key FROM stories WHERE owner_id = $1 AND id = $2`, r.OwnerID, *r.StoryID)
		if err != nil {
			return err
		}
		refs = append(refs, graphRefs(recording.GraphStory, keys...)...)
	}
	if err := lockGraph(ctx, tx, r.OwnerID); err != nil {
		return err
	}
	return touchGraph(ctx, tx, r.OwnerID, at, refs...)
}
