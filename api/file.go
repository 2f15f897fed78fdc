package api

import (
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"reprise/recording"
)

// signedLifetime is how long a URL of the storage is valid: long enough to begin a
// download or to listen on for a while, short for who finds it somewhere. A player that
// seeks later asks here again.
const signedLifetime = 5 * time.Minute

// file is something stored that can be served.
type file struct {
	key         string
	contentType string
	disposition string
	etag        string // strong, with its quotes; the storage has others
}

func etagOf(sha256 []byte) string { return `"` + hex.EncodeToString(sha256) + `"` }

// Reading is how a client wants a file, and what of it. It is exported because
// huma looks into no other embedded struct.
type Reading struct {
	Redirect    bool   `query:"redirect" default:"true" doc:"false: the bytes come from this server, never by a redirect to the storage. For web pages, and for players that send this server's token along."`
	Range       string `header:"Range" doc:"Bytes to send, for example bytes=0-65535."`
	IfMatch     string `header:"If-Match" hidden:"true"`
	IfNoneMatch string `header:"If-None-Match" doc:"ETags of copies the client has. Those that this server gave and those that the storage gave are both known."`
	IfRange     string `header:"If-Range" doc:"The ETag that Range goes with; for a file that has another the whole is sent. The server answers it itself, without a redirect, and knows only its own ETags."`

	method string
}

// Resolve implements huma.Resolver.
func (in *Reading) Resolve(ctx huma.Context) []error {
	in.method = ctx.Method()
	return nil
}

// serveFile returns an answer that serves a file or says where it is.
func (a *API) serveFile(ctx context.Context, f file, in Reading) (*huma.StreamResponse, error) {
	if in.IfMatch == "" && names(in.IfNoneMatch, f.etag) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			_, w := humago.Unwrap(ctx)
			f.setHeaders(w.Header())
			w.WriteHeader(http.StatusNotModified)
		}}, nil
	}
	if !plainRange(in.Range) {
		return nil, recording.Errorf(recording.CodeRangeInvalid, "The Range is malformed; send one such as bytes=0-65535.")
	}
	url, err := a.signedURL(ctx, f, in)
	if err != nil {
		return nil, err
	}
	if url == "" {
		return a.stream(ctx, f, in.method)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		_, w := humago.Unwrap(ctx)
		// Not to be kept (requirePrincipal has said so): the URL ends soon, and who may
		// have it is asked each time.
		w.Header().Set("Location", url)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}}, nil
}

// signedURL returns where the client gets the file from the storage itself, "" if
// this server is to send it.
//
// Clients take their conditions along to the storage, which has ETags of its own:
// one that a client got there, it understands there. What names ours is answered
// here, or it would fail there. If-Range always is, because not every storage knows it:
// one that doesn't would send a range of another file than that of the client's.
func (a *API) signedURL(ctx context.Context, f file, in Reading) (string, error) {
	if a.signer == nil || !in.Redirect || in.IfRange != "" || names(in.IfMatch, f.etag) {
		return "", nil
	}
	return a.signer.SignedURL(ctx, f.key, recording.SignedRead{
		Method: in.method, ContentType: f.contentType, Disposition: f.disposition, Lifetime: signedLifetime,
	})
}

// plainRange reports whether a Range header has nothing in it that one of bytes has not
// (RFC 9110, 14.1.2). Who reads it then, net/http or a storage, takes a sign for part of
// a number, or not.
func plainRange(header string) bool {
	ranges, ofBytes := strings.CutPrefix(header, "bytes=")
	return header == "" || ofBytes && !strings.ContainsFunc(ranges, func(c rune) bool { return !strings.ContainsRune("0123456789-, \t", c) })
}

// names reports whether a list of ETags (RFC 9110, 8.8.3) has etag among them,
// weak or strong, or is the asterisk that stands for any.
func names(list, etag string) bool {
	for tag := range strings.SplitSeq(list, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}

func (f file) setHeaders(h http.Header) {
	h.Set("ETag", f.etag)
	// Kept by the client only, and shown only after asking: it may be deleted.
	h.Set("Cache-Control", "private, no-cache")
	// A page opened from here can do nothing, whatever its bytes are.
	h.Set("Content-Security-Policy", edgePolicy+"; sandbox")
}

// stream returns an answer that serves a file by this server. For HEAD it only
// asks the storage about the file.
func (a *API) stream(ctx context.Context, f file, method string) (*huma.StreamResponse, error) {
	object, err := a.open(ctx, f.key, method)
	if recording.CodeOf(err) == recording.CodeNotFound {
		// The catalog knows it, so it must be there: not the client's mistake.
		return nil, recording.Wrap(recording.CodeInternal, err, "The file is missing.")
	}
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer object.Close() // it was only read
		r, w := humago.Unwrap(ctx)
		h := w.Header()
		f.setHeaders(h)
		h.Set("Content-Type", f.contentType)
		h.Set("Content-Disposition", f.disposition)
		info := object.Info()
		http.ServeContent(&rangeWriter{ResponseWriter: w, api: a, r: r, size: info.SizeBytes}, r, "", info.ModifiedAt, object)
	}}, nil
}

func (a *API) open(ctx context.Context, key, method string) (recording.Object, error) {
	if method != http.MethodHead {
		return a.objects.Open(ctx, key)
	}
	info, err := a.objects.Stat(ctx, key)
	return unread{io.NewSectionReader(nil, 0, info.SizeBytes), info}, err
}

// unread is an object for http.ServeContent that has a size, and bytes that nobody
// reads.
type unread struct {
	*io.SectionReader
	info recording.ObjectInfo
}

func (u unread) Info() recording.ObjectInfo { return u.info }

func (u unread) Close() error { return nil }

// rangeWriter makes http.ServeContent's answer to a bad Range a problem.
type rangeWriter struct {
	http.ResponseWriter
	api     *API
	r       *http.Request
	size    int64
	refused bool
}

// Unwrap is for http.ResponseController.
func (w *rangeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *rangeWriter) WriteHeader(status int) {
	if status != http.StatusRequestedRangeNotSatisfiable {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.refused = true
	w.Header().Del("Content-Disposition")
	w.api.problems.Write(w.ResponseWriter, w.r, recording.Errorf(recording.CodeRangeInvalid, "The file has %d bytes; the Range is malformed or outside of them.", w.size))
}

// Write implements http.ResponseWriter.
func (w *rangeWriter) Write(p []byte) (int, error) {
	if w.refused { // the text that goes with the refusal
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}
