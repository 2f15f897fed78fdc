package recording

import (
	"context"
	"io"
	"time"

	"github.com/google/uuid"
)

// PartWriter appends bytes to an upload's storage. One goroutine uses it.
type PartWriter interface {
	// Write takes bytes; they are not durable before Flush.
	io.Writer
	// Flush makes every byte written so far durable and returns the parts that
	// are new or have grown since the last Flush, for the ledger to record in
	// the transaction that moves the offset. Sizes are those after the flush.
	Flush(ctx context.Context) ([]Part, error)
	// Close releases what the writer holds. Bytes not flushed are lost.
	Close() error
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

// User is somebody who owns recordings.
type User struct {
	ID        uuid.UUID
	Subject   string // who the identity provider says this is, for example "dev:alice"
	CreatedAt time.Time
}
