package graphsync

import (
	"fmt"

	"github.com/google/uuid"

	"reprise/recording"
)

// The types of edges.
const (
	told     = "TOLD"
	has      = "HAS"
	mentions = "MENTIONS"
	about    = "ABOUT"
)

// An edge is one that a row writes.
type edge struct {
	kind       string
	from, to   uuid.UUID
	properties map[string]any
}

// labelsOf are the labels of a row's node besides Projected, as a statement has them.
func labelsOf(row recording.GraphRow) (string, error) {
	switch row.Kind {
	case recording.GraphUser:
		return "User", nil
	case recording.GraphStory:
		return "Story", nil
	case recording.GraphRecording:
		if row.Recording != nil {
			return "Recording", nil
		}
	case recording.GraphEntity:
		switch row.Entity {
		case recording.EntityPerson:
			return "Entity:Person", nil
		case recording.EntityPlace:
			return "Entity:Place", nil
		case recording.EntityOrganization:
			return "Entity:Organization", nil
		case recording.EntityDate:
			return "Entity:Date", nil
		case recording.EntityTopic:
			return "Entity:Topic", nil
		}
	}
	return "", fmt.Errorf("unknown kind")
}

// propertiesOf are the properties of a row's node.
func propertiesOf(row recording.GraphRow) map[string]any {
	p := map[string]any{"id": row.ID.String(), "ownerId": row.OwnerID.String(), "version": row.Version}
	switch row.Kind {
	case recording.GraphUser, recording.GraphEntity:
		p["name"] = row.Name
	case recording.GraphStory:
		p["title"], p["storyId"] = row.Name, row.StoryID.String()
	case recording.GraphRecording:
		p["title"], p["at"], p["durationMs"] = row.Name, row.Recording.At.UTC(), row.Recording.DurationMs
		if row.Recording.Story != uuid.Nil {
			p["storyId"] = row.Recording.Story.String()
		}
	}
	return p
}

// edgesOf are the edges that a row writes: to whatever its node hangs on, and from a
// recording's to what that is about. A tombstone has none.
func edgesOf(row recording.GraphRow) []edge {
	if row.Deleted {
		return nil
	}
	switch {
	case row.Kind == recording.GraphStory:
		return []edge{{told, row.OwnerID, row.ID, map[string]any{}}}
	case row.Kind != recording.GraphRecording:
		return nil
	}
	edges := []edge{{told, row.OwnerID, row.ID, map[string]any{}}}
	if row.Recording.Story != uuid.Nil {
		edges = []edge{{has, row.Recording.Story, row.ID, map[string]any{}}}
	}
	for _, m := range row.Recording.Mentions {
		at := append([]int64{}, m.AtMs...) // nil would be no property at all
		edges = append(edges, edge{mentions, row.ID, m.EntityID, map[string]any{"count": m.Count, "atMs": at}})
	}
	for _, t := range row.Recording.Topics {
		edges = append(edges, edge{about, row.ID, t.EntityID, map[string]any{"weight": t.Weight}})
	}
	return edges
}
