package catalog

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// What the graph shows is kept in Postgres: users, stories, entities, and recordings from
// ready on. Each transaction that changes one of them calls touchGraph, behind the
// recording and its insights and before search and the event.

// lockGraph makes a transaction the only one that changes entities, mentions and versions
// of an owner. It comes before the first of them is written, so that analyses and merges
// at once can't wait for each other, and none sees half of another.
func lockGraph(ctx context.Context, tx pgx.Tx, owner uuid.UUID) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('reprise-graph:' || $1, 0))`, owner.String())
	return err
}

// touchGraph says that something the graph shows has changed, or is to be deleted there.
// The transaction holds the owner's graph; of a user, their row is enough.
func touchGraph(ctx context.Context, tx pgx.Tx, owner uuid.UUID, at time.Time, refs ...recording.GraphRef) error {
	if len(refs) == 0 {
		return nil
	}
	kinds, ids := make([]recording.GraphKind, len(refs)), make([]uuid.UUID, len(refs))
	for i, ref := range refs {
		kinds[i], ids[i] = ref.Kind, ref.ID
	}
	_, err := tx.Exec(ctx, `
		WITH touched AS (
			INSERT INTO graph_versions (kind, id, owner_id, version)
			SELECT n.kind, n.id, $1, nextval('graph_version')
			FROM (SELECT DISTINCT kind, id FROM unnest($2::text[], $3::uuid[]) AS r(kind, id) ORDER BY kind, id) n
			ON CONFLICT (kind, id) DO UPDATE SET version = nextval('graph_version')
			RETURNING kind, id, version
		)
		INSERT INTO graph_outbox (kind, id, version, at, not_before) SELECT kind, id, version, $4, '-infinity' FROM touched`,
		nullID(owner), kinds, ids, at)
	return err
}

// graphRefs names several things of one kind.
func graphRefs(kind recording.GraphKind, ids ...uuid.UUID) []recording.GraphRef {
	list := make([]recording.GraphRef, len(ids))
	for i, id := range ids {
		list[i] = recording.GraphRef{Kind: kind, ID: id}
	}
	return list
}

// GraphBacklog says how far the graph is behind.
func (c *Catalog) GraphBacklog(ctx context.Context) (recording.GraphBacklog, error) {
	var b recording.GraphBacklog
	var oldest *time.Time
	err := c.pool.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM graph_outbox), (SELECT at FROM graph_outbox ORDER BY seq LIMIT 1), (SELECT count(*) FROM graph_dead_letters)`).
		Scan(&b.Rows, &oldest, &b.Dead)
	if oldest != nil {
		b.Oldest = oldest.UTC()
	}
	return b, classify(err)
}

// GraphWaits reports whether something that had changed by then is still to be applied,
// besides what the graph has refused.
func (c *Catalog) GraphWaits(ctx context.Context, then time.Time) (waits bool, err error) {
	err = c.pool.QueryRow(ctx, `SELECT coalesce((SELECT at FROM graph_outbox WHERE attempts = 0 ORDER BY seq LIMIT 1) <= $1, false)`, then).Scan(&waits)
	return waits, classify(err)
}

// GraphCounts returns how many rows of each kind the graph is to show.
func (c *Catalog) GraphCounts(ctx context.Context) (map[recording.GraphKind]int64, error) {
	counts := map[recording.GraphKind]int64{}
	for _, kind := range recording.GraphKinds() {
		what, err := shown(kind)
		if err != nil {
			return nil, err
		}
		var n int64
		if err := c.pool.QueryRow(ctx, `SELECT count(*) FROM (`+what+`) s`).Scan(&n); err != nil {
			return nil, classify(err)
		}
		counts[kind] = n
	}
	return counts, nil
}

// GraphWatermark returns the time before which everything that has changed is applied,
// but for dead letters, and for what a transaction is still writing.
func (c *Catalog) GraphWatermark(ctx context.Context) (time.Time, error) {
	var at time.Time
	err := c.pool.QueryRow(ctx, `SELECT coalesce((SELECT at FROM graph_outbox ORDER BY seq LIMIT 1), $1)`, c.now()).Scan(&at)
	return at.UTC(), classify(err)
}

// RetryGraph gives dead letters another chain of attempts, and returns how many.
func (c *Catalog) RetryGraph(ctx context.Context) (int64, error) {
	tag, err := c.pool.Exec(ctx, `
		WITH retried AS (DELETE FROM graph_dead_letters RETURNING kind, id, version)
		INSERT INTO graph_outbox (kind, id, version, at, not_before) SELECT kind, id, version, $1, '-infinity' FROM retried ORDER BY kind, id`, c.now())
	return tag.RowsAffected(), classify(err)
}

// SaveGraphRebuild notes how far a rebuild is, for the case that it is interrupted; the
// zero value says that none is running.
func (c *Catalog) SaveGraphRebuild(ctx context.Context, r recording.GraphRebuild) error {
	if r.StartedAt.IsZero() {
		_, err := c.pool.Exec(ctx, `DELETE FROM graph_rebuild`)
		return classify(err)
	}
	_, err := c.pool.Exec(ctx, `
		INSERT INTO graph_rebuild (started_at, kind, after) VALUES ($1, $2, $3)
		ON CONFLICT (one) DO UPDATE SET started_at = $1, kind = $2, after = $3`, r.StartedAt, r.Kind, r.After)
	return classify(err)
}

// GraphRebuild returns how far a rebuild is that has not ended, else the zero value.
func (c *Catalog) GraphRebuild(ctx context.Context) (recording.GraphRebuild, error) {
	var r recording.GraphRebuild
	err := c.pool.QueryRow(ctx, `SELECT started_at, kind, after FROM graph_rebuild`).Scan(&r.StartedAt, &r.Kind, &r.After)
	if errors.Is(err, pgx.ErrNoRows) {
		return recording.GraphRebuild{}, nil
	}
	r.StartedAt = r.StartedAt.UTC()
	return r, classify(err)
}
