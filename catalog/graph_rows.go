package catalog

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// maxMentionTimes is how many places of an entity in a recording are kept.
const maxMentionTimes = 100

// shown is what the graph shows of a kind: the one place that says so. An entity that is
// merged into another is shown as that one.
func shown(kind recording.GraphKind) (sql string, err error) {
	switch kind {
	case recording.GraphUser:
		return `SELECT id, id AS owner_id, name, '' AS entity, NULL::uuid AS story_id, NULL::json AS facts FROM users`, nil
	case recording.GraphStory:
		return `SELECT key AS id, owner_id, title AS name, '' AS entity, id AS story_id, NULL::json AS facts FROM stories`, nil
	case recording.GraphEntity:
		return `SELECT id, owner_id, name, kind AS entity, NULL::uuid AS story_id, NULL::json AS facts FROM entities WHERE merged_into IS NULL`, nil
	case recording.GraphRecording:
		return `
			SELECT r.id, r.owner_id, r.title AS name, '' AS entity, NULL::uuid AS story_id, json_build_object(
				'atMicros', (1000000 * extract(epoch FROM coalesce(r.recorded_at, r.created_at)))::bigint, 'durationMs', r.media->'durationMs',
				'story', (SELECT key FROM stories s WHERE s.owner_id = r.owner_id AND s.id = r.story_id),
				'mentions', (
					SELECT json_agg(json_build_object('id', coalesce(e.merged_into, e.id), 'kind', e.kind, 'count', m.count, 'atMs', m.at_ms, 'weight', m.weight))
					FROM mentions m JOIN entities e ON e.id = m.entity_id WHERE m.recording_id = r.id)
			) AS facts
			FROM recordings r WHERE r.state = 'ready'`, nil
	}
	return "", fmt.Errorf("catalog: the graph has no kind %q", kind)
}

// graphColumns are what scanGraphRow reads; s is what is shown, v its version.
const graphColumns = `coalesce(s.owner_id, v.owner_id), coalesce(v.version, 0), s.id IS NULL, coalesce(s.name, ''), coalesce(s.entity, ''), s.story_id, s.facts`

func scanGraphRow(kind recording.GraphKind) pgx.RowToFunc[recording.GraphRow] {
	return func(row pgx.CollectableRow) (recording.GraphRow, error) {
		r := recording.GraphRow{GraphRef: recording.GraphRef{Kind: kind}}
		var owner, story *uuid.UUID
		var facts *graphFacts
		err := row.Scan(&r.ID, &owner, &r.Version, &r.Deleted, &r.Name, &r.Entity, &story, &facts)
		r.OwnerID, r.StoryID = orNil(owner), orNil(story)
		if facts != nil {
			r.Recording = facts.merged()
		}
		return r, err
	}
}

// GraphRows returns a page of what the graph is to show of a kind, in the order of ids. A
// row that was never touched, by a process of a version without a graph, has version 0.
func (c *Catalog) GraphRows(ctx context.Context, kind recording.GraphKind, after uuid.UUID, limit int) ([]recording.GraphRow, error) {
	what, err := shown(kind)
	if err != nil {
		return nil, err
	}
	var list []recording.GraphRow
	err = c.inTx(ctx, func(tx pgx.Tx) error {
		if err := setGraphPlans(ctx, tx); err != nil {
			return err
		}
		// A story is shown from its first ready recording on, or when its owner gives it a title.
		rows, err := tx.Query(ctx, `
			SELECT s.id, `+graphColumns+` FROM (`+what+`) s LEFT JOIN graph_versions v ON v.kind = $1 AND v.id = s.id AND v.id > $2
			WHERE s.id > $2 AND ($1 <> 'story' OR v.id IS NOT NULL) ORDER BY s.id LIMIT $3`, kind, after, limit)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, scanGraphRow(kind))
		return err
	})
	return list, err
}

// setGraphPlans has a transaction read rows as they are best read: by thousands, with
// nothing to be gained from compiling that.
func setGraphPlans(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SET LOCAL jit = off`)
	return err
}

// GraphRowsOf returns how these are now, each once, in the order in which they are
// applied. What is not there, or not to be shown, is deleted; what Postgres has never
// known has version 0.
func (c *Catalog) GraphRowsOf(ctx context.Context, refs []recording.GraphRef) ([]recording.GraphRow, error) {
	var list []recording.GraphRow
	err := c.inTx(ctx, func(tx pgx.Tx) (err error) {
		list, err = graphRowsOf(ctx, tx, refs)
		return err
	})
	return list, err
}

// graphRowsOf reads versions and what they are of in one statement, so of one moment.
func graphRowsOf(ctx context.Context, tx pgx.Tx, refs []recording.GraphRef) ([]recording.GraphRow, error) {
	if err := setGraphPlans(ctx, tx); err != nil {
		return nil, err
	}
	ids := map[recording.GraphKind][]uuid.UUID{}
	for _, ref := range refs {
		ids[ref.Kind] = append(ids[ref.Kind], ref.ID)
	}
	var list []recording.GraphRow
	for _, kind := range recording.GraphKinds() {
		if len(ids[kind]) == 0 {
			continue
		}
		what, err := shown(kind)
		if err != nil {
			return nil, err
		}
		rows, err := tx.Query(ctx, `
			SELECT n.id, `+graphColumns+` FROM (SELECT DISTINCT unnest($2::uuid[]) AS id) n
			LEFT JOIN graph_versions v ON v.kind = $1 AND v.id = n.id LEFT JOIN (`+what+`) s ON s.id = n.id ORDER BY n.id`, kind, ids[kind])
		if err != nil {
			return nil, err
		}
		some, err := pgx.CollectRows(rows, scanGraphRow(kind))
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
	}
	return list, nil
}

// graphFacts is a recording as the database gives it, with its mentions as found.
type graphFacts struct {
	AtMicros   int64      `json:"atMicros"` // since 1970: as text it would be in the session's time zone
	DurationMs int64      `json:"durationMs"`
	Story      *uuid.UUID `json:"story"`
	Mentions   []struct {
		ID     uuid.UUID            `json:"id"` // of what the entity is merged into, or its own
		Kind   recording.EntityKind `json:"kind"`
		Count  int                  `json:"count"`
		AtMs   []int64              `json:"atMs"`
		Weight float64              `json:"weight"`
	} `json:"mentions"`
}

// merged makes one mention of those of entities that are the same.
func (f graphFacts) merged() *recording.GraphFacts {
	mentions, topics := map[uuid.UUID]recording.GraphMention{}, map[uuid.UUID]recording.GraphTopic{}
	for _, m := range f.Mentions {
		if m.Kind == recording.EntityTopic {
			topics[m.ID] = recording.GraphTopic{EntityID: m.ID, Weight: max(topics[m.ID].Weight, m.Weight)}
			continue
		}
		was := mentions[m.ID]
		at := slices.Sorted(slices.Values(append(was.AtMs, m.AtMs...)))
		mentions[m.ID] = recording.GraphMention{EntityID: m.ID, Count: was.Count + m.Count, AtMs: at[:min(len(at), maxMentionTimes)]}
	}
	byID := func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }
	return &recording.GraphFacts{
		At: time.UnixMicro(f.AtMicros).UTC(), DurationMs: f.DurationMs, Story: orNil(f.Story),
		Mentions: slices.SortedFunc(maps.Values(mentions), func(a, b recording.GraphMention) int { return byID(a.EntityID, b.EntityID) }),
		Topics:   slices.SortedFunc(maps.Values(topics), func(a, b recording.GraphTopic) int { return byID(a.EntityID, b.EntityID) }),
	}
}
