package recording

import "github.com/google/uuid"

// AdmissionRequest is what a client says about an upload before its first byte.
type AdmissionRequest struct {
	OwnerID  uuid.UUID
	Length   *int64 // bytes; nil if the client will say later
	Metadata string // the Upload-Metadata header as it came, undecoded
	Filename string // said in another way; counts if Metadata has none
	Filetype string // the same
	Partial  bool   // a piece of a concatenation, whose metadata is not a recording's
}

// Admission is an upload that may begin.
type Admission struct {
	ClientID  string
	Metadata  map[string]string // decoded
	Recording Recording         // Title, Filename, Filetype, Language, StoryID, RecordedAt
}
