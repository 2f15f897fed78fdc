package catalog

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// found is an entity or a topic of one analysis, with all its spellings.
type found struct {
	ID     uuid.UUID            `json:"id"` // it gets this one if it is new
	Kind   recording.EntityKind `json:"kind"`
	Key    string               `json:"key"`
	Name   string               `json:"name"` // the first spelling
	Count  int                  `json:"count"`
	AtMs   []int64              `json:"atMs"`
	Weight *float64             `json:"weight"`
}

// foundIn returns what an analysis has found, each kind and key once.
func foundIn(a *recording.Analysis) []found {
	type name struct {
		kind recording.EntityKind
		key  string
	}
	all := map[name]found{}
	add := func(kind recording.EntityKind, text string, change func(*found)) {
		key := keyOf(text)
		if key == "" {
			return
		}
		f, ok := all[name{kind, key}]
		if !ok {
			f = found{ID: recording.NewID(), Kind: kind, Key: key, Name: text, AtMs: []int64{}}
		}
		change(&f)
		all[name{kind, key}] = f
	}
	for _, e := range a.Entities {
		add(e.Kind, e.Name, func(f *found) {
			f.Count += len(e.Mentions)
			for _, m := range e.Mentions {
				f.AtMs = append(f.AtMs, m.AtMs)
			}
			slices.Sort(f.AtMs)
			f.AtMs = f.AtMs[:min(len(f.AtMs), maxMentionTimes)]
		})
	}
	for _, t := range a.Topics {
		add(recording.EntityTopic, t.Name, func(f *found) {
			if f.Weight == nil || *f.Weight < t.Weight {
				f.Weight = &t.Weight
			}
		})
	}
	return slices.Collect(maps.Values(all))
}

// putMentions writes what a recording mentions, in the place of what was there, and
// returns what of the graph has changed with it. The transaction holds the owner's graph.
func putMentions(ctx context.Context, tx pgx.Tx, owner, id uuid.UUID, a *recording.Analysis, at time.Time) ([]recording.GraphRef, error) {
	before, err := queryIDs(ctx, tx, `DELETE FROM mentions WHERE recording_id = $1 RETURNING entity_id`, id)
	if err != nil {
		return nil, err
	}
	list := foundIn(a)
	changed, err := queryIDs(ctx, tx, `
		INSERT INTO entities AS was (id, owner_id, kind, key, name, created_at)
		SELECT n.id, $1, n.kind, n.key, n.name, $3 FROM json_to_recordset($2) AS n(id uuid, kind text, key text, name text) ORDER BY n.kind, n.key
		ON CONFLICT (owner_id, kind, key) DO UPDATE SET name = excluded.name WHERE NOT was.renamed AND was.name <> excluded.name
		RETURNING id`, owner, list, at)
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, `
		INSERT INTO mentions (recording_id, entity_id, count, at_ms, weight)
		SELECT $1, e.id, n.count, n."atMs", n.weight
		FROM json_to_recordset($3) AS n(kind text, key text, count integer, "atMs" bigint[], weight double precision)
		JOIN entities e ON e.owner_id = $2 AND e.kind = n.kind AND e.key = n.key`, id, owner, list); err != nil {
		return nil, err
	}
	orphans, err := deleteOrphans(ctx, tx, before)
	if err != nil {
		return nil, err
	}
	refs := append(graphRefs(recording.GraphEntity, changed...), graphRefs(recording.GraphEntity, orphans...)...)
	return append(refs, recording.GraphRef{Kind: recording.GraphRecording, ID: id}), nil
}

// hideFromGraph takes a deleted recording, and what only that mentions, out of the graph.
// If it was never ready it was never there.
func hideFromGraph(ctx context.Context, tx pgx.Tx, owner, id uuid.UUID, at time.Time) error {
	if err := lockGraph(ctx, tx, owner); err != nil {
		return err
	}
	refs, err := putMentions(ctx, tx, owner, id, &recording.Analysis{}, at)
	if err != nil {
		return err
	}
	return touchGraph(ctx, tx, owner, at, refs...)
}

// deleteOrphans deletes those of these entities that nothing mentions and that their
// owner has neither renamed nor merged, and returns which.
func deleteOrphans(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) ([]uuid.UUID, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return queryIDs(ctx, tx, `
		DELETE FROM entities e WHERE e.id = ANY($1) AND NOT e.renamed AND e.merged_into IS NULL
			AND NOT EXISTS (SELECT FROM mentions WHERE entity_id = e.id) AND NOT EXISTS (SELECT FROM entities WHERE merged_into = e.id)
		RETURNING e.id`, ids)
}

// forgetEntities deletes what an owner has renamed or merged and no recording mentions
// any more, under any of its names.
func forgetEntities(ctx context.Context, tx pgx.Tx, owner uuid.UUID, at time.Time) error {
	gone, err := queryIDs(ctx, tx, `
		DELETE FROM entities WHERE id IN (
			SELECT e.id FROM (
				SELECT DISTINCT coalesce(merged_into, id) AS id FROM entities WHERE owner_id = $1 AND (renamed OR merged_into IS NOT NULL)
			) root JOIN entities e ON e.id = root.id OR e.merged_into = root.id
			WHERE NOT EXISTS (SELECT FROM entities same JOIN mentions m ON m.entity_id = same.id WHERE same.id = root.id OR same.merged_into = root.id))
		RETURNING id`, owner)
	if err != nil {
		return err
	}
	return touchGraph(ctx, tx, owner, at, graphRefs(recording.GraphEntity, gone...)...)
}

// queryIDs returns the ids that a statement answers with.
func queryIDs(ctx context.Context, q querier, sql string, args ...any) ([]uuid.UUID, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}
