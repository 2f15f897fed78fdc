// Package catalog keeps Reprise's truth in Postgres: the upload ledger,
// recordings, artifacts, events and the jobs that follow from them.
//
// Each exported method is one transaction (or one statement). What belongs
// together is written together: the last byte's offset, the receipt, the first
// job and the event commit or vanish as one. Locks are always taken in the
// order story → upload → recording → graph → user, so transactions can't deadlock, with
// what search counts for a user (shelf, then words in their order) just before the user; the
// owner's row of usage behind the upload, and only by who has locked that. An owner's graph
// (entities, mentions, versions) has one lock, see lockGraph.
//
// It is not a place for decisions: what a chunk means, whether audio is
// acceptable and when to retry is decided by its callers. Its errors are
// recording.Error where a client may see them; a database that can't be reached
// is CodeUnavailable.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"reprise/internal/failpoint"
	"reprise/recording"
)

// Catalog is safe for concurrent use.
type Catalog struct {
	pool             *pgxpool.Pool
	jobs             *river.Client[pgx.Tx] // inserts only; it works no job
	now              func() time.Time
	deletedRetention time.Duration
	limits           recording.UserLimits
}

// Options of a Catalog.
type Options struct {
	Pool *pgxpool.Pool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// DeletedRetention is how long the bytes of a recording outlive its deletion
	// by its owner; 0 deletes them at once.
	DeletedRetention time.Duration
	// Limits are what each user may have: OpenUploads, BytesPerDay, StoredBytes and
	// DecodedPerDay are this package's.
	Limits recording.UserLimits
}

// New returns a catalog on a database that Migrate has brought up to date.
func New(o Options) (*Catalog, error) {
	jobs, err := river.NewClient(riverpgxv5.New(o.Pool), &river.Config{})
	if err != nil {
		return nil, fmt.Errorf("catalog: make the job client: %w", err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Catalog{pool: o.Pool, jobs: jobs, now: o.Now, deletedRetention: o.DeletedRetention, limits: o.Limits}, nil
}

// Ping reports whether the database answers.
func (c *Catalog) Ping(ctx context.Context) error {
	return classify(c.pool.Ping(ctx))
}

// inTx runs fn in a transaction, which commits if fn returns nil.
func (c *Catalog) inTx(ctx context.Context, fn func(pgx.Tx) error) error {
	return classify(pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		err := fn(tx)
		failpoint.Hit("tx.commit")
		return err
	}))
}

// classify gives errors of the database the code that a client may act on. An
// error that has a code already, or is the caller's own cancellation, stays.
func classify(err error) error {
	var coded *recording.Error
	if err == nil || errors.As(err, &coded) || errors.Is(err, context.Canceled) {
		return err
	}
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		// https://www.postgresql.org/docs/current/errcodes-appendix.html
		switch pgErr.Code[:2] {
		case "08", "53", "57": // connection, resources, operator intervention
			if pgErr.Code == "53100" {
				return recording.Wrap(recording.CodeStorageFull, err, "The server has no room left.")
			}
			return unavailable(err)
		case "40", "55": // serialization failure, deadlock, lock not available
			return unavailable(err)
		}
		return err
	}
	var netErr net.Error
	var connectErr *pgconn.ConnectError
	if errors.As(err, &netErr) || errors.As(err, &connectErr) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) {
		return unavailable(err)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // the database's process died without a word
		return unavailable(err)
	}
	return err
}

func unavailable(err error) error {
	return recording.Wrap(recording.CodeUnavailable, err, "The server's database can't be reached right now; try again.")
}
