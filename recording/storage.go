package recording

import (
	"context"
	"io"
	"time"
)

// PartWriter appends bytes to an upload's storage. One goroutine uses it.
type PartWriter interface {
	// Room returns how many bytes the next Write may have at most. After exactly so
	// many, FlushSome may end a commit there, so the caller keeps the digest's state
	// of that offset. 0 asks for a Flush, and its commit, before the next Write.
	Room() int64
	// Write takes bytes; they are not durable before a flush. It may wait for
	// memory, or for the storage.
	io.Writer
	// Flush makes every byte written so far durable and returns what is new since
	// the last flush, for the ledger to record in the transaction that moves the
	// offset. If that transaction fails the writer is closed: whoever writes on
	// after a flush says that it was committed.
	Flush(ctx context.Context) (Flushed, error)
	// FlushSome is Flush for a commit while more bytes are coming: it may leave out
	// what lies behind the last offset that Room led to, where making that durable
	// now would cost the storage work that the next bytes will spare.
	FlushSome(ctx context.Context) (Flushed, error)
	// Close releases what the writer holds. Bytes not flushed are lost.
	Close() error
}

// Flushed is what a flush has made durable, for the ledger to record.
type Flushed struct {
	Offset  int64  // bytes of the upload that are durable, from its beginning on
	Parts   []Part // parts that are new or have grown; sizes are those after the flush
	Dropped []int  // numbers of committed parts whose bytes lie in Parts now

	MultipartID string // as in Upload; "" changes nothing
	PartNumber  int    // the highest number of a multipart part that this writer has used; 0 if none
	Segmented   bool   // as in Upload; false changes nothing
	// ObjectKey, if set, says that the whole upload is this object already: its
	// length is reached, and the one part is that object.
	ObjectKey string
}

// SignedRead asks for a URL that reads an object for a while without a token.
type SignedRead struct {
	Method      string // GET or HEAD
	ContentType string // that the answer carries
	Disposition string // Content-Disposition that the answer carries
	Lifetime    time.Duration
}

// Object is a stored object opened for reading.
type Object interface {
	io.ReadSeekCloser
	Info() ObjectInfo
}

// ObjectInfo describes a stored object.
type ObjectInfo struct {
	Key        string
	SizeBytes  int64
	ModifiedAt time.Time
}
