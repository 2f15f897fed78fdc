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
		RETURN r.id AS id, r.title AS title, r.at AS at, r.durationMs AS durationMs ORDER BY at, id LIMIT $limit`

	aroundRecordings = `
		UNWIND $ids AS recordingId
		MATCH (r:Projected {id: recordingId}) WHERE r:Recording AND r.ownerId = $owner
		MATCH (r)-[m:HAS|MENTIONS|ABOUT]-(n) WHERE n.ownerId = $owner AND (n:Story OR n:Person OR n:Place OR n:Topic)
		RETURN recordingId, CASE WHEN n:Story THEN n.storyId ELSE n.id END AS id, ` + kindOf + ` AS kind, coalesce(n.title, n.name) AS name
		ORDER BY coalesce(m.weight, m.count) DESC, id`
	mostShown = 3 // of people, places and topics, each
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
		items, more := onePage(items, t.Limit)
		page := recording.TimelinePage{Items: items}
		if more {
			end := items[len(items)-1]
			page.NextCursor = after{end.At.UnixMicro(), end.ID}.encode(timelineCursor)
		}
		return page, a.addAround(items)
	})
}

// addAround adds to recordings their stories and what weighs most in them.
func (a *asker) addAround(items []recording.TimelineItem) error {
	ids, byID := make([]string, len(items)), map[uuid.UUID]*recording.TimelineItem{}
	for i := range items {
		ids[i], byID[items[i].ID] = items[i].ID.String(), &items[i]
	}
	around, err := read[struct {
		RecordingID uuid.UUID
		recording.EntityRef
	}](a, aroundRecordings, map[string]any{"ids": ids})
	if err != nil {
		return err
	}
	for _, n := range around {
		item := byID[n.RecordingID]
		list := &item.Topics
		switch n.Kind {
		case "story":
			item.Story = &recording.StoryRef{ID: n.ID, Title: n.Name}
			continue
		case recording.EntityPerson:
			list = &item.People
		case recording.EntityPlace:
			list = &item.Places
		}
		if len(*list) < mostShown {
			*list = append(*list, n.EntityRef)
		}
	}
	return nil
}
