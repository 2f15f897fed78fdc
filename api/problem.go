package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"reprise/recording"
)

// problemType is the media type of RFC 9457.
const problemType = "application/problem+json"

// retryAfterSeconds is when a client may try again what is unavailable now.
const retryAfterSeconds = "5"

// statusChecksumMismatch is of tus 1.0, checksum extension.
const statusChecksumMismatch = 460

// kind is what a code means in HTTP.
type kind struct {
	status int
	title  string
}

// kinds is the one map from code to status; it is never changed. Titles don't
// change between occurrences (RFC 9457, 3.1.3).
var kinds = map[recording.Code]kind{
	recording.CodeInvalidRequest:   {http.StatusBadRequest, "Invalid request"},
	recording.CodeInvalidMetadata:  {http.StatusBadRequest, "Invalid upload metadata"},
	recording.CodeUnauthenticated:  {http.StatusUnauthorized, "Not authenticated"},
	recording.CodeForbidden:        {http.StatusForbidden, "Not allowed"},
	recording.CodeAccountDisabled:  {http.StatusForbidden, "Account disabled"},
	recording.CodeNotFound:         {http.StatusNotFound, "Not found"},
	recording.CodeMethodNotAllowed: {http.StatusMethodNotAllowed, "Method not allowed"},
	recording.CodeTimeout:          {http.StatusRequestTimeout, "Timed out"},
	recording.CodeConflict:         {http.StatusConflict, "Not possible in this state"},
	recording.CodeOffsetMismatch:   {http.StatusConflict, "Wrong offset"},
	recording.CodeTakenOver:        {http.StatusConflict, "Upload taken over"},
	recording.CodeClientIDConflict: {http.StatusConflict, "clientId names another upload"},
	recording.CodeUploadGone:       {http.StatusGone, "Upload gone"},
	recording.CodeProtocolVersion:  {http.StatusPreconditionFailed, "Unsupported protocol version"},
	recording.CodeTooLarge:         {http.StatusRequestEntityTooLarge, "Too large"},
	recording.CodeChecksum:         {statusChecksumMismatch, "Checksum mismatch"},
	recording.CodeContentType:      {http.StatusUnsupportedMediaType, "Wrong content type"},
	recording.CodeUnsupportedType:  {http.StatusUnsupportedMediaType, "Unsupported file type"},
	recording.CodeNotAudio:         {http.StatusUnsupportedMediaType, "Not audio"},
	recording.CodeRangeInvalid:     {http.StatusRequestedRangeNotSatisfiable, "Invalid range"},
	recording.CodeRateLimited:      {http.StatusTooManyRequests, "Too many requests"},
	recording.CodeTooManyUploads:   {http.StatusTooManyRequests, "Too many uploads"},
	recording.CodeDailyQuota:       {http.StatusTooManyRequests, "Daily limit reached"},
	recording.CodeStorageQuota:     {http.StatusRequestEntityTooLarge, "No room left for you"},
	recording.CodeInternal:         {http.StatusInternalServerError, "Internal error"},
	recording.CodeUnavailable:      {http.StatusServiceUnavailable, "Unavailable"},
	recording.CodeGraphUnavailable: {http.StatusServiceUnavailable, "No graph"},
	recording.CodeGraphTimeout:     {http.StatusServiceUnavailable, "Took the graph too long"},
	recording.CodeStorageFull:      {http.StatusInsufficientStorage, "Storage full"},
}

// Status returns the HTTP status of a code: 500 for one that is not known.
func Status(code recording.Code) int {
	return newProblem(code, "").Status
}

// Problem is an error as a client sees it (RFC 9457).
type Problem struct {
	Type   string         `json:"type" format:"uri-reference" doc:"Where this kind of problem is explained." example:"/docs#not_found"`
	Title  string         `json:"title" doc:"The kind of problem in words; the same for every occurrence." example:"Not found"`
	Status int            `json:"status" doc:"The HTTP status." example:"404"`
	Detail string         `json:"detail" doc:"This occurrence, for people." example:"There is nothing here, or it is not yours."`
	Code   recording.Code `json:"code" doc:"The kind of problem, stable: what programs decide by." example:"not_found"`
	ID     string         `json:"id,omitempty" doc:"With internal errors: quote it, the log has it too."`
	Errors []FieldError   `json:"errors,omitempty" nullable:"false" doc:"With invalid requests: what is wrong where."`

	LimitName recording.LimitName `json:"limitName,omitempty" doc:"With limits: which one; stable." example:"daily_bytes"`
	Limit     *int64              `json:"limit,omitempty" doc:"With limits: how much is allowed, in the limit's own unit: requests, uploads, bytes." example:"21474836480"`
	Used      *int64              `json:"used,omitempty" doc:"With limits: how much of it is used, without this request. Absent for requests." example:"21474000000"`
	ResetAt   *time.Time          `json:"resetAt,omitempty" doc:"With limits of a day: when the next one begins."`

	retryAfter time.Duration // 0: the default of the status
}

// FieldError says what is wrong with one parameter or one field of a body.
type FieldError struct {
	Location string `json:"location" doc:"A path, for example body.title or query.limit." example:"query.limit"`
	Message  string `json:"message" doc:"What is wrong with it." example:"expected number <= 200"`
}

func newProblem(code recording.Code, detail string) *Problem {
	k, ok := kinds[code]
	if !ok {
		code, k = recording.CodeInternal, kinds[recording.CodeInternal]
	}
	return &Problem{Type: "/docs#" + string(code), Title: k.title, Status: k.status, Detail: detail, Code: code}
}

// exceeded says which limit is the problem.
func (p *Problem) exceeded(e *recording.Exceeded) {
	p.LimitName, p.Limit, p.retryAfter = e.Name, &e.Limit, e.RetryAfter
	if e.Name != recording.LimitUserRequests && e.Name != recording.LimitAddressRequests {
		p.Used = &e.Used
	}
	p.ResetAt = utc(&e.ResetAt)
	if e.ResetAt.IsZero() {
		p.ResetAt = nil
	}
}

func (p *Problem) Error() string { return string(p.Code) + ": " + p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return problemType }

// GetHeaders returns the headers that this kind of problem has besides those of
// every problem. It implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="reprise"`) // RFC 9110, 15.5.2: a 401 must have one
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set("Retry-After", retryAfterSeconds)
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(p.retryAfter.Seconds())), 10))
	}
	return h
}

// Header returns every header of an answer that is this problem.
func (p *Problem) Header() http.Header {
	h := p.GetHeaders()
	h.Set("Content-Type", problemType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	return h
}

// Body returns the problem as JSON.
func (p *Problem) Body() []byte {
	body, err := json.Marshal(p)
	if err != nil { // strings and numbers only: can't happen
		panic("api: problem: " + err.Error())
	}
	return append(body, '\n')
}

// Problems turns errors into problems and logs what a client must not see. It
// is safe for concurrent use.
type Problems struct {
	logger  *slog.Logger
	refused func(recording.LimitName)
}

// NewProblems makes a Problems that logs to logger.
func NewProblems(logger *slog.Logger) *Problems {
	return &Problems{logger: logger.With("component", "api"), refused: func(recording.LimitName) {}}
}

// OnRefusal has refused called with the limit of each request that one stands in the
// way of. It is called before the first request.
func (p *Problems) OnRefusal(refused func(recording.LimitName)) { p.refused = refused }

// Of returns what a client sees of err: code and message of the first
// *recording.Error in its chain. Any other error is internal: it is logged with
// a random id, and the id is all that the client gets.
func (p *Problems) Of(ctx context.Context, err error) *Problem {
	var known *recording.Error
	switch {
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		// The client has gone: nobody reads this, and nothing is broken.
		return newProblem(recording.CodeTimeout, "The client has ended the request.")
	case errors.As(err, &known) && known.Code != recording.CodeInternal:
		problem := newProblem(known.Code, known.Message)
		if problem.Code == known.Code {
			p.logCause(ctx, problem, known)
			if known.Exceeded != nil {
				p.refused(known.Exceeded.Name)
				problem.exceeded(known.Exceeded)
			}
			return problem
		}
	}
	problem := newProblem(recording.CodeInternal, "Something went wrong on the server. If it stays so, report the id.")
	problem.ID = rand.Text()
	p.logger.ErrorContext(ctx, "request failed", "error", err, "id", problem.ID, "requestId", RequestID(ctx))
	return problem
}

// logCause logs why the server could not do what was asked. Refusals are in the
// access log.
func (p *Problems) logCause(ctx context.Context, problem *Problem, err *recording.Error) {
	if problem.Status >= http.StatusInternalServerError {
		p.logger.WarnContext(ctx, "request could not be served", "error", err, "code", string(problem.Code), "requestId", RequestID(ctx))
	}
}

// Write answers a request with what a client may see of err. A WWW-Authenticate
// header that is set already stays.
func (p *Problems) Write(w http.ResponseWriter, r *http.Request, err error) {
	problem := p.Of(r.Context(), err)
	challenge := w.Header().Get("WWW-Authenticate")
	for name, values := range problem.Header() {
		w.Header()[name] = values
	}
	if challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	w.WriteHeader(problem.Status)
	_, _ = w.Write(problem.Body()) // the client may have gone
}
