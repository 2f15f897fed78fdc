package recording

import (
	"time"

	"github.com/google/uuid"
)

// Stage names a step of processing.
type Stage string

// The stages in their order.
const (
	StageStore     Stage = "store"     // the parts become one object
	StageVerify    Stage = "verify"    // the object has the size and digest that were received
	StageProbe     Stage = "probe"     // what is in the file
	StageTranscode Stage = "transcode" // decode everything once: renditions, loudness, silences, peaks
)

// StageJob asks for one stage of one recording. It is enqueued in the
// transaction that ended the stage before, so there is exactly one chain.
type StageJob struct {
	RecordingID uuid.UUID `json:"recordingId"`
	Stage       Stage     `json:"stage"`
}

// Kind is the job's name in the queue.
func (StageJob) Kind() string { return "stage" }

// PurgeJob asks to delete every byte of a recording that its owner deleted or
// whose upload ended without success, or of a partial upload that did. It has one
// of the two ids.
type PurgeJob struct {
	RecordingID uuid.UUID `json:"recordingId,omitzero"`
	UploadID    uuid.UUID `json:"uploadId,omitzero"` // of a partial upload
}

// Kind is the job's name in the queue.
func (PurgeJob) Kind() string { return "purge" }

// JanitorJob asks for what the janitor does often: it looks at the ledger and the
// queue.
type JanitorJob struct{}

// Kind is the job's name in the queue.
func (JanitorJob) Kind() string { return "janitor" }

// SweepJob asks for what the janitor does rarely: it looks through the whole
// storage.
type SweepJob struct{}

// Kind is the job's name in the queue.
func (SweepJob) Kind() string { return "sweep" }

// Work is what a stage is given: the recording and its upload with its parts, or
// with its partial uploads and theirs.
type Work struct {
	Recording Recording
	Upload    Upload
}

// StageResult is what a stage found. Fields that are nil change nothing.
type StageResult struct {
	Next      Stage  // the stage to do next; "" makes the recording ready
	SHA256    []byte // of the object, if nobody knew it before
	Media     *Media
	Loudness  *Loudness
	Silences  []Silence
	Artifacts []Artifact
	// Insight is what is asked for once the recording is ready; "" for nothing.
	Insight Stage
	Decoded time.Duration // audio that was decoded for it, which its owner's limit is for
}
