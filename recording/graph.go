package recording

import (
	"time"

	"github.com/google/uuid"
)

// GraphKind says what something in the graph is.
type GraphKind string

// The kinds, in the order in which they are applied: what others point to comes first.
const (
	GraphUser      GraphKind = "user"
	GraphStory     GraphKind = "story"
	GraphEntity    GraphKind = "entity"
	GraphRecording GraphKind = "recording"
)

// GraphKinds returns every kind, in the order in which they are applied.
func GraphKinds() []GraphKind {
	return []GraphKind{GraphUser, GraphStory, GraphEntity, GraphRecording}
}

// EntityTopic is an entity of the graph that recordings are about. An Analysis has its
// topics apart from its entities.
const EntityTopic EntityKind = "topic"

// GraphRef names something that the graph shows.
type GraphRef struct {
	Kind GraphKind
	ID   uuid.UUID // of a story: its key
}

// GraphRow is how something is now, for the graph to show.
type GraphRow struct {
	GraphRef
	OwnerID uuid.UUID
	Version int64 // raised by each change
	// Deleted says that it is to be a tombstone; then nothing below is set.
	Deleted bool
	Name    string     // of a user: the display name; of a story or recording: the title; of an entity: the name
	Entity  EntityKind // of an entity
	StoryID uuid.UUID  // of a story: the id that its owner knows it by
	// Recording is set for a recording only.
	Recording *GraphFacts
}

// GraphFacts is what the graph shows of a recording besides its title.
type GraphFacts struct {
	At         time.Time // when it was recorded, or else created
	DurationMs int64
	Story      uuid.UUID      // the story's key; uuid.Nil for none
	Mentions   []GraphMention // sorted by EntityID
	Topics     []GraphTopic   // sorted by EntityID
}

// GraphMention says how a recording mentions an entity.
type GraphMention struct {
	EntityID uuid.UUID
	Count    int
	AtMs     []int64 // sorted; the first 100
}

// GraphTopic says that a recording is about a topic.
type GraphTopic struct {
	EntityID uuid.UUID
	Weight   float64 // above 0, at most 1
}

// GraphRefusal says that the graph can't take a row.
type GraphRefusal struct {
	Ref     GraphRef
	Version int64
	Reason  string // holds nothing of the user's
}

// GraphBacklog says how far the graph is behind.
type GraphBacklog struct {
	Rows   int64     // that wait to be applied
	Oldest time.Time // when the oldest of them was written; zero if there is none
	Dead   int64     // that were given up
}

// GraphRebuild says how far a rebuild of the graph is.
type GraphRebuild struct {
	StartedAt time.Time // zero if none is running
	Kind      GraphKind // that is being written
	After     uuid.UUID // everything of the kind up to this id has been written
}
