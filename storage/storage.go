// Package storage is the contract of the place where bytes are kept: the
// parts of uploads while they arrive, and finished objects.
//
// It holds the interface, its errors and the form of keys; each technology is
// a package below (disk), and storagetest proves that it keeps the contract.
// It knows no uploads, recordings or owners: which parts count is the ledger's
// to say, and storage is never asked for the offset of an upload.
//
// What it promises: bytes that a PartWriter's flush, Put or Assemble have reported
// as stored survive a crash of the process and of the machine; an object is
// there as a whole or not at all; and a writer whose epoch is over can't
// change a byte that a later one wrote.
package storage

import (
	"context"
	"errors"
	"io"
	"strings"

	"reprise/recording"
)

// Store keeps parts and objects. Its methods may be called by any number of
// goroutines and processes at once. The packages that need a store declare the
// few methods they use.
//
// Errors are wrapped with what was tried. Those that mean something to a
// caller are ErrNotFound, ErrFull, ErrLost, ErrInvalidKey, and those of code
// recording.CodeUnavailable: the storage is away for the moment. Any other is a
// failure of the storage itself, and trying again may help.
type Store interface {
	// NewWriter returns a writer that goes on with an upload behind its committed
	// Parts: the offset of its first byte is the sum of their sizes. It reads u's ID,
	// Epoch, Length, ObjectKey, Parts, WriterOpen, MultipartID and PartNumber.
	//
	// The epoch is the fencing token of the writer. It goes into the name of
	// everything the writer makes, so one epoch has one writer, and parts of different
	// epochs never share bytes.
	//
	// Unless WriterOpen, the writer before ended cleanly: the last part may then be
	// continued under its number, with a growing Size. Otherwise an earlier writer may
	// still be alive and append to that part, so a new one is begun.
	//
	// ErrLost, also of the writer's methods, says that committed bytes of the upload
	// aren't there any more.
	NewWriter(ctx context.Context, u recording.Upload) (recording.PartWriter, error)

	// FastClaims reports whether a writer may begin although a crash of the ledger
	// could undo its epoch, and the next writer would find everything as this one has:
	// then they touch nothing in common, or settle the epoch first.
	FastClaims() bool

	// Assemble makes the object u.ObjectKey of exactly the committed bytes of u.Parts,
	// in their order; no parts make an empty object. It can be run again after it
	// ended in any way, a crash included, and by two at once. If the object is there
	// with the right size, that is success whether or not there are parts. The parts
	// may or may not outlive it: DiscardParts clears up once the ledger says stored.
	//
	// ErrLost says that committed bytes are missing, which no retry mends.
	Assemble(ctx context.Context, u recording.Upload) error

	// CheckParts looks whether the committed bytes of u.Parts are there, without reading
	// them; those that the ledger itself has are. ErrLost says that some are missing,
	// as they may be once the upload was assembled.
	CheckParts(ctx context.Context, u recording.Upload) error

	// DiscardParts deletes what an upload has in storage besides its object, as far
	// as the ledger knows of it. What writers have left that never committed is found
	// by List. Nothing there is no error.
	DiscardParts(ctx context.Context, u recording.Upload) error

	// Put makes the object key of the bytes of r, replacing one of that name.
	// If it fails, or r does, it leaves nothing behind; only where a storage behind a
	// network gave no answer, the whole object may be there all the same.
	Put(ctx context.Context, key string, r io.Reader) (recording.ObjectInfo, error)

	// Open opens an object for reading, from its first byte. The caller closes
	// it. If the object is deleted or replaced meanwhile, reading goes on to the old
	// one's end, or says ErrNotFound where the storage has it no more (S3, behind the
	// first 64 KiB); bytes of two are never mixed. Reading ends with ctx. ErrNotFound
	// says that there is none.
	Open(ctx context.Context, key string) (recording.Object, error)

	// Stat describes an object without opening it. ErrNotFound says that there is none.
	Stat(ctx context.Context, key string) (recording.ObjectInfo, error)

	// Fetch makes the bytes of an object available as the local file path, which
	// must not exist yet. The file may be the object itself under a second name,
	// so it must only be read; deleting it leaves the object alone. ErrNotFound
	// says that there is no such object.
	Fetch(ctx context.Context, key, path string) error

	// SignedURL returns a URL that reads the object key from the storage itself, "" if
	// this storage has no such thing. It doesn't look whether the object exists.
	SignedURL(ctx context.Context, key string, read recording.SignedRead) (string, error)

	// Delete deletes an object. Nothing there is no error.
	Delete(ctx context.Context, key string) error

	// List calls fn for everything there is, in no particular order: objects,
	// uploads that have parts, unfinished multipart uploads, and temporary files,
	// which unfinished writes leave when the process dies. An entry that comes or goes meanwhile may be
	// reported or not. fn may delete what it is given; its error ends the list
	// and is returned.
	List(ctx context.Context, fn func(Entry) error) error

	// Remove deletes what List has reported, of any kind. If it has vanished since,
	// that is no error.
	Remove(ctx context.Context, entry Entry) error

	// Check reports whether something can be written now.
	Check(ctx context.Context) error
}

// Entry is one thing that a store holds.
type Entry = recording.StoredEntry

// Errors that callers tell apart, with errors.Is or recording.CodeOf.
var (
	// ErrNotFound says that there is no such object.
	ErrNotFound = recording.ErrNotFound
	// ErrFull says that there is no room left, or none within the quota.
	ErrFull = &recording.Error{Code: recording.CodeStorageFull, Message: "There is no room left to store this; try again later."}
	// ErrLost says that committed bytes of an upload are not in storage.
	ErrLost = &recording.Error{Code: recording.CodeUploadGone, Message: "Bytes of this upload were lost on the server; start it again."}
	// ErrInvalidKey says that a key doesn't have the form that CheckKey describes.
	ErrInvalidKey = errors.New("storage: invalid key")
)

// TempPrefix begins the key of every entry that is StoredTemp, and of nothing
// else.
const TempPrefix = "tmp/"

const (
	maxKeyBytes  = 512
	maxNameBytes = 200 // of one name in a key; file systems allow 255
)

// CheckKey returns ErrInvalidKey unless key is one that every storage can hold:
// names joined by single slashes, each of letters, digits, '-', '_' and '.'
// (ASCII) and not beginning with a dot, at most 200 bytes in a name and 512 in
// all, and not below TempPrefix. Keys differ in more than the case of letters,
// and none is the folder of another: "a" and "a/b" can't both be objects.
func CheckKey(key string) error {
	if len(key) > maxKeyBytes || strings.HasPrefix(key, TempPrefix) {
		return ErrInvalidKey
	}
	for name := range strings.SplitSeq(key, "/") {
		if name == "" || name[0] == '.' || len(name) > maxNameBytes || strings.ContainsFunc(name, notInName) {
			return ErrInvalidKey
		}
	}
	return nil
}

func notInName(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
		return false
	}
	return true
}
