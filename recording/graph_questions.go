package recording

import (
	"time"

	"github.com/google/uuid"
)

// EntityRef is an entity as answers of the graph name it.
type EntityRef struct {
	ID   uuid.UUID
	Kind EntityKind
	Name string
}

// StoryRef is a story as answers of the graph name it.
type StoryRef struct {
	ID    uuid.UUID // the one that its owner knows it by
	Title string
}

// Related is a page of the recordings that share entities with one.
type Related struct {
	Items      []RelatedRecording // the best first
	NextCursor string             // "" on the last page
	Complete   bool               // false: entities that very many recordings share were left out
}

// RelatedRecording is a recording that shares entities with another.
type RelatedRecording struct {
	ID    uuid.UUID
	Title string
	At    time.Time // when it was recorded, or else created
	Score float64   // the sum of the weights
	Why   []SharedEntity
}

// SharedEntity is what two recordings share.
type SharedEntity struct {
	EntityRef
	Weight float64 // the more, the fewer recordings it is in
}

// EntityQuery asks for a page of an owner's entities.
type EntityQuery struct {
	Kind   EntityKind // "" for all
	Prefix string     // of the name, whatever its case
	Limit  int
	Cursor string
}

// EntityPage is a page of entities.
type EntityPage struct {
	Items      []CountedEntity // those of most recordings first
	NextCursor string          // "" on the last page
}

// CountedEntity is an entity and how it is mentioned.
type CountedEntity struct {
	EntityRef
	Recordings  int
	Mentions    int       // in all of them; of a topic, which is no word in them, once each
	First, Last time.Time // when the first and the last of them were recorded
}

// EntityCard is what the graph has of one entity.
type EntityCard struct {
	CountedEntity
	MentionedIn []EntityMention // newest first
	OccursWith  []CountedWith   // those of most recordings first
	Complete    bool            // false: MentionedIn or OccursWith is not all
}

// EntityMention is a recording that mentions an entity, or is about it.
type EntityMention struct {
	RecordingID uuid.UUID
	Title       string
	At          time.Time
	Count       int     // of a topic: 1
	AtMs        []int64 // sorted; of a topic: none
	Weight      float64 // of a topic, else 0
}

// CountedWith is an entity that recordings mention besides another.
type CountedWith struct {
	EntityRef
	Recordings int // that mention both
}

// Subgraph is a part of an owner's graph, to be drawn.
type Subgraph struct {
	Nodes    []GraphNode
	Edges    []GraphEdge
	Complete bool // false: there was more than was asked for
}

// GraphNode is a recording, a story or an entity.
type GraphNode struct {
	ID   uuid.UUID // of a story: the one that its owner knows it by
	Kind string    // "recording", "story", or an EntityKind
	Name string    // or title
	At   time.Time // of a recording, else zero
}

// GraphEdge says how two nodes are connected, by their numbers in Subgraph.Nodes.
type GraphEdge struct {
	From, To int
	Kind     string  // "has", "mentions" or "about"
	Count    int     // of mentions
	Weight   float64 // of about
}

// Timeline asks for a page of an owner's recordings, in the order in which they were
// recorded.
type Timeline struct {
	From, Before *time.Time
	EntityID     uuid.UUID // only those that mention it; uuid.Nil for all
	StoryID      uuid.UUID // only those in it; uuid.Nil for all
	Limit        int
	Cursor       string
}

// TimelinePage is a page of a timeline.
type TimelinePage struct {
	Items      []TimelineItem
	NextCursor string // "" on the last page
}

// TimelineItem is a recording on a timeline.
type TimelineItem struct {
	ID         uuid.UUID
	Title      string
	At         time.Time
	DurationMs int64
	Story      *StoryRef
	People     []EntityRef // the most mentioned, as places
	Places     []EntityRef
	Topics     []EntityRef // those of most weight
}
