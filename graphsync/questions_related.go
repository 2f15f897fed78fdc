package graphsync

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

const (
	// relatedReach bounds how many mentions are followed. Entities are taken up to there,
	// the rarest first: what more recordings share says the least about any two.
	relatedReach = 20_000

	entitiesOf = `
		MATCH (r:Projected {id: $id}) WHERE r:Recording AND r.ownerId = $owner
		OPTIONAL MATCH (r)-[m:MENTIONS|ABOUT]->(n:Entity) WHERE n.ownerId = $owner
		WITH n, m, ` + recordingsOf + ` AS recordings
		RETURN n.id AS id, ` + kindOf + ` AS kind, n.name AS name, coalesce(m.weight, 1.0) AS weight, recordings
		ORDER BY recordings, id`

	// Scores are whole numbers, so that their sum doesn't depend on an order and the same
	// recording has the same one on the next page.
	relatedTo = `
		UNWIND range(0, size($shared) - 1) AS i
		WITH i, $shared[i] AS shared
		MATCH (e:Projected {id: shared.id}) WHERE e:Entity AND e.ownerId = $owner
		MATCH (e)<-[m:MENTIONS|ABOUT]-(r:Recording) WHERE r.ownerId = $owner AND r.id <> $id
		WITH r, i, toInteger(shared.rarity * CASE WHEN m.weight < shared.weight THEN m.weight ELSE shared.weight END) AS weight
		WITH r, sum(weight) AS score, collect({shared: i, weight: weight}) AS why
		WHERE score < $score OR score = $score AND r.id > $after
		RETURN r.id AS id, r.title AS title, r.at AS at, score, why ORDER BY score DESC, id LIMIT $limit`

	scoreUnit = 1_000_000 // of a score as a whole number
)

// clue is an entity of a recording, by which others may be related to it.
type clue struct {
	recording.EntityRef
	Weight     float64 // of a topic, else 1
	Recordings int     // that have it
}

// rarity is the entity's share in how near two recordings are that have it (Adamic and
// Adar, Friends and neighbors on the Web, 2003).
func (s clue) rarity() float64 { return scoreUnit / math.Log(float64(s.Recordings)) }

// Related returns a page of the owner's recordings that share entities with one.
func (q *Questions) Related(ctx context.Context, owner, id uuid.UUID, limit int, cursor string) (recording.Related, error) {
	from, err := decodeAfter(relatedCursor, cursor, after{math.MaxInt64, uuid.Nil})
	if err != nil {
		return recording.Related{}, err
	}
	return ask(ctx, q, owner, func(a *asker) (recording.Related, error) {
		found, err := read[clue](a, entitiesOf, map[string]any{"id": id.String()})
		if err == nil && len(found) == 0 {
			err = recording.ErrNotFound
		}
		if err != nil {
			return recording.Related{}, err
		}
		reach, complete := withinReach(found)
		return a.related(id, reach, complete, limit, from)
	})
}

// withinReach returns the entities that are followed, and whether those are all.
func withinReach(found []clue) (reach []clue, complete bool) {
	mentions := 0
	for _, s := range found {
		if s.Recordings < 2 { // nothing else has it; or there is no entity at all
			continue
		}
		if mentions += s.Recordings; mentions > relatedReach {
			return reach, false
		}
		reach = append(reach, s)
	}
	return reach, true
}

func (a *asker) related(id uuid.UUID, reach []clue, complete bool, limit int, from after) (recording.Related, error) {
	params := make([]map[string]any, len(reach))
	for i, s := range reach {
		params[i] = map[string]any{"id": s.ID.String(), "rarity": s.rarity(), "weight": s.Weight}
	}
	rows, err := read[struct {
		ID    uuid.UUID
		Title string
		At    time.Time
		Score int64
		Why   []struct{ Shared, Weight int64 }
	}](a, relatedTo, map[string]any{
		"id": id.String(), "shared": params, "score": from.number, "after": from.id.String(), "limit": limit + 1,
	})
	if err != nil {
		return recording.Related{}, err
	}
	rows, more := onePage(rows, limit)
	result := recording.Related{Items: []recording.RelatedRecording{}, Complete: complete}
	for _, row := range rows {
		item := recording.RelatedRecording{ID: row.ID, Title: row.Title, At: row.At, Score: float64(row.Score) / scoreUnit}
		for _, why := range row.Why {
			item.Why = append(item.Why, recording.SharedEntity{EntityRef: reach[why.Shared].EntityRef, Weight: float64(why.Weight) / scoreUnit})
		}
		slices.SortFunc(item.Why, func(a, b recording.SharedEntity) int {
			return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.ID.String(), b.ID.String()))
		})
		result.Items = append(result.Items, item)
	}
	if more {
		last := rows[len(rows)-1]
		result.NextCursor = after{last.Score, last.ID}.encode(relatedCursor)
	}
	return result, nil
}
