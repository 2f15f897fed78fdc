package graphsync

import (
	"context"
	"math"

	"github.com/google/uuid"

	"reprise/recording"
)

const (
	// newestMentions are how many recordings of an entity are looked through for what
	// occurs with it.
	newestMentions = 2000
	maxOccursWith  = 50

	listEntities = `
		MATCH (n:Entity) WHERE n.ownerId = $owner
			AND ($kind = '' OR ` + kindOf + ` = $kind) AND toLower(n.name) STARTS WITH toLower($prefix)
		WITH n, ` + recordingsOf + ` AS recordings
		WHERE recordings > 0 AND (recordings < $recordings OR recordings = $recordings AND n.id > $after)
		WITH n, recordings ORDER BY recordings DESC, n.id LIMIT $limit` + countMentions + `
		ORDER BY recordings DESC, id`

	oneEntity = `
		MATCH (n:Projected {id: $id}) WHERE n:Entity AND n.ownerId = $owner
		WITH n, ` + recordingsOf + ` AS recordings` + countMentions

	countMentions = `
		CALL (n) {
			MATCH (n)<-[m:MENTIONS|ABOUT]-(r:Recording) WHERE r.ownerId = $owner
			RETURN sum(coalesce(m.count, 1)) AS mentions, min(r.at) AS first, max(r.at) AS last
		}
		RETURN n.id AS id, ` + kindOf + ` AS kind, n.name AS name, recordings, mentions, first, last`

	mentionsOf = `
		MATCH (e:Projected {id: $id}) WHERE e:Entity AND e.ownerId = $owner
		MATCH (e)<-[m:MENTIONS|ABOUT]-(r:Recording) WHERE r.ownerId = $owner
		WITH e, m, r ORDER BY r.at DESC, r.id LIMIT $limit`

	listMentions = mentionsOf + `
		RETURN r.id AS recordingId, r.title AS title, r.at AS at,
			coalesce(m.count, 1) AS count, coalesce(m.atMs, []) AS atMs, coalesce(m.weight, 0.0) AS weight
		ORDER BY at DESC, recordingId`

	occursWith = mentionsOf + `
		MATCH (r)-[:MENTIONS|ABOUT]->(n:Entity) WHERE n.ownerId = $owner AND n <> e
		WITH n, count(*) AS recordings ORDER BY recordings DESC, n.id LIMIT $most
		RETURN n.id AS id, ` + kindOf + ` AS kind, n.name AS name, recordings ORDER BY recordings DESC, id`
)

// Entities returns a page of the owner's entities that recordings mention or are about.
func (q *Questions) Entities(ctx context.Context, owner uuid.UUID, query recording.EntityQuery) (recording.EntityPage, error) {
	from, err := decodeAfter(entityCursor, query.Cursor, after{math.MaxInt64, uuid.Nil})
	if err != nil {
		return recording.EntityPage{}, err
	}
	return ask(ctx, q, owner, func(a *asker) (recording.EntityPage, error) {
		list, err := read[recording.CountedEntity](a, listEntities, map[string]any{
			"kind": string(query.Kind), "prefix": query.Prefix, "recordings": from.number, "after": from.id.String(), "limit": query.Limit + 1,
		})
		if err != nil {
			return recording.EntityPage{}, err
		}
		list, more := onePage(list, query.Limit)
		page := recording.EntityPage{Items: list}
		if more {
			last := list[len(list)-1]
			page.NextCursor = after{int64(last.Recordings), last.ID}.encode(entityCursor)
		}
		return page, nil
	})
}

// Entity returns one entity, with at most limit of the recordings that mention it.
func (q *Questions) Entity(ctx context.Context, owner, id uuid.UUID, limit int) (recording.EntityCard, error) {
	return ask(ctx, q, owner, func(a *asker) (card recording.EntityCard, err error) {
		found, err := read[recording.CountedEntity](a, oneEntity, map[string]any{"id": id.String()})
		if err == nil && len(found) == 0 {
			err = recording.ErrNotFound
		}
		if err != nil {
			return card, err
		}
		card.CountedEntity = found[0]
		if card.MentionedIn, err = read[recording.EntityMention](a, listMentions, map[string]any{"id": id.String(), "limit": limit}); err != nil {
			return card, err
		}
		with, err := read[recording.CountedWith](a, occursWith, map[string]any{"id": id.String(), "limit": newestMentions, "most": maxOccursWith + 1})
		if err != nil {
			return card, err
		}
		var more bool
		card.OccursWith, more = onePage(with, maxOccursWith)
		card.Complete = !more && card.Recordings <= min(limit, newestMentions)
		return card, nil
	})
}
