package recording

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"
)

// The stages that come when a recording is ready. Nobody waits for them to play it,
// and they can be asked for again.
const (
	StageTranscribe Stage = "transcribe" // what was said
	StageAnalyse    Stage = "analyse"    // what it is about
)

// InsightState says how far one of those stages is.
type InsightState string

// The states of an insight.
const (
	InsightWaiting InsightState = "waiting" // a job is doing it, or will
	InsightReady   InsightState = "ready"
	InsightFailed  InsightState = "failed" // Reason says why; can be asked for again
)

// Reasons of InsightFailed.
const (
	ReasonProviderRefused Reason = "provider_refused" // the provider does not take this recording, language or model
	ReasonProviderReply   Reason = "provider_reply"   // its answers were unusable on every attempt
	ReasonNoSpeech        Reason = "no_speech"        // there is nothing to analyse in the transcript
)

// Insight is one of those stages of one recording: what was asked for and how far it
// is. A result that is there already stays while another is waited for.
type Insight struct {
	Stage     Stage
	State     InsightState
	Run       int64  // how often it was asked for; a job of an earlier run does nothing
	Language  string // that was asked for, BCP 47; "" to use what is declared or detected
	Model     string // that was asked for; "" for the configured one
	Reason    Reason // set when State is InsightFailed
	Detail    string // one English sentence for people: goes with Reason, or says what it waits for
	UpdatedAt time.Time
}

// InsightJob asks for one of those stages of one recording.
type InsightJob struct {
	RecordingID uuid.UUID `json:"recordingId"`
	Stage       Stage     `json:"stage"`
	Run         int64     `json:"run"`
}

// Kind is the job's name in the queue.
func (InsightJob) Kind() string { return "insight" }

// InsightWork is what such a stage is given.
type InsightWork struct {
	Recording Recording
	Insight   Insight
	// Transcript is the recording's, corrected by its owner; nil while there is none.
	Transcript *Transcript
}

// Reprocessing is what an owner asks for again.
type Reprocessing struct {
	Stages   []Stage // StageTranscribe, StageAnalyse; a transcription is always followed by an analysis
	Language string  // BCP 47; "" to use what is declared or detected
	Model    string  // of the first of them; "" for the configured one
}

// First is the stage to begin with.
func (r Reprocessing) First() Stage {
	if slices.Contains(r.Stages, StageTranscribe) {
		return StageTranscribe
	}
	return StageAnalyse
}

// ProviderResult is an answer of a provider, kept so that the same is never asked,
// and paid for, twice.
type ProviderResult struct {
	RecordingID uuid.UUID
	// Digest is the SHA-256 of everything that the answer depends on: input, provider,
	// model and version of the prompt.
	Digest        []byte
	Stage         Stage
	Provider      string
	Model         string
	PromptVersion string
	Result        json.RawMessage
	Audio         time.Duration // that was transcribed
	Tokens        int64         // that were used
}

// Search is a question to the words of one's own recordings.
type Search struct {
	Query  string
	Limit  int    // 1 to 100
	Cursor string // "" for the first page
	// Filters; zero values filter nothing.
	StoryID      uuid.UUID
	From, Before *time.Time // when it was recorded, or else uploaded
	Topic        string
	Entity       string
}

// Found is one recording that a search has found.
type Found struct {
	RecordingID uuid.UUID
	Title       string
	RecordedAt  time.Time // or when it was uploaded
	Rank        float64   // higher is better; comparable within one answer
	// Snippets are pieces of the recording's words around what was found, the best first.
	Snippets []Snippet
}

// Snippet is a piece of text with what was found in it.
type Snippet struct {
	In   string // title, transcript, summary, topic or entity
	Text string
	// Highlights are what was found, as pairs of offsets into Text, in characters:
	// from, to.
	Highlights [][2]int
	AtMs       *int64 // where to jump to; nil if it isn't in the transcript
}

// SearchResult is a page of what a search has found, the best first.
type SearchResult struct {
	Found      []Found
	NextCursor string // "" on the last page
	// Complete is false if more recordings match than are compared with each other: these
	// are among the newest of them.
	Complete bool
}
