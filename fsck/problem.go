package fsck

import (
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

// Kind names a kind of problem. It is stable: scripts may depend on it.
type Kind string

// What the ledger counts on and the storage doesn't have.
const (
	OriginalMissing Kind = "original_missing"
	OriginalSize    Kind = "original_size"
	OriginalDigest  Kind = "original_digest"
	ArtifactMissing Kind = "artifact_missing"
	ArtifactSize    Kind = "artifact_size"
	ArtifactDigest  Kind = "artifact_digest"
	PartsLost       Kind = "parts_lost"
)

// What nobody is going to do.
const (
	StageJobMissing Kind = "stage_job_missing"
	PurgeJobMissing Kind = "purge_job_missing"
)

// What is in storage and nobody's.
const (
	OrphanObject     Kind = "orphan_object"
	OrphanParts      Kind = "orphan_parts"
	OrphanMultipart  Kind = "orphan_multipart"
	OrphanTemp       Kind = "orphan_temp"
	UnknownObject    Kind = "unknown_object"
	UnknownParts     Kind = "unknown_parts"
	UnknownMultipart Kind = "unknown_multipart"
)

// Meaning says what a kind of problem is, and what repairing it does.
type Meaning struct {
	Kind   Kind
	What   string
	Repair string
}

// Meanings returns what every kind means, in the order in which they are looked for.
func Meanings() []Meaning {
	const (
		lost    = "the upload is marked as failed, so that its client may send it again"
		remake  = "the artifacts are made anew of the original"
		enqueue = "the job is enqueued"
		remove  = "it is deleted"
		unknown = "none, unless asked for: it may be another installation's, or of after a backup"
	)
	return []Meaning{
		{OriginalMissing, "a recording's original is not in storage", lost},
		{OriginalSize, "a recording's original has another size than was received", lost},
		{OriginalDigest, "a recording's original has other bytes than were received", lost},
		{PartsLost, "committed bytes of an upload are not in storage", lost},
		{ArtifactMissing, "what was made of a recording is not in storage", remake},
		{ArtifactSize, "what was made of a recording has another size than was stored", remake},
		{ArtifactDigest, "what was made of a recording has other bytes than were stored", remake},
		{StageJobMissing, "a recording waits to be processed, and nobody is to do it", enqueue},
		{PurgeJobMissing, "the bytes of a deleted recording wait to be deleted, and nobody is to do it", enqueue},
		{OrphanObject, "an object that no recording needs", remove},
		{OrphanParts, "parts of an upload that has ended", remove},
		{OrphanMultipart, "an unfinished multipart upload that no upload needs", "it is aborted"},
		{OrphanTemp, "a file that an unfinished write has left", remove},
		{UnknownObject, "an object of a recording that this database never had", unknown},
		{UnknownParts, "parts of an upload that this database never had", unknown},
		{UnknownMultipart, "an unfinished multipart upload of an object that this database never had", unknown},
	}
}

// ofLedger reports whether the kind is of something that the ledger counts on.
func (k Kind) ofLedger() bool {
	switch k {
	case OriginalMissing, OriginalSize, OriginalDigest, PartsLost, ArtifactMissing, ArtifactSize, ArtifactDigest:
		return true
	}
	return false
}

// Problem is one finding. Fields that say nothing about its kind are zero. The names
// in JSON are documented in docs/operations.md.
type Problem struct {
	Kind        Kind       `json:"kind"`
	RecordingID uuid.UUID  `json:"recordingId,omitzero"`
	UploadID    uuid.UUID  `json:"uploadId,omitzero"`
	Key         string     `json:"key,omitzero"`         // of an object
	MultipartID string     `json:"multipartId,omitzero"` // as the storage names it
	SizeBytes   *int64     `json:"sizeBytes,omitzero"`   // in storage
	WantBytes   *int64     `json:"wantBytes,omitzero"`   // as the ledger says
	ModifiedAt  *time.Time `json:"modifiedAt,omitzero"`  // in storage

	Repaired    bool   `json:"repaired"`
	RepairError string `json:"repairError,omitzero"` // why it is not, though that was wanted

	epoch int64                 // of the upload, as it was seen
	entry recording.StoredEntry // of what is in storage
	state recording.UploadState // of the upload
}
