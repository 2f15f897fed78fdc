package limits

import (
	"io"
	"net/http"
	"time"
)

// WritePatience is how long a client may take none of an answer. A server's
// WriteTimeout has to be the same: it is for what is sent before there is an answer,
// and Pace goes on from there.
const WritePatience = 2 * time.Minute

// writePiece is what has to be taken within WritePatience: 256 bytes a second are
// enough, and a player that reads as it plays needs far more.
const writePiece = 32 << 10

// PaceOptions say how long a connection may do nothing.
type PaceOptions struct {
	// Long reports whether a request's handler sets deadlines for its body itself, each
	// time it reads; Body then is for the time before the first.
	Long func(r *http.Request) bool
	// Body is how long a whole body may take to come that isn't long.
	Body time.Duration
	// Write is WritePatience, but for tests.
	Write time.Duration
}

// Pace bounds the time that a client lets the server wait: for a body that doesn't
// come, and for an answer that it doesn't take. net/http's own timeouts are for whole
// requests and answers, however large; and without them it waits for ever for the
// body that a handler hasn't read.
func Pace(next http.Handler, o PaceOptions) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		// Only with a body: otherwise net/http reads what the client sends next, and takes
		// the end of that for the end of the client.
		if r.ContentLength != 0 {
			_ = control.SetReadDeadline(time.Now().Add(o.Body)) // a server without deadlines has other troubles
			if !o.Long(r) {
				r.Body = &shortBody{r.Body, control}
			}
		}
		next.ServeHTTP(&pacedWriter{ResponseWriter: w, control: control, patience: o.Write}, r)
	})
}

// shortBody ends its deadline with the body: see Pace.
type shortBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *shortBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// pacedWriter puts the deadline off with each piece of an answer.
type pacedWriter struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
}

// Unwrap is for http.ResponseController.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *pacedWriter) extend() { _ = w.control.SetWriteDeadline(time.Now().Add(w.patience)) }

// WriteHeader implements http.ResponseWriter.
func (w *pacedWriter) WriteHeader(status int) {
	if status != http.StatusSwitchingProtocols { // the deadlines are the new protocol's from now on
		w.extend()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *pacedWriter) Write(p []byte) (written int, err error) {
	for {
		piece := p[written:min(len(p), written+writePiece)]
		w.extend()
		n, err := w.ResponseWriter.Write(piece)
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}
