package upload

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"reprise/auth"
	"reprise/recording"
)

// request is what one HTTP request carries through tusd, whose interfaces have
// no room for it: it travels in the context.
type request struct {
	owner    uuid.UUID      // of the upload, or of the one to be created
	account  auth.Principal // whose account has to be in order: the owner's
	byTicket bool           // the client has shown the upload's ticket, not the owner's token
	claim    recording.Claim
	check    *checksum // that the client says its bytes have; nil without
	draft    *draft    // nil for tus
	http     *http.Request
	host     string // what the client calls this server
	in       http.Header
	w        http.ResponseWriter

	admission recording.Admission // of a creation
	found     recording.Upload    // as it was when the request came
	upload    recording.Upload    // as the lock found it
	current   *upload             // what tusd works with; nil before it has it
	failure   error               // what to answer with: see fail
	used      bool                // a writer was opened
	closed    bool                // the ledger knows that the writer has ended

	body *interruptibleBody
}

// row returns what the request knows of its upload by now, false for nothing.
func (req *request) row() (recording.Upload, bool) {
	if req.current != nil {
		return req.current.row, true
	}
	return req.upload, req.upload.ID != uuid.Nil
}

type requestKey struct{}

func requestFrom(ctx context.Context) *request {
	return ctx.Value(requestKey{}).(*request)
}

// Announce names the protocol in every answer below the server's path, as tus 1.0
// wants it: also in those that next gives before the server sees the request, such
// as the authentication's.
func (s *Server) Announce(next http.Handler) http.Handler {
	root := strings.TrimSuffix(s.o.BasePath, "/")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rest, below := strings.CutPrefix(r.URL.Path, root); below && (rest == "" || rest[0] == '/') {
			if draft, _ := draftOf(r); draft == nil { // what is wrong with one is the server's to say
				w.Header().Set("Tus-Resumable", "1.0.0")
			}
		}
		next.ServeHTTP(w, r)
	})
}

// ServeHTTP answers a tus request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := s.serve(w, r); err != nil {
		s.o.WriteProblem(w, r, err)
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) error {
	// Refused for every route before; tusd would let it turn a POST into any other
	// method, past the checks here.
	r.Header.Del("X-HTTP-Method-Override")
	path := strings.Trim(strings.TrimPrefix(r.URL.Path, strings.TrimSuffix(s.o.BasePath, "/")), "/")
	draft, err := draftOf(r)
	if draft == nil {
		w.Header().Set("Tus-Resumable", "1.0.0")
	}
	route, ok := s.route(r.Method, path != "")
	if !ok {
		w.Header().Set("Allow", allowed(path != ""))
		return recording.Errorf(recording.CodeMethodNotAllowed, "This resource does not know the method; it knows %s.", allowed(path != ""))
	}
	if r.Method == http.MethodOptions {
		s.tus.Middleware(http.NotFoundHandler()).ServeHTTP(&optionsWriter{w}, r)
		return nil
	}
	if err != nil {
		return err
	}
	req, err := readRequest(w, r, draft)
	if err != nil {
		return err
	}
	if err := s.open(r, req, path); err != nil {
		return err
	}
	if r.Method == http.MethodPatch && draft == nil && r.Header.Get("Content-Type") != "application/offset+octet-stream" {
		return recording.Errorf(recording.CodeContentType, "A PATCH needs Content-Type: application/offset+octet-stream.")
	}
	if r.Method == http.MethodPost { // clients send it with other requests of a partial upload, too
		c, err := parseConcat(r.Header.Get("Upload-Concat"), s.o.BasePath)
		if err != nil {
			return err
		}
		if c.final != nil {
			return s.join(r, req, c.final)
		}
	}
	leave, err := s.enterBody(r, req)
	if err != nil {
		return err
	}
	defer leave()
	r.Body = req.body
	r = r.WithContext(context.WithValue(r.Context(), requestKey{}, req))
	r.URL.Path = path // what tusd takes the id from
	req.http = r
	s.tus.Middleware(route).ServeHTTP(&problemWriter{ResponseWriter: w, s: s, r: r, req: req}, r)
	return nil
}

// readRequest reads the header of a request.
func readRequest(w http.ResponseWriter, r *http.Request, draft *draft) (*request, error) {
	if draft == nil {
		if err := checkVersion(w, r); err != nil {
			return nil, err
		}
	}
	if err := unifyHeader(r.Header); err != nil {
		return nil, err
	}
	if err := checkNumbers(r.Header); err != nil {
		return nil, err
	}
	check, err := checksumOf(r.Header)
	if err == nil && check != nil && r.ContentLength > maxCheckedBytes {
		err = errTooLargeToCheck
	}
	if err != nil {
		return nil, err
	}
	return &request{
		claim: claimOf(r),
		check: check,
		draft: draft,
		host:  r.Host,
		in:    r.Header,
		w:     w,
		body:  &interruptibleBody{ReadCloser: r.Body, control: http.NewResponseController(w)},
	}, nil
}

// route finds tusd's handler of a method.
func (s *Server) route(method string, one bool) (http.Handler, bool) {
	routes := map[string]http.HandlerFunc{http.MethodOptions: nil, http.MethodPost: s.tus.PostFile}
	if one {
		routes = map[string]http.HandlerFunc{
			http.MethodOptions: nil, http.MethodHead: s.tus.HeadFile,
			http.MethodPatch: s.tus.PatchFile, http.MethodDelete: s.tus.DelFile,
		}
	}
	h, ok := routes[method]
	return h, ok
}

// claimOf says what a request wants of the upload's lock. A wrong Upload-Offset
// is refused by tusd before it takes the lock.
func claimOf(r *http.Request) recording.Claim {
	switch r.Method {
	case http.MethodPost:
		return recording.Claim{Write: true}
	case http.MethodPatch:
		offset, _ := strconv.ParseInt(r.Header.Get("Upload-Offset"), 10, 64)
		return recording.Claim{Write: true, Offset: offset}
	}
	return recording.Claim{}
}

func allowed(one bool) string {
	if one {
		return "OPTIONS, HEAD, PATCH, DELETE"
	}
	return "OPTIONS, POST"
}

// checkVersion wants Tus-Resumable: 1.0.0. HEAD may come without it, since
// people look at uploads with plain HTTP tools; it must not be wrong.
func checkVersion(w http.ResponseWriter, r *http.Request) error {
	version := r.Header.Get("Tus-Resumable")
	if version == "1.0.0" || version == "" && r.Method == http.MethodHead {
		return nil
	}
	w.Header().Set("Tus-Version", "1.0.0")
	return recording.Errorf(recording.CodeProtocolVersion, "Send Tus-Resumable: 1.0.0; this server speaks no other version. Of the IETF's draft it speaks the interop versions 3 to 6.")
}

// unifyHeader makes one field of those that may come in several (RFC 9110, 5.3),
// and refuses two of what only one can be meant of.
func unifyHeader(h http.Header) error {
	if metadata := h.Values("Upload-Metadata"); len(metadata) > 1 {
		h.Set("Upload-Metadata", strings.Join(metadata, ","))
	}
	for _, name := range []string{"Tus-Resumable", "Upload-Offset", "Upload-Length", "Upload-Defer-Length", "Upload-Concat", "Upload-Checksum",
		"Upload-Draft-Interop-Version", "Upload-Complete", "Upload-Incomplete", "Content-Type", "Content-Disposition"} {
		switch values := h.Values(name); {
		case len(values) > 1:
			return recording.Errorf(recording.CodeInvalidRequest, "There is more than one %s header; send one.", name)
		// tusd would take it for one that isn't there.
		case len(values) == 1 && values[0] == "" && strings.HasPrefix(name, "Upload-"):
			return recording.Errorf(recording.CodeInvalidRequest, "The %s header is empty; leave it out.", name)
		}
	}
	return nil
}

// checkNumbers wants whole numbers as both protocols write them: digits and nothing
// else. tusd would also take a sign for one.
func checkNumbers(h http.Header) error {
	for _, name := range []string{"Upload-Offset", "Upload-Length"} {
		if text := h.Get(name); text != "" && !isNumber(text) {
			return recording.Errorf(recording.CodeInvalidRequest, "%s is not a whole number from 0 to %d, in digits alone.", name, int64(math.MaxInt64))
		}
	}
	return nil
}

func isNumber(text string) bool {
	_, err := strconv.ParseUint(text, 10, 63)
	return err == nil && !strings.ContainsFunc(text, func(c rune) bool { return c < '0' || c > '9' })
}

// interruptibleBody is a request body that another goroutine can end. tusd has
// a way of its own (it closes the body), but it misses a request that has taken
// its lock and not begun to read.
type interruptibleBody struct {
	io.ReadCloser
	control *http.ResponseController
	skip    int64 // how many of the next bytes nobody wants; the reader's own

	mu    sync.Mutex
	cause *recording.Error
	ended bool
	whole bool
	lost  bool // the request is not the upload's writer any more
}

// interrupt makes the current and every later Read fail, until the body has
// ended. Only the first cause counts.
func (b *interruptibleBody) interrupt(cause *recording.Error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.interruptLocked(cause)
}

// takeAway is interrupt for a request whose upload has been taken over: nothing of
// what it has read can be committed any more.
func (b *interruptibleBody) takeAway() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost = true
	b.interruptLocked(recording.ErrTakenOver)
}

// taken reports whether the request's upload is known to have been taken over.
func (b *interruptibleBody) taken() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost
}

func (b *interruptibleBody) interruptLocked(cause *recording.Error) {
	if b.ended || b.cause != nil {
		return
	}
	b.cause = cause
	// Wakes a Read that waits for the network. The connection is of no use
	// afterwards: net/http cancels the context of every further request on it.
	_ = b.control.SetReadDeadline(time.Unix(1, 0))
}

// discard reads to the end, for as long as something comes within each patience,
// but no more than limit bytes.
func (b *interruptibleBody) discard(pool *buffers, limit int64, patience time.Duration) {
	buf := pool.getSmall()
	defer pool.put(buf)
	for limit > 0 {
		now := time.Now()
		_ = b.control.SetReadDeadline(now.Add(patience))
		_ = b.control.SetWriteDeadline(now.Add(2 * patience)) // the answer comes after it
		n, err := b.Read(*buf)
		if err != nil {
			return
		}
		limit -= int64(n)
	}
}

// more reports whether a body of unknown length has a byte, which it takes. One that
// says nothing for this long counts as one that has.
func (b *interruptibleBody) more(patience time.Duration) bool {
	_ = b.control.SetReadDeadline(time.Now().Add(patience))
	n, err := io.ReadFull(b, make([]byte, 1))
	return n > 0 || err != io.EOF
}

// end says that nobody reads any more, and returns why it was ended from outside
// before, nil if it was not.
func (b *interruptibleBody) end() *recording.Error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	return b.cause
}

// interrupted returns why the body was ended from outside, nil if it was not.
func (b *interruptibleBody) interrupted() *recording.Error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cause
}

// complete reports whether the body was read to the end that its client gave it.
// tusd's reader ends in the same way when the connection breaks.
func (b *interruptibleBody) complete() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.whole
}

func (b *interruptibleBody) Read(p []byte) (int, error) {
	if cause := b.interrupted(); cause != nil {
		return 0, cause
	}
	n, err := b.ReadCloser.Read(p)
	if unwanted := int(min(b.skip, int64(n))); unwanted > 0 {
		b.skip -= int64(unwanted)
		n = copy(p, p[unwanted:n])
	}
	if err == io.EOF {
		b.mu.Lock()
		b.whole = true
		b.mu.Unlock()
	}
	if malformed(err) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// malformed reports whether err is of a body whose own encoding (chunked: RFC 9112, 7.1)
// makes no sense: net/http has no name for that, and tusd would call it the server's
// fault. To the upload it is a body that has ended early.
func malformed(err error) bool {
	var network net.Error
	var tooLarge *http.MaxBytesError
	return err != nil && err != io.EOF && err != io.ErrUnexpectedEOF && err != http.ErrBodyReadAfterClose &&
		!errors.As(err, &network) && !errors.As(err, &tooLarge) && !errors.Is(err, net.ErrClosed)
}
