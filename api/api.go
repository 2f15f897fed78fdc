// Package api serves the REST part of the public contract: what a user has
// recorded, listens to and can still upload, described by an OpenAPI 3.1
// document that is made from the same Go types as the answers.
//
// It is not the upload protocol (package upload), not the WebSocket (package
// events), and it checks no token: it reads the principal that package auth
// has put into the request's context. It holds no state of its own; what it
// needs of the rest of Reprise are the interfaces Catalog and Objects.
//
// It promises that every error, its own and those handed to Problems, has one
// shape (RFC 9457) and one status per code, that nothing internal is in it, and
// that what belongs to somebody else answers exactly as what never existed.
package api

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/uuid"

	"reprise/auth"
	"reprise/recording"
)

// Catalog is what the API reads and changes. Every method is scoped to the
// owner: for what is somebody else's it returns recording.ErrNotFound, as for
// what does not exist. Its other errors are *recording.Error if a client may
// see them.
type Catalog interface {
	AdminCatalog
	StoryCatalog
	EntityCatalog
	// User returns the user with this id.
	User(ctx context.Context, id uuid.UUID) (recording.User, error)
	// Usage returns what a user has and has used.
	Usage(ctx context.Context, owner uuid.UUID) (recording.Usage, error)
	// Recordings returns a page of the owner's recordings, newest first.
	Recordings(ctx context.Context, owner uuid.UUID, page recording.Page) ([]recording.Recording, error)
	// Recording returns one recording with its artifacts.
	Recording(ctx context.Context, owner, id uuid.UUID) (recording.Recording, error)
	// PatchRecording changes what the patch names and returns the result.
	PatchRecording(ctx context.Context, owner, id uuid.UUID, patch recording.RecordingPatch) (recording.Recording, error)
	// DeleteRecording deletes a recording for its owner.
	DeleteRecording(ctx context.Context, owner, id uuid.UUID) error
	// RetryRecording processes a failed recording again, from the stage that
	// failed on; one in another state is an error of code conflict.
	RetryRecording(ctx context.Context, owner, id uuid.UUID) (recording.Recording, error)
	// Reprocess asks for stages of a recording again, and returns how far all are.
	Reprocess(ctx context.Context, owner, id uuid.UUID, r recording.Reprocessing) ([]recording.Insight, error)
	// Transcript returns what was said in a recording, as its owner has corrected it.
	Transcript(ctx context.Context, owner, id uuid.UUID) (recording.Transcript, error)
	// CorrectTranscript changes one segment and returns the transcript as it is then; one
	// that is not of the current version is an error of code conflict.
	CorrectTranscript(ctx context.Context, owner, id uuid.UUID, change recording.CorrectionChange) (recording.Transcript, error)
	// Corrections returns all corrections of a transcript, the latest first.
	Corrections(ctx context.Context, owner, id uuid.UUID) ([]recording.Correction, error)
	// Analysis returns what a recording is about.
	Analysis(ctx context.Context, owner, id uuid.UUID) (recording.Analysis, error)
	// Search returns a page of the owner's recordings that have the words.
	Search(ctx context.Context, owner uuid.UUID, s recording.Search) (recording.SearchResult, error)
	// EventsSince returns the milestones of these recordings with a number above
	// since, in their order, at most limit.
	EventsSince(ctx context.Context, owner uuid.UUID, recordings []uuid.UUID, since int64, limit int) ([]recording.Event, error)
	// ResumableUploads returns a page of the owner's uploads that still take
	// bytes, newest first.
	ResumableUploads(ctx context.Context, owner uuid.UUID, page recording.Page) ([]recording.Upload, error)
	// IssueTicket makes a ticket that opens one WebSocket, for a user who signed in at
	// authTime.
	IssueTicket(ctx context.Context, owner uuid.UUID, authTime time.Time) (ticket string, expiresAt time.Time, err error)
}

// Accounts knows whether somebody may still use the server.
type Accounts interface {
	// CheckAccount returns an error of code account_disabled or unauthenticated if
	// not, unavailable if that can't be found out now.
	CheckAccount(ctx context.Context, p auth.Principal) error
}

// Objects opens what is stored.
type Objects interface {
	// Open opens an object for reading; the caller closes it. A missing one is
	// an error of code not_found.
	Open(ctx context.Context, key string) (recording.Object, error)
	// Stat describes an object without opening it; a missing one is the same error.
	Stat(ctx context.Context, key string) (recording.ObjectInfo, error)
}

// Signer is a storage that clients may read from themselves.
type Signer interface {
	// SignedURL returns a URL that reads an object for a while, without a token; "" if
	// the storage has no such thing.
	SignedURL(ctx context.Context, key string, read recording.SignedRead) (string, error)
}

// Router is where the API puts its routes; *http.ServeMux is one.
type Router interface {
	HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request))
	ServeHTTP(w http.ResponseWriter, r *http.Request)
	// Handler returns the pattern that a request would match, "" for none.
	Handler(r *http.Request) (h http.Handler, pattern string)
}

// Options is what an API is made of. Every field but Signer, Graph and Limits is needed.
type Options struct {
	Catalog  Catalog
	Graph    Graph // nil: questions to it are answered with graph_unavailable
	Objects  Objects
	Signer   Signer // nil: files are sent by this server
	Accounts Accounts
	Problems *Problems

	// Limits are what users may have, for telling them.
	Limits recording.UserLimits

	// Models are those that a user may choose when a stage is asked for again, besides
	// the configured one, by each stage that can be asked for.
	Models map[recording.Stage][]string

	// PublicURL is what clients reach the public listener by, without a slash at
	// its end, for example "https://audio.example.com". URLs in answers begin
	// with it.
	PublicURL string
	// Version is the program's version, for the OpenAPI document.
	Version string
}

// API is the REST API. It is safe for concurrent use.
type API struct {
	catalog   Catalog
	graph     Graph
	objects   Objects
	signer    Signer
	accounts  Accounts
	problems  *Problems
	limits    recording.UserLimits
	models    map[recording.Stage][]string
	publicURL string
	huma      huma.API
}

// New puts the API's routes on a router: everything below /v1/ but the
// WebSocket, /openapi.json and /docs. A path below /v1/ that nobody serves
// answers with a problem too.
func New(router Router, o Options) *API {
	a := &API{
		catalog:   o.Catalog,
		graph:     o.Graph,
		objects:   o.Objects,
		signer:    o.Signer,
		accounts:  o.Accounts,
		problems:  o.Problems,
		limits:    o.Limits,
		models:    o.Models,
		publicURL: strings.TrimRight(o.PublicURL, "/"),
	}
	a.huma = humago.New(router, a.config(o.Version))
	a.huma.UseMiddleware(translateErrors, a.requirePrincipal)
	a.registerAccount()
	a.registerRecordings()
	a.registerStories()
	a.registerAudio()
	a.registerTranscripts()
	a.registerSearch()
	a.registerEntityEdits()
	a.registerGraph()
	a.registerUploads()
	a.registerEvents()
	a.registerAdmin()
	a.documentUploadProtocol()
	a.documentSocket()
	a.serveDocument(router)
	router.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) { a.unrouted(router, w, r) })
	return a
}

// OpenAPI returns the document that /openapi.json serves. It must not be
// changed.
func (a *API) OpenAPI() *huma.OpenAPI { return a.huma.OpenAPI() }

// register puts one operation on the router. codes are the errors it may
// answer with besides those that every operation may. What changes something is for
// accounts that are in order.
func register[I, O any](a *API, op huma.Operation, codes []recording.Code, handle func(ctx context.Context, owner uuid.UUID, in *I) (*O, error)) {
	changes := op.Method != http.MethodGet && op.Method != http.MethodHead
	if changes {
		codes = append(slices.Clone(codes), recording.CodeAccountDisabled)
	}
	a.document(&op, codes)
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		p, _ := auth.FromContext(ctx) // requirePrincipal has seen that there is one
		if changes {
			if err := a.accounts.CheckAccount(ctx, p); err != nil {
				return nil, a.problems.Of(ctx, err)
			}
		}
		out, err := handle(ctx, p.UserID, in)
		if err != nil {
			return nil, a.problems.Of(ctx, err)
		}
		return out, nil
	})
}

// requirePrincipal answers requests of nobody, before their parameters are
// looked at. It sets the headers that every answer has.
func (a *API) requirePrincipal(ctx huma.Context, next func(huma.Context)) {
	ctx.SetHeader("X-Content-Type-Options", "nosniff")
	ctx.SetHeader("Cache-Control", "no-store")
	if _, ok := auth.FromContext(ctx.Context()); !ok {
		r, w := humago.Unwrap(ctx)
		a.problems.Write(w, r, recording.Errorf(recording.CodeUnauthenticated, "This needs a token in the Authorization header: Bearer, a space, the token."))
		return
	}
	next(ctx)
}

// unrouted answers requests below /v1/ that match no route: 405 if the path has
// one for another method, else 404.
func (a *API) unrouted(router Router, w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		probe := &http.Request{Method: method, URL: r.URL, Host: r.Host}
		if _, pattern := router.Handler(probe); pattern != "" && pattern != "/v1/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		a.problems.Write(w, r, recording.ErrNotFound)
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	a.problems.Write(w, r, recording.Errorf(recording.CodeMethodNotAllowed, "This path does not know the method; it knows %s.", strings.Join(allowed, ", ")))
}

type humaContext = huma.Context // embedded by another name: Context is a method of it

// statusContext lets translate change the status of an answer that huma has
// decided on already.
type statusContext struct {
	humaContext
	status int // 0 leaves it
}

// Unwrap lets humago.Unwrap reach the request.
func (c *statusContext) Unwrap() huma.Context { return c.humaContext }

// SetStatus implements huma.Context.
func (c *statusContext) SetStatus(code int) {
	if c.status != 0 {
		code = c.status
	}
	c.humaContext.SetStatus(code)
}

func translateErrors(ctx huma.Context, next func(huma.Context)) {
	next(&statusContext{humaContext: ctx})
}

// translate turns huma's own errors (about parameters and bodies) into ours.
// huma's hook for this is a variable of its package; a transformer belongs to
// this API alone.
func translate(ctx huma.Context, _ string, v any) (any, error) {
	theirs, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	problem := problemOf(theirs)
	if c, ok := ctx.(*statusContext); ok {
		c.status = problem.Status
	}
	return problem, nil
}

// problemOf translates huma's error. The values that it quotes from the request
// are left out: they may be as long as the request.
func problemOf(e *huma.ErrorModel) *Problem {
	code, detail := recording.CodeInvalidRequest, "The request is not valid; errors says what is wrong where."
	switch e.Status {
	case http.StatusRequestTimeout:
		code, detail = recording.CodeTimeout, "The body did not arrive in time."
	case http.StatusRequestEntityTooLarge:
		code, detail = recording.CodeTooLarge, "The body is larger than this request needs."
	case http.StatusUnsupportedMediaType:
		code, detail = recording.CodeContentType, "The body must be application/json."
	case http.StatusInternalServerError: // huma: the body can't be read
		detail = "The body ended early."
	}
	problem := newProblem(code, detail)
	if code != recording.CodeInvalidRequest || e.Status == http.StatusInternalServerError {
		return problem
	}
	if len(e.Errors) == 0 {
		problem.Detail = "The request is not valid: " + e.Detail + "."
	}
	for _, d := range e.Errors {
		problem.Errors = append(problem.Errors, FieldError{Location: d.Location, Message: d.Message})
	}
	return problem
}

// schemaName names the types of answers in the document: recordingView is
// Recording there.
func schemaName(t reflect.Type, hint string) string {
	return strings.TrimSuffix(huma.DefaultSchemaNamer(t, hint), "View")
}
