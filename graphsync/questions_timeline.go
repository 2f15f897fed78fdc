package graphsync

import (
	"context"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

const (
	allRecordings = `
		MATCH (r:Recording)`
	recordingsInStory = `
		MATCH (:Projected {id: $owner})-[:TOLD]->(s:Story {storyId: $story}) WHERE s.ownerId = $owner
		MATCH (s)-[:HAS]->(r:Recording)`
	recordingsWithEntity = `
		MATCH (e:Projected {id: $entity}) WHERE e:Entity AND e.ownerId = $owner
		MATCH (e)<-[:MENTIONS|ABOUT]-(r:Recording)`
	recordingsWithBoth = recordingsWithEntity + `<-[:HAS]-(:Story {storyId: $story, ownerId: $owner})`

	pageOfTimeline = `
		WHERE r.ownerId = $owner AND r.at >= $from AND r.at < $before AND (r.at > $at OR r.id > $after)
		WITH r ORDER BY r.at, r.id LIMIT $limit
		RETURN r.id AS id, r.title AS title, r.at AS at, r.durationMs AS durationMs,
			[(s:Story)-[:HAS]->(r) WHERE s.ownerId = $owner | {id: s.storyId, title: s.title}][0] AS story,
			COLLECT {
				MATCH (r)-[m:MENTIONS]->(n:Person) WHERE n.ownerId = $owner` + heaviest + `
			} AS people,
			COLLECT {
				MATCH (r)-[m:MENTIONS]->(n:Place) WHERE n.ownerId = $owner` + heaviest + `
			} AS places,
			COLLECT {
				MATCH (r)-[m:ABOUT]->(n:Topic) WHERE n.ownerId = $owner` + heaviest + `
			} AS topics
		ORDER BY at, id`
	heaviest = ` WITH n, coalesce(m.weight, m.count) AS weight
				ORDER BY weight DESC, n.id LIMIT 3 RETURN {id: n.id, kind: ` + kindOf + `, name: n.name}`
)

// The ends of what is not bounded, in microseconds: no date of four digits is outside.
const (
	always = -1 << 58
	never  = 1 << 58
)

// Timeline returns a page of the owner's recordings, in the order in which they were
// recorded.
func (q *Questions) Timeline(ctx context.Context, owner uuid.UUID, t recording.Timeline) (recording.TimelinePage, error) {
	from, before := time.UnixMicro(always).UTC(), time.UnixMicro(never).UTC()
	if t.From != nil {
		from = t.From.UTC()
	}
	if t.Before != nil {
		before = t.Before.UTC()
	}
	last, err := decodeAfter(timelineCursor, t.Cursor, after{always, uuid.Nil})
	if err != nil {
		return recording.TimelinePage{}, err
	}
	at := time.UnixMicro(last.number).UTC()
	if at.After(from) {
		from = at
	}
	statement := allRecordings
	switch entity, story := t.EntityID != uuid.Nil, t.StoryID != uuid.Nil; {
	case entity && story:
		statement = recordingsWithBoth
	case entity:
		statement = recordingsWithEntity
	case story:
		statement = recordingsInStory
	}
	return ask(ctx, q, owner, func(a *asker) (recording.TimelinePage, error) {
		items, err := read[recording.TimelineItem](a, statement+pageOfTimeline, map[string]any{
			"story": t.StoryID.String(), "entity": t.EntityID.String(),
			"from": from, "before": before, "at": at, "after": last.id.String(), "limit": t.Limit + 1,
		})
		if err != nil {
			return recording.TimelinePage{}, err
		}
		items, more := cut(items, t.Limit)
		page := recording.TimelinePage{Items: items}
		if more {
			end := items[len(items)-1]
			page.NextCursor = after{end.At.UnixMicro(), end.ID}.encode(timelineCursor)
		}
		return page, nil
	})
}
