package recording

import (
	"time"

	"github.com/google/uuid"
)

// UploadState is where an upload stands in the ledger.
type UploadState string

// The states of an upload: receiving → received → stored, or → joined if it is
// partial, or one of the ends that take no more bytes.
const (
	UploadReceiving  UploadState = "receiving"  // bytes are missing, or the length is unknown
	UploadReceived   UploadState = "received"   // every byte is durable in parts
	UploadStored     UploadState = "stored"     // the object exists with exactly these bytes
	UploadJoined     UploadState = "joined"     // a partial one: its bytes are in the object of its final upload
	UploadRefused    UploadState = "refused"    // its first bytes are not audio
	UploadTerminated UploadState = "terminated" // the owner gave it up, or deleted its recording
	UploadExpired    UploadState = "expired"    // nothing came for too long
	UploadFailed     UploadState = "failed"     // its storage has lost committed bytes
)

// Complete reports whether every byte of the upload has been acknowledged.
func (s UploadState) Complete() bool {
	return s == UploadReceived || s == UploadStored || s == UploadJoined
}

// Gone reports whether the upload ended without becoming a recording's original.
func (s UploadState) Gone() bool {
	switch s {
	case UploadRefused, UploadTerminated, UploadExpired, UploadFailed:
		return true
	}
	return false
}

// Upload is a row of the ledger: the only truth about how many bytes of an
// upload are safe. Offset never goes down.
type Upload struct {
	ID          uuid.UUID
	RecordingID uuid.UUID
	OwnerID     uuid.UUID
	ClientID    string // the client's own name for it, unique per owner; "" if none
	State       UploadState
	Length      *int64 // bytes; nil while the client has not said (creation-defer-length)
	Offset      int64  // bytes committed: durable and acknowledged
	ObjectKey   string // where the finished object lies
	Metadata    map[string]string

	// Epoch is the fencing token: taking the upload's lock raises it, and a
	// commit with an older epoch is refused.
	Epoch int64
	// WriterOpen says that the last writer did not end cleanly, so that it may
	// still be alive somewhere and append to the part it had open. The next
	// writer then starts a part of its own.
	WriterOpen bool
	// WriterEpoch is the epoch of the last writer, 0 once it has ended.
	WriterEpoch int64
	// HashState is the SHA-256 state over the first Offset bytes, as
	// crypto/sha256 marshals it.
	HashState []byte
	// Head is the first bytes of the file, kept while they are too few to tell
	// its format.
	Head  []byte
	Parts []Part // in order; their sizes add up to Offset

	// MultipartID names the multipart upload in storage that real parts go into; ""
	// while there is none.
	MultipartID string
	// PartNumber is the highest number of a multipart part that any writer so far
	// may have used. A late write of a stale holder would replace a part of the same
	// number, so a writer takes the numbers above it, PartWindow of them before its
	// next commit.
	PartNumber int
	// Segmented says that bytes of the upload were kept as segments at some time, so
	// that there are some to look for when it has ended.
	Segmented bool

	// Partial says that this is a piece of a concatenation (tus: Upload-Concat:
	// partial). It has no recording: RecordingID is uuid.Nil.
	Partial bool
	// FinalID is the final upload that a partial one was joined into, uuid.Nil before.
	FinalID uuid.UUID
	// PartialIDs are the pieces of a final upload, in the order of their bytes; nil for
	// any other upload. A final upload has no parts of its own.
	PartialIDs []uuid.UUID
	// Partials are the same with everything about them, in a Work or Purge only.
	Partials []Upload

	CreatedAt time.Time
	UpdatedAt time.Time
	ExpiresAt time.Time
}

// Complete reports whether every byte of the upload has been acknowledged.
func (u Upload) Complete() bool { return u.State.Complete() }

// Writing reports whether somebody may be appending bytes now who can commit them.
func (u Upload) Writing() bool {
	return u.State == UploadReceiving && u.WriterEpoch != 0 && u.WriterEpoch == u.Epoch
}

// Expired reports whether the upload has come to its end at now because nothing
// was done with it for too long, whether or not the ledger says so already.
func (u Upload) Expired(now time.Time) bool {
	return u.State == UploadExpired || u.Expires() && !now.Before(u.ExpiresAt)
}

// Expires reports whether the upload ends at ExpiresAt if nothing happens before.
// A partial one does until it is joined, complete or not.
func (u Upload) Expires() bool {
	return u.State == UploadReceiving || u.Partial && u.FinalID == uuid.Nil && u.State == UploadReceived
}

// Part is a piece of an upload as its storage keeps it: what it is, only the
// storage knows.
type Part struct {
	Number int    // 1 and up, in the order of the bytes; never used again for other bytes
	Size   int64  // committed bytes
	Ref    string // the storage's own name for it
	// Inline is the part's bytes themselves, for the ledger to keep in its own row;
	// nil for a part that lies in storage. It is set by a flush only: what the ledger
	// returns leaves it out, and gives it through its own method.
	Inline []byte
}

// PartWindow is how many numbers of multipart parts a writer may use before its
// first commit, and between two of them. What an unclean end leaves of them is
// lost to the upload, which has 10,000.
const PartWindow = 16

// NewUpload is what creating an upload writes.
type NewUpload struct {
	UploadID    uuid.UUID
	RecordingID uuid.UUID // uuid.Nil for a partial upload
	OwnerID     uuid.UUID
	ClientID    string
	Length      *int64
	ObjectKey   string
	Metadata    map[string]string
	ExpiresAt   time.Time
	Recording   Recording // Title, Filename, Filetype, Language, StoryID, RecordedAt
	Receipt     *Receipt  // for an upload of zero bytes, which is complete at once
	Partial     bool      // as in Upload; a partial upload has no ClientID, Recording and Receipt
	PartialIDs  []uuid.UUID
	TicketHash  []byte // of the ticket that its creation is answered with; nil for none
}

// Claim says what somebody wants to take an upload over for.
type Claim struct {
	// Write says that bytes will be appended at Offset. The claim fails if that is
	// not the committed offset.
	Write  bool
	Offset int64
	// Fast takes the upload over without waiting for the ledger's disk. If the ledger
	// crashes it may have forgotten that, but it never gives the same epoch to anybody
	// else.
	Fast bool
}

// StopWriters asks every process to end its writers of an upload with an epoch
// below Epoch.
type StopWriters struct {
	UploadID uuid.UUID `json:"upload"`
	Epoch    int64     `json:"epoch"`
	// Taken says that the ledger's epoch has risen: they can't commit any more.
	// Otherwise they are to commit what they have.
	Taken bool `json:"taken"`
}

// Chunk is what a commit writes: the offset moves, and everything that goes
// with it, in one transaction.
type Chunk struct {
	UploadID   uuid.UUID
	OwnerID    uuid.UUID
	Epoch      int64 // of the writer; the commit is refused if the ledger's is higher
	From, To   int64 // the offset moves from From to To
	HashState  []byte
	Head       []byte
	Parts      []Part // parts that are new or have grown
	Dropped    []int  // numbers of parts that Parts replace
	CloseWrite bool   // the writer has ended: nothing more will be appended under this epoch
	Growing    bool   // the length is not known, so its owner's limits are checked with each chunk
	ExpiresAt  time.Time

	MultipartID string // "" leaves it as it is
	PartNumber  int    // the highest number that may have been used when this writer's next commit comes
	Segmented   bool   // false leaves it
	ObjectKey   string // where the finished object lies; "" leaves it

	// Receipt is set with the last byte: the upload becomes received in the same
	// transaction. A partial upload becomes received without one.
	Receipt *Receipt
}

// Receipt is what completing an upload writes besides the offset: the digest,
// the first job and the event.
type Receipt struct {
	SizeBytes int64
	SHA256    []byte // nil for a final upload: nobody has read its bytes in their order yet
	Job       StageJob
	Event     Event
}
