package recording

import (
	"time"

	"github.com/google/uuid"
)

// Purge says which bytes of a recording are to be deleted for good.
type Purge struct {
	RecordingID  uuid.UUID // uuid.Nil if it is a partial upload that is purged
	Upload       Upload
	DiscardParts bool     // the parts of its upload, and of its partial ones
	Keys         []string // objects: the original, the artifacts, those of partial uploads
}

// StoredKind says what an entry of a storage is.
type StoredKind string

// What a storage holds.
const (
	StoredObject StoredKind = "object" // a finished object, named by Key
	StoredParts  StoredKind = "parts"  // the parts of the upload UploadID
	StoredTemp   StoredKind = "temp"   // a file on its way to be an object, named by Key
	// StoredMultipart is a multipart upload that was begun and not completed: Key is
	// of the object it would make.
	StoredMultipart StoredKind = "multipart"
)

// StoredEntry is one thing that a storage holds, as the janitor sees it.
type StoredEntry struct {
	Kind        StoredKind
	Key         string
	UploadID    uuid.UUID
	MultipartID string
	SizeBytes   int64
	ModifiedAt  time.Time // the latest change below it
}

// Holding says what an entry of a storage is to the ledger.
type Holding string

// The holdings of entries.
const (
	// HoldingKept is somebody's, or may become so: whoever has put it there may still
	// tell the ledger.
	HoldingKept Holding = "kept"
	// HoldingOrphan was made for a recording or an upload of this ledger, which has no
	// use for it and never will.
	HoldingOrphan Holding = "orphan"
	// HoldingUnknown has to do with nothing that this ledger has ever had: it came from
	// somewhere else, or after the backup that the ledger was restored from.
	HoldingUnknown Holding = "unknown"
)
