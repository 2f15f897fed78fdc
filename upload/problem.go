package upload

import (
	"errors"
	"net/http"
	"strings"

	"github.com/tus/tusd/v2/pkg/handler"

	"reprise/recording"
)

// fail makes an error fit to go through tusd, which sends the text of any error
// that it doesn't know to the client: the error itself waits in the request, and
// problemWriter answers with it. Nil stays nil.
func (req *request) fail(err error) error {
	var tus handler.Error
	if err == nil || errors.As(err, &tus) {
		return err
	}
	req.failure = err
	return handler.NewError("ERR_REPRISE", "", http.StatusInternalServerError)
}

// problemWriter turns the plain-text errors of tusd into the server's own form.
type problemWriter struct {
	http.ResponseWriter
	s   *Server
	r   *http.Request
	req *request

	failed bool // tusd is answering with an error
	done   bool // ours is written
}

// Unwrap lets http.ResponseController reach the connection's deadlines.
func (w *problemWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *problemWriter) WriteHeader(status int) {
	if status < 200 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	// From here on an interruption would hit the next request of the connection.
	if w.req.body.end() != nil {
		w.Header().Set("Connection", "close")
	}
	u, ok := w.req.row()
	if w.req.draft != nil {
		w.req.draft.answer(w.Header(), w.r.Method, status, u)
	}
	if ok && u.Expires() && w.r.Method != http.MethodDelete {
		w.Header().Set("Upload-Expires", u.ExpiresAt.UTC().Format(http.TimeFormat))
	}
	if status < 400 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.failed = true
	for _, h := range []string{"Content-Length", "Content-Type", ticketHeader} {
		w.Header().Del(h)
	}
	switch {
	case w.req.failure != nil:
		w.answer(w.req.failure)
	case w.r.Method == http.MethodHead: // tusd sends no body, so no code
		w.answer(headError(status))
	}
}

func (w *problemWriter) Write(p []byte) (int, error) {
	if !w.failed {
		return w.ResponseWriter.Write(p)
	}
	if !w.done {
		code, _, _ := strings.Cut(string(p), ":")
		w.answer(tusdError(code, w.s.o.MaxSizeBytes))
	}
	return len(p), nil
}

func (w *problemWriter) answer(err error) {
	w.done = true
	w.s.o.WriteProblem(w.ResponseWriter, w.r, err)
}

func headError(status int) error {
	if status == http.StatusNotFound {
		return recording.ErrNotFound
	}
	return recording.Errorf(recording.CodeUnavailable, "The upload can't be looked up right now; try again.")
}

// optionsWriter adds to what tusd says of itself what is done without it.
type optionsWriter struct{ http.ResponseWriter }

func (w *optionsWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *optionsWriter) WriteHeader(status int) {
	h := w.Header()
	h.Set("Tus-Extension", h.Get("Tus-Extension")+",checksum,expiration")
	h.Set("Tus-Checksum-Algorithm", checksumAlgorithms)
	w.ResponseWriter.WriteHeader(status)
}

// tusdError says in our words what tusd means by its code.
func tusdError(code string, maxSize int64) error {
	switch code {
	case "ERR_UPLOAD_NOT_FOUND":
		return recording.ErrNotFound
	case "ERR_MODIFY_FINAL":
		return errFinal
	case "ERR_MISMATCHED_OFFSET":
		return recording.Errorf(recording.CodeOffsetMismatch, "Upload-Offset is not the upload's offset; ask for it with HEAD and resume from there.")
	case "ERR_INVALID_OFFSET":
		return recording.Errorf(recording.CodeInvalidRequest, "Upload-Offset is missing or not a whole number of 0 or more.")
	case "ERR_INVALID_UPLOAD_LENGTH":
		return recording.Errorf(recording.CodeInvalidRequest, "Upload-Length is missing or not a whole number of 0 or more.")
	case "ERR_AMBIGUOUS_UPLOAD_LENGTH":
		return recording.Errorf(recording.CodeInvalidRequest, "Send either Upload-Length or Upload-Defer-Length, not both.")
	case "ERR_INVALID_UPLOAD_LENGTH_DEFER":
		return recording.Errorf(recording.CodeInvalidRequest, "Upload-Defer-Length can only be 1.")
	case "ERR_MAX_SIZE_EXCEEDED":
		return recording.Errorf(recording.CodeTooLarge, "At most %d bytes are accepted.", maxSize)
	case "ERR_UPLOAD_SIZE_EXCEEDED":
		return recording.Errorf(recording.CodeTooLarge, "The body goes beyond the upload's length, or beyond the %d bytes that are accepted.", maxSize)
	case "ERR_UNEXPECTED_EOF":
		return recording.Errorf(recording.CodeInvalidRequest, "The body ended before its Content-Length; resume.")
	case "ERR_READ_TIMEOUT", "ERR_CONNECTION_RESET", "ERR_LOCK_TIMEOUT":
		// Not a 4xx: tus clients take those as final.
		return recording.Errorf(recording.CodeUnavailable, "The connection stalled; resume.")
	}
	return errors.New("tusd answered " + code)
}
