// Package fsck compares the ledger with the storage, both ways: whether all that
// the ledger counts on is there, and whether all that is there is somebody's. On
// request it repairs what can be repaired without losing anything.
//
// It is a tool for people who run a server, besides the janitor, which clears up by
// itself and looks at the storage's side only. It decides nothing about uploads: what
// is kept is the ledger's to say, and what a part is the storage's.
//
// What it promises:
//   - It may run while servers do. What it reports was so at two looks at the
//     storage, seconds apart, between which the ledger said the same; so nothing
//     that is on its way is reported.
//   - Its memory doesn't grow with what it compares: it goes through the ledger by
//     id and through the storage as that lists it, and tells each problem at once.
//   - Without Repair it changes nothing. With it, bytes are deleted only where the
//     ledger had a row for them and has no use for them, and old ones only.
package fsck

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

// Ledger is what fsck asks of the database; package catalog says what the methods
// promise.
type Ledger interface {
	Inventory(ctx context.Context, after uuid.UUID, limit int) ([]recording.Work, error)
	PartialInventory(ctx context.Context, after uuid.UUID, limit int) ([]recording.Upload, error)
	RecordingsWithoutJob(ctx context.Context, after uuid.UUID, limit int) ([]uuid.UUID, error)
	RecordingsWithoutPurge(ctx context.Context, after uuid.UUID, limit int) ([]uuid.UUID, error)
	Holdings(ctx context.Context, entries []recording.StoredEntry, since time.Time) ([]recording.Holding, error)

	Work(ctx context.Context, recordingID uuid.UUID) (recording.Work, error)
	UploadByID(ctx context.Context, id uuid.UUID) (recording.Upload, error)

	LoseOriginal(ctx context.Context, recordingID uuid.UUID, detail string) (bool, error)
	FailUpload(ctx context.Context, id uuid.UUID, epoch int64, reason recording.Reason, detail string) error
	RemakeArtifacts(ctx context.Context, recordingID uuid.UUID) (bool, error)
	RequeueStage(ctx context.Context, recordingID uuid.UUID) (bool, error)
	RequeuePurge(ctx context.Context, recordingID uuid.UUID) (bool, error)
}

// Storage is what fsck asks of the storage; storage.Store says what the methods
// promise.
type Storage interface {
	Stat(ctx context.Context, key string) (recording.ObjectInfo, error)
	Open(ctx context.Context, key string) (recording.Object, error)
	CheckParts(ctx context.Context, u recording.Upload) error
	List(ctx context.Context, fn func(recording.StoredEntry) error) error
	Remove(ctx context.Context, entry recording.StoredEntry) error
}

// Report is told what is found, in a run's order, by one goroutine.
type Report interface {
	Problem(p Problem) error
	// Done is called at the end, also of a run that an error has ended.
	Done(s Summary) error
}

// Options of a run. Ledger, Storage and Report must be set.
type Options struct {
	Ledger  Ledger
	Storage Storage
	Report  Report

	Verify        bool // read every object, and compare its SHA-256
	Repair        bool // repair what is found
	DeleteUnknown bool // with Repair: delete also what the ledger never had a row for
	// OlderThan is how old something in storage is before it may be called nobody's;
	// a temporary file is at least a day old.
	OlderThan time.Duration

	Now func() time.Time // the clock
	// Pause is the time between the two looks; default 2 seconds. A server that is told
	// to complete a multipart upload has no parts any more and no object yet.
	Pause time.Duration
}

// Summary is what a run has come to.
type Summary struct {
	StartedAt time.Time
	Took      time.Duration
	Complete  bool // false if an error has ended it

	Recordings int   // in the ledger, not deleted
	Uploads    int   // of them: not complete; and partial ones
	Artifacts  int   // in the ledger
	Entries    int   // in storage: objects, uploads with parts, multipart uploads, temporary files
	BytesRead  int64 // to compare digests

	Found    map[Kind]int
	Repaired map[Kind]int
}

// Problems returns how many problems were found, and how many of them were repaired.
func (s Summary) Problems() (found, repaired int) {
	for kind, n := range s.Found {
		found, repaired = found+n, repaired+s.Repaired[kind]
	}
	return found, repaired
}

// ErrWrongStorage says that nothing of what the ledger counts on is in this storage:
// more likely it is another one than that everything is lost.
var ErrWrongStorage = errors.New("nothing of what the database counts on is in this storage: is it the one that belongs to this database? Nothing was changed")

// Run compares everything once and returns what it has come to. An error says that
// it could not go on; what was found before has been reported.
func Run(ctx context.Context, o Options) (Summary, error) {
	if o.Ledger == nil || o.Storage == nil || o.Report == nil {
		return Summary{}, errors.New("fsck: an option that must be set is missing")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Pause == 0 {
		o.Pause = 2 * time.Second
	}
	r := &run{o: o, sum: Summary{StartedAt: o.Now(), Found: map[Kind]int{}, Repaired: map[Kind]int{}}}
	var err error
	for _, step := range []func(context.Context) error{r.checkRecordings, r.checkPartials, r.endOfLedger, r.checkJobs, r.checkStorage} {
		if err = step(ctx); err != nil {
			break
		}
	}
	r.sum.Complete, r.sum.Took = err == nil, o.Now().Sub(r.sum.StartedAt)
	return r.sum, errors.Join(err, o.Report.Done(r.sum))
}

// run is one run.
type run struct {
	o   Options
	sum Summary

	// heldBack are the first problems of bytes that are missing, until something was
	// found that is not: see ErrWrongStorage.
	heldBack []Problem
	trusted  bool

	remade uuid.UUID // the last recording whose artifacts are being made anew
}

const (
	// enoughLost is how many things may be missing, and none found, before the storage
	// is taken for the wrong one.
	enoughLost = 10
	// maxHeldBack bounds what is remembered until something is found.
	maxHeldBack = 10_000
)

// report tells a problem, and repairs it first if that is wanted.
func (r *run) report(ctx context.Context, p Problem) error {
	if r.trusted || !p.Kind.ofLedger() {
		return r.settle(ctx, p)
	}
	if r.heldBack = append(r.heldBack, p); len(r.heldBack) == maxHeldBack {
		return ErrWrongStorage
	}
	return nil
}

// trust says that something was found where the ledger has it.
func (r *run) trust(ctx context.Context) error {
	r.trusted = true
	for _, p := range r.heldBack {
		if err := r.settle(ctx, p); err != nil {
			return err
		}
	}
	r.heldBack = nil
	return nil
}

// endOfLedger is reached when everything that the ledger counts on was looked for.
func (r *run) endOfLedger(ctx context.Context) error {
	if len(r.heldBack) >= enoughLost {
		return ErrWrongStorage
	}
	return r.trust(ctx) // too few to say anything about the storage
}

func (r *run) settle(ctx context.Context, p Problem) error {
	if r.o.Repair {
		done, err := r.repair(ctx, p)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if p.Repaired = done && err == nil; err != nil {
			p.RepairError = err.Error()
		}
	}
	r.sum.Found[p.Kind]++
	if p.Repaired {
		r.sum.Repaired[p.Kind]++
	}
	return r.o.Report.Problem(p)
}

// contextReader stops reading when ctx ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
