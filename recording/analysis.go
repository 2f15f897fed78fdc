package recording

import "time"

// EntityKind says what an entity is.
type EntityKind string

// The kinds of entities.
const (
	EntityPerson       EntityKind = "person"
	EntityPlace        EntityKind = "place"
	EntityOrganization EntityKind = "organization"
	EntityDate         EntityKind = "date" // as it was said: "summer of 1962"
)

// Analysis is what a recording is about, as found in its transcript. Everything in it
// that names a place in the transcript has been looked up there.
type Analysis struct {
	Language  string    `json:"language"` // BCP 47, of the transcript; "" if unknown
	Title     string    `json:"title"`    // one line
	Summary   string    `json:"summary"`  // some sentences
	Topics    []Topic   `json:"topics"`   // the weightiest first
	Entities  []Entity  `json:"entities"` // the most mentioned first
	Sentiment Sentiment `json:"sentiment"`
	Chapters  []Chapter `json:"chapters"` // in the order of time; the first begins at the first segment
	Quotes    []Quote   `json:"quotes"`   // in the order of time

	Provider      string    `json:"provider"` // who made it, such as "local"
	Model         string    `json:"model"`
	PromptVersion string    `json:"promptVersion"` // of the instructions that the model was given, or of the algorithm
	CreatedAt     time.Time `json:"createdAt"`
}

// Topic is something that a recording is about.
type Topic struct {
	Name   string  `json:"name"`
	Weight float64 `json:"weight"` // above 0, at most 1
}

// Entity is somebody or something with a name that a recording mentions.
type Entity struct {
	Kind     EntityKind `json:"kind"`
	Name     string     `json:"name"`
	Mentions []Mention  `json:"mentions"` // at least one, in the order of time
}

// Mention is a place in the transcript where an entity is named.
type Mention struct {
	AtMs   int64  `json:"atMs"`
	Offset int    `json:"offset"` // in characters, in Transcript.Text
	Length int    `json:"length"` // in characters
	Text   string `json:"text"`   // as it was said
}

// Sentiment is the mood of a recording.
type Sentiment struct {
	Label string  `json:"label"` // positive, neutral, negative or mixed
	Score float64 `json:"score"` // -1 to 1
}

// Chapter is a part of a recording.
type Chapter struct {
	StartMs int64  `json:"startMs"`
	Title   string `json:"title"`
}

// Quote is a sentence worth quoting, exactly as it is in the transcript.
type Quote struct {
	Text    string `json:"text"`
	StartMs int64  `json:"startMs"`
	EndMs   int64  `json:"endMs"`
}
