// Package s3 keeps parts and objects in a bucket of an S3 server: it implements
// storage.Store for AWS S3 and for servers that speak its protocol.
//
// Below the location's prefix lie
//
//	objects/<key>                       finished objects
//	parts/<upload id>/<number>-<epoch>  segments: tails of uploads too large for the ledger
//	check                               what Check writes
//
// and multipart uploads in progress, which are of the name that their object
// will have. State is never read from the bucket: the ledger says what counts.
//
// It is no cache and has no files of its own. Memory for parts comes from one
// budget. It promises what storage.Store does, as far as the server keeps what
// it has confirmed and reads what was written before (AWS S3 since 2020, and
// every server it is tested with).
package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Options say where a Store keeps its bytes and what it may use.
type Options struct {
	Location Location
	Ledger   Ledger

	// MemoryBytes is the budget for the buffers of parts of all uploads together.
	MemoryBytes int64
	// InlineBytes is the size up to which a tail goes into the ledger; 0 means never.
	InlineBytes int64
	// InlineRate is how many bytes a second of tails the ledger takes.
	InlineRate int64

	Log     *slog.Logger
	Metrics prometheus.Registerer
	// HTTPClient sends the requests; nil means one made for S3.
	HTTPClient s3.HTTPClient
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Ledger keeps the bytes of small tails, and the numbers of parts that writers may
// use.
type Ledger interface {
	// InlineParts returns the bytes of the parts of an upload, in the order of
	// numbers. recording.ErrNotFound says that one is not there.
	InlineParts(ctx context.Context, id uuid.UUID, numbers []int) ([][]byte, error)
	// Settle makes durable what the ledger has said so far. A writer waits for it before
	// it uses a number: its name is all of a part of a multipart upload that doesn't
	// have the epoch in it.
	Settle(ctx context.Context) error
}

// Store is a storage.Store in a bucket.
type Store struct {
	o       Options
	client  *s3.Client
	http    s3.HTTPClient
	log     *slog.Logger
	metrics *metrics
	timeout time.Duration // attemptTimeout, but in tests

	memory     *memory
	pools      pools
	inlineRate *rate.Limiter
}

// New returns the store at a location. It sends no request; Check does.
func New(ctx context.Context, o Options) (*Store, error) {
	if o.Location.Bucket == "" {
		return nil, errors.New("s3: no bucket")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	memory := newMemory(o.MemoryBytes)
	m, err := newMetrics(o.Metrics, memory)
	if err != nil {
		return nil, fmt.Errorf("s3: register metrics: %w", err)
	}
	s := &Store{
		o: o, http: o.HTTPClient, log: o.Log.With("component", "s3"), metrics: m, timeout: attemptTimeout,
		memory: memory,
		// A burst is what comes in one second.
		inlineRate: rate.NewLimiter(rate.Limit(o.InlineRate), int(o.InlineRate)),
	}
	if s.http == nil {
		s.http = newHTTPClient()
	}
	if s.client, err = s.newClient(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Close closes connections that are idle. Writers and objects that are open stay
// usable.
func (s *Store) Close() error {
	if c, ok := s.http.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
	return nil
}

// Check implements storage.Store. It writes the same small object each time, which
// is no object of the store's.
func (s *Store) Check(ctx context.Context) error {
	p := make([]byte, 4096) // more than servers find room for beside an object's description
	_, err := s.put(ctx, s.o.Location.below(checkName), newBody(p))
	return err
}

// What lies below the prefix.
const (
	objectsDir = "objects/"
	partsDir   = "parts/"
	checkName  = "check"
)

// The names of this package's functions and methods say "key" for what callers
// say and "name" for what the server sees: the key with prefix and folder.

func (s *Store) objectName(key string) string { return s.o.Location.below(objectsDir + key) }

// partsName is the beginning of the names of an upload's segments.
func (s *Store) partsName(id uuid.UUID) string {
	return s.o.Location.below(partsDir + id.String() + "/")
}

func (s *Store) segmentName(id uuid.UUID, number int, epoch int64) string {
	return s.partsName(id) + strconv.Itoa(number) + "-" + strconv.FormatInt(epoch, 10)
}

// partSize is the size of the parts of a multipart upload, but for the last.
func (s *Store) partSize() int64 { return cmp.Or(s.o.Location.PartSize, DefaultPartSize) }
