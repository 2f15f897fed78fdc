// Package recording is Reprise's vocabulary: the words that every other
// package speaks, and nothing else.
//
// It holds identifiers, the states a recording and an upload pass through,
// the facts measured of a recording, events, jobs and error codes. It imports
// the standard library and the uuid package only, does no I/O, and knows
// neither HTTP nor SQL. Packages that talk to the outside (catalog, storage,
// api, …) meet in these types and never import each other.
package recording

import (
	"time"

	"github.com/google/uuid"
)

// NewID returns a new random identifier. Identifiers are UUID version 7
// (RFC 9562): their order is the order of creation, and 62 random bits keep them from
// being guessed.
func NewID() uuid.UUID {
	return uuid.Must(uuid.NewV7())
}

// State is where a recording stands, as its owner sees it.
type State string

// The states of a recording. The usual way is
// uploading → received → processing → ready.
const (
	StateUploading  State = "uploading"  // bytes are still missing
	StateReceived   State = "received"   // every byte is durable, processing has not begun
	StateProcessing State = "processing" // a stage is running or waits for its turn
	StateReady      State = "ready"      // playable
	StateRejected   State = "rejected"   // not acceptable audio; Reason says why
	StateFailed     State = "failed"     // our fault, can be tried again; Reason says why
	StateDeleted    State = "deleted"    // gone for its owner; the bytes follow after the retention period
)

// Reason says why a recording was rejected or failed. It is stable: clients
// may translate it for people.
type Reason string

// Reasons of StateRejected: the bytes are not audio that Reprise accepts.
const (
	ReasonEmpty                 Reason = "empty"                   // zero bytes
	ReasonNotAudio              Reason = "not_audio"               // the first bytes are no audio format known here
	ReasonNoAudioStream         Reason = "no_audio_stream"         // a media file without sound
	ReasonTruncated             Reason = "truncated"               // ends before its own structure says it should
	ReasonDamaged               Reason = "damaged"                 // does not decode
	ReasonTooLong               Reason = "too_long"                // decodes to more than the allowed duration
	ReasonTooShort              Reason = "too_short"               // decodes to less than the least duration
	ReasonUnsupportedChannels   Reason = "unsupported_channels"    // more channels than allowed
	ReasonUnsupportedSampleRate Reason = "unsupported_sample_rate" // a sample rate outside the allowed range
	ReasonDurationMismatch      Reason = "duration_mismatch"       // the header claims a duration that the samples don't have
	ReasonChecksumMismatch      Reason = "checksum_mismatch"       // the client's sha256 is not that of the bytes received
)

// Reasons of StateFailed: something on the server's side.
const (
	ReasonStorage  Reason = "storage_error"    // what is stored is not what was received, or can't be read
	ReasonInternal Reason = "processing_error" // a stage failed on every attempt
)

// Recording is one audio recording of one owner.
type Recording struct {
	ID      uuid.UUID
	OwnerID uuid.UUID
	State   State
	Reason  Reason // set when State is StateRejected or StateFailed
	Detail  string // one English sentence for people, goes with Reason, or says what processing waits for

	Stage Stage // the stage to do next; "" before the upload is complete and after the last stage

	Title      string
	Filename   string
	Filetype   string // the media type the client declared
	Language   string // BCP 47, as declared
	StoryID    *uuid.UUID
	RecordedAt *time.Time // when it was recorded, as declared

	SizeBytes *int64 // set from StateReceived on
	SHA256    []byte // 32 bytes, set from StateReceived on; of joined uploads once the store stage is done
	ObjectKey string // of the original in storage

	Media    *Media    // set by the probe and transcode stages
	Loudness *Loudness // set by the transcode stage
	Silences []Silence // set by the transcode stage

	Artifacts []Artifact
	Insights  []Insight // of the stages that were asked for, StageTranscribe first

	Version    int64 // raised by every change; starts at 1
	CreatedAt  time.Time
	UpdatedAt  time.Time
	ReceivedAt *time.Time
	ReadyAt    *time.Time
}

// Media is what a recording's file is made of.
type Media struct {
	Container    string `json:"container"` // ffmpeg's format name, for example "mov,mp4,m4a,3gp,3g2,mj2"
	Codec        string `json:"codec"`     // ffmpeg's codec name, for example "aac"
	SampleRateHz int    `json:"sampleRateHz"`
	Channels     int    `json:"channels"`
	BitRate      int64  `json:"bitRateBps"` // bits per second; 0 if unknown
	DurationMs   int64  `json:"durationMs"` // of the decoded samples once decoded, before that as the header claims
}

// Loudness holds EBU R 128 measures of the whole recording
// (https://tech.ebu.ch/docs/r/r128.pdf). Digital silence has no loudness: its
// fields are nil.
type Loudness struct {
	IntegratedLUFS *float64 `json:"integratedLufs"` // programme loudness
	RangeLU        *float64 `json:"rangeLu"`        // loudness range, EBU Tech 3342
	TruePeakDBTP   *float64 `json:"truePeakDbtp"`   // highest true peak of any channel
}

// Silence is a stretch without sound.
type Silence struct {
	StartMs int64 `json:"startMs"`
	EndMs   int64 `json:"endMs"`
}

// ArtifactKind names something made from a recording's original.
type ArtifactKind string

// The artifacts of a ready recording.
const (
	ArtifactAAC       ArtifactKind = "aac"       // AAC-LC in MP4, moov first
	ArtifactOpus      ArtifactKind = "opus"      // Opus in Ogg
	ArtifactPeaks     ArtifactKind = "peaks.dat" // BBC audiowaveform v2, binary
	ArtifactPeaksJSON ArtifactKind = "peaks.json"
)

// Artifact is one file made from a recording, as it lies in storage. A
// recording has at most one of each kind.
type Artifact struct {
	Kind        ArtifactKind
	ObjectKey   string
	ContentType string
	SizeBytes   int64
	SHA256      []byte
}

// RecordingPatch says which fields of a recording its owner changes; nil
// leaves a field as it is.
type RecordingPatch struct {
	Title   *string
	StoryID *uuid.UUID // uuid.Nil takes it out of its story; a story that is not there yet is made
}

// Page asks for one page of a list, newest first.
type Page struct {
	Limit  int       // at most this many items, 1 to 200
	Before uuid.UUID // items older than this one; uuid.Nil asks for the first page
}
