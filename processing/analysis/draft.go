package analysis

// A draft is what somebody says a transcript is about, unchecked. Its JSON is that of
// the schema.
type draft struct {
	Title     string         `json:"title"`
	Summary   string         `json:"summary"`
	Topics    []draftTopic   `json:"topics"`
	Entities  []draftEntity  `json:"entities"`
	Sentiment draftSentiment `json:"sentiment"`
	Chapters  []draftChapter `json:"chapters"`
	Quotes    []string       `json:"quotes"`
}

type draftTopic struct {
	Name   string  `json:"name"`
	Weight float64 `json:"weight"`
}

type draftEntity struct {
	Kind   string   `json:"kind"`
	Name   string   `json:"name"`
	Spoken []string `json:"spoken"` // the forms in which the transcript has it
}

type draftSentiment struct {
	Label string  `json:"label"`
	Score float64 `json:"score"`
}

type draftChapter struct {
	Segment int    `json:"segment"` // the index of its first segment
	Title   string `json:"title"`
}
