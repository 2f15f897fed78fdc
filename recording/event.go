package recording

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// EventType names something that happened to a recording.
type EventType string

// Milestones: stored with a sequence number; a client that reconnects with the
// last number it saw misses none.
const (
	EventUploadCreated       EventType = "upload.created"       // data: lengthBytes (absent if deferred)
	EventUploadReceived      EventType = "upload.received"      // data: sizeBytes, sha256 (absent for joined uploads)
	EventUploadExpired       EventType = "upload.expired"       // nothing came for too long
	EventStageCompleted      EventType = "processing.completed" // data: stage
	EventProcessingDelayed   EventType = "processing.delayed"   // data: stage, until, detail; a day's limit is reached
	EventRecordingReady      EventType = "recording.ready"      // data: durationMs
	EventRecordingRejected   EventType = "recording.rejected"   // data: reason, detail
	EventRecordingFailed     EventType = "recording.failed"     // data: reason, detail
	EventRecordingUpdated    EventType = "recording.updated"    // data: title, storyId (absent if none)
	EventRecordingRetried    EventType = "recording.retried"    // data: stage; a failed recording is tried again
	EventRecordingDeleted    EventType = "recording.deleted"
	EventTranscriptReady     EventType = "transcript.ready"     // data: language, segments
	EventTranscriptFailed    EventType = "transcript.failed"    // data: reason, detail
	EventAnalysisReady       EventType = "analysis.ready"       // data: topics, entities, chapters
	EventAnalysisFailed      EventType = "analysis.failed"      // data: reason, detail
	EventTranscriptCorrected EventType = "transcript.corrected" // data: startMs, endMs, version; by its owner
)

// Ticks: live only, not stored, without a sequence number; the latest wins.
const (
	EventUploadProgress     EventType = "upload.progress"     // data: offsetBytes, lengthBytes (absent if deferred)
	EventProcessingProgress EventType = "processing.progress" // data: stage, percent, speed, remainingMs
	EventTranscriptProgress EventType = "transcript.progress" // data: percent
)

// Event is one thing that happened to one recording. Seq counts up per owner
// without gaps, in the order of commits; it is 0 for ticks.
type Event struct {
	Seq         int64           `json:"seq,omitempty"`
	Type        EventType       `json:"type"`
	RecordingID uuid.UUID       `json:"recordingId"`
	At          time.Time       `json:"at"`
	Data        json.RawMessage `json:"data"`

	OwnerID uuid.UUID `json:"-"`
}

// NewEvent makes an event of a recording. Data must marshal to a JSON object.
func NewEvent(owner, recordingID uuid.UUID, typ EventType, at time.Time, data map[string]any) Event {
	if data == nil {
		data = map[string]any{}
	}
	raw, err := json.Marshal(data)
	if err != nil { // only values that JSON can't have, such as channels: a programming error
		panic("recording: event data: " + err.Error())
	}
	return Event{Type: typ, OwnerID: owner, RecordingID: recordingID, At: at.UTC(), Data: raw}
}
