package api

import (
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

// exampleGraph is an answer of each question.
type exampleGraph struct {
	related      recording.Related
	entities     recording.EntityPage
	entity       recording.EntityCard
	path         recording.Subgraph
	neighborhood recording.Subgraph
	timeline     recording.TimelinePage
}

func newExampleGraph(r recording.Recording, at time.Time) exampleGraph {
	other := uuid.MustParse("01934b60-11d0-7a6c-8c55-b7e1f0a4d3c2")
	grandma := recording.EntityRef{ID: uuid.MustParse("01934b61-04c2-7d15-b6a4-7f1d90a3c5e8"), Kind: recording.EntityPerson, Name: "Grandma"}
	vienna := recording.EntityRef{ID: uuid.MustParse("01934b61-04c2-7d17-a1b2-5f3e4d6c7b80"), Kind: recording.EntityPlace, Name: "Vienna"}
	school := recording.EntityRef{ID: uuid.MustParse("01934b61-04c2-7d18-8e9f-0a1b2c3d4e5f"), Kind: recording.EntityTopic, Name: "school"}
	counted := recording.CountedEntity{EntityRef: grandma, Recordings: 2, Mentions: 7, First: at.Add(-time.Hour), Last: at}
	story := recording.StoryRef{ID: *r.StoryID, Title: "Grandmother's childhood"}
	nodes := []recording.GraphNode{
		{ID: grandma.ID, Kind: "person", Name: grandma.Name},
		{ID: r.ID, Kind: "recording", Name: r.Title, At: at.Add(-time.Hour)},
		{ID: vienna.ID, Kind: "place", Name: vienna.Name},
	}
	edges := []recording.GraphEdge{{From: 1, To: 0, Kind: "mentions", Count: 5}, {From: 1, To: 2, Kind: "mentions", Count: 1}}
	return exampleGraph{
		related: recording.Related{Complete: true, Items: []recording.RelatedRecording{{
			ID: other, Title: "The bakery", At: at, Score: 1.44,
			Why: []recording.SharedEntity{{EntityRef: grandma, Weight: 1.44}},
		}}},
		entities: recording.EntityPage{Items: []recording.CountedEntity{counted}},
		entity: recording.EntityCard{
			CountedEntity: counted, Complete: true,
			MentionedIn: []recording.EntityMention{
				{RecordingID: other, Title: "The bakery", At: at, Count: 2, AtMs: []int64{5200, 61_000}},
				{RecordingID: r.ID, Title: r.Title, At: at.Add(-time.Hour), Count: 5, AtMs: []int64{0, 1200, 2600, 5200, 7000}},
			},
			OccursWith: []recording.CountedWith{{EntityRef: vienna, Recordings: 1}},
		},
		path: recording.Subgraph{Nodes: nodes, Edges: edges, Complete: true},
		neighborhood: recording.Subgraph{
			Nodes: append(nodes[:3:3], recording.GraphNode{ID: story.ID, Kind: "story", Name: story.Title}),
			Edges: append(edges[:2:2], recording.GraphEdge{From: 3, To: 1, Kind: "has"}), Complete: true,
		},
		timeline: recording.TimelinePage{Items: []recording.TimelineItem{{
			ID: r.ID, Title: r.Title, At: at.Add(-time.Hour), DurationMs: 63_000, Story: &story,
			People: []recording.EntityRef{grandma}, Places: []recording.EntityRef{vienna}, Topics: []recording.EntityRef{school},
		}}},
	}
}
