// Package upload serves the tus 1.0 protocol (https://tus.io/protocols/resumable-upload)
// over the upload ledger, and the draft of the IETF that iOS speaks by itself. It
// is the only package that knows tusd: tusd's handler speaks the protocols, this package gives it a DataStore and a Locker, and stands
// in front of it as the one place where ownership is checked.
//
// What it promises:
//
//   - An offset that a client has seen is committed: its bytes are durable and
//     the ledger says so. It never goes down.
//   - Of several requests on one upload the latest wins. It takes the upload over
//     at once by raising the epoch; what an older one still does is refused by
//     the ledger and touches no byte of the newer one. The older one is told to
//     stop, in whatever process it runs.
//   - The last byte's transaction makes the upload received, with its receipt and
//     first job. There is no state in which a client was told success and nobody
//     goes on.
//   - Who asks for somebody else's upload gets the answer for one that never was, and
//     so does a ticket with any upload but its own.
//
// It does not process audio, and it knows neither SQL nor where bytes lie: the
// Ledger and the Storage it declares are implemented by others.
package upload

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/tus/tusd/v2/pkg/handler"

	"reprise/auth"
	"reprise/recording"
)

// Ledger is the truth about uploads. Each method is one transaction; a method
// with an epoch answers recording.ErrTakenOver if the upload has a higher one.
type Ledger interface {
	CreateUpload(ctx context.Context, n recording.NewUpload) (u recording.Upload, created bool, err error)
	FindUpload(ctx context.Context, owner, id uuid.UUID) (recording.Upload, error)
	// FindUploadByTicket finds an upload that was given the ticket of this hash, by its
	// creation (NewUpload.TicketHash) or by AddUploadTicket.
	FindUploadByTicket(ctx context.Context, id uuid.UUID, hash []byte) (recording.Upload, error)
	AddUploadTicket(ctx context.Context, id uuid.UUID, hash []byte) error
	FindUploadByClientID(ctx context.Context, owner uuid.UUID, clientID string) (recording.Upload, error)
	AcquireUpload(ctx context.Context, id uuid.UUID, claim recording.Claim) (u recording.Upload, acquired bool, err error)
	// CommitChunk, of a Growing chunk, and DeclareLength refuse what is more than the
	// owner may send or store. Room says how much that is now, and the error beyond it.
	CommitChunk(ctx context.Context, ch recording.Chunk) error
	Room(ctx context.Context, owner uuid.UUID) (bytes int64, beyond error, err error)
	DeclareLength(ctx context.Context, id uuid.UUID, epoch, length int64, receipt *recording.Receipt) error
	RefuseUpload(ctx context.Context, id uuid.UUID, epoch int64, reason recording.Reason, detail string) error
	FailUpload(ctx context.Context, id uuid.UUID, epoch int64, reason recording.Reason, detail string) error
	TerminateUpload(ctx context.Context, owner, id uuid.UUID) error
	// AskWriters asks every process's Run to let writers with an epoch below epoch
	// commit and end. ReleaseUpload says that the writer for which u was acquired has
	// ended without a commit that closes it.
	AskWriters(ctx context.Context, id uuid.UUID, epoch int64) error
	ListenWriters(ctx context.Context, handle func(recording.StopWriters)) error
	ReleaseUpload(ctx context.Context, u recording.Upload, used bool) error
	// JoinUploads makes a final upload of n.PartialIDs. Decide is called with all of
	// them locked. One that was made of exactly these comes back; so does a living
	// upload of the same ClientID.
	JoinUploads(ctx context.Context, n recording.NewUpload, decide func(partials []recording.Upload) (recording.Receipt, error)) (u recording.Upload, created bool, err error)
}

// Storage keeps the bytes of unfinished uploads in parts.
type Storage interface {
	// NewWriter continues an upload behind its committed parts. While WriterOpen, a
	// writer that may still live has the last one open, and the new one starts a part
	// of its own. An error of code recording.CodeUploadGone, also of the writer's
	// methods, says that committed bytes are lost.
	NewWriter(ctx context.Context, u recording.Upload) (recording.PartWriter, error)
	// FastClaims reports whether writers may be of Fast claims.
	FastClaims() bool
}

// Hooks decide at the points of an upload's life.
type Hooks interface {
	Admit(req recording.AdmissionRequest) (recording.Admission, error)
	FirstBytes(head []byte, last bool) (audio, decided bool)
	Received(u recording.Upload, sizeBytes int64, sum [32]byte, now time.Time) recording.Receipt
	Joined(u recording.Upload, sizeBytes int64, now time.Time) recording.Receipt
}

// Accounts knows whether somebody may still use the server, however long ago their
// request began.
type Accounts interface {
	// CheckAccount returns an error of code account_disabled or unauthenticated if
	// not, unavailable if that can't be found out now.
	CheckAccount(ctx context.Context, p auth.Principal) error
}

// Ticks takes live progress events. Publish must not block.
type Ticks interface {
	Publish(ctx context.Context, e recording.Event)
}

// Options of a Server.
type Options struct {
	Ledger  Ledger
	Storage Storage
	Hooks   Hooks
	Ticks   Ticks
	// Accounts is asked before an upload is created, completed or ended; nil lets
	// everybody.
	Accounts Accounts

	// WriteProblem answers a request with an error.
	WriteProblem func(w http.ResponseWriter, r *http.Request, err error)
	// BasePath is the path the server is mounted at, "/files/".
	BasePath string
	// PublicURL is put before BasePath in the Location of a new upload. Without it
	// the request's own Host is.
	PublicURL string
	// MaxSizeBytes bounds an upload, also one of unknown length.
	MaxSizeBytes int64
	// Expiry is how long an unfinished upload lives after its last commit.
	Expiry time.Duration
	// UploadsAtOnce is for how many uploads of a user bytes may come at the same time
	// in this process; 0 is no limit.
	UploadsAtOnce int
	// ReadTimeout is how long a client may send nothing in the middle of a body;
	// 0 means 60 seconds.
	ReadTimeout time.Duration

	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Server is an http.Handler for the upload routes. Authentication has come
// before it: it takes the principal, or the ticket, from the request's context.
type Server struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
	locks   *locks
	running *running
	buffers *buffers
	tus     *handler.UnroutedHandler
}

// New returns a server.
func New(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = 60 * time.Second
	}
	s := &Server{
		o:       o,
		log:     o.Log.With(slog.String("component", "upload")),
		metrics: newMetrics(o.Metrics),
		locks:   newLocks(),
		running: newRunning(o.UploadsAtOnce),
		buffers: newBuffers(),
	}
	composer := handler.NewStoreComposer()
	composer.UseCore(store{s})
	composer.UseTerminater(store{s})
	composer.UseLengthDeferrer(store{s})
	composer.UseConcater(store{s})
	composer.UseLocker(locker{s})
	tus, err := handler.NewUnroutedHandler(handler.Config{
		StoreComposer:   composer,
		BasePath:        o.PublicURL + o.BasePath,
		MaxSize:         o.MaxSizeBytes,
		DisableDownload: true,
		// The IETF's draft: see draft.
		EnableExperimentalProtocol: true,
		Cors:                       &handler.CorsConfig{Disable: true}, // one place answers CORS for every route: app
		Logger:                     bridgeLog(s.log),
		PreUploadCreateCallback:    s.admit,
		NetworkTimeout:             o.ReadTimeout,
		// What a broken request has sent is committed within this time.
		GracefulRequestCompletionTimeout: 10 * time.Second,
		AcquireLockTimeout:               20 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	s.tus = tus
	return s, nil
}

// checkAccount returns an error if who sends the request may not create, complete or
// end uploads any more.
func (s *Server) checkAccount(ctx context.Context, req *request) error {
	if s.o.Accounts == nil {
		return nil
	}
	return s.o.Accounts.CheckAccount(ctx, req.account)
}

// Interrupt ends the running requests: each commits what it has and answers
// 503. Call it when the server shuts down, so that nobody waits for slow phones.
func (s *Server) Interrupt() {
	s.locks.interruptAll(recording.Errorf(recording.CodeUnavailable, "The server is restarting; resume in a moment."))
}
