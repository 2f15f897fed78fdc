package app

import (
	"net/http"
	"slices"
	"time"

	"github.com/rs/cors"
)

// crossOrigin lets pages of these origins use the server from a browser, with
// the headers that tus clients send and read: those of tus 1.0 and of the IETF's draft,
// by tus-js-client and Uppy. Without origins it answers no preflight, so only the
// server's own pages can.
func crossOrigin(origins []string, next http.Handler) http.Handler {
	if len(origins) == 0 {
		return next
	}
	return cors.New(cors.Options{
		// The library's own list forgives letters in upper case and echoes every one of
		// several Origin headers. Browsers send one, in lower case.
		AllowOriginRequestFunc: func(r *http.Request, origin string) bool {
			return len(r.Header.Values("Origin")) == 1 && slices.Contains(origins, origin)
		},
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodDelete},
		AllowedHeaders: []string{
			"Authorization", "Content-Type", "Content-Disposition", "If-Match", "If-None-Match", "If-Range", "Range", "X-Request-ID",
			"Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Metadata", "Upload-Defer-Length", "Upload-Concat", "Upload-Checksum",
			"Upload-Complete", "Upload-Incomplete", "Upload-Draft-Interop-Version",
		},
		ExposedHeaders: []string{
			"Location", "Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm",
			"Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Defer-Length", "Upload-Concat", "Upload-Expires", "Reprise-Recording", "Reprise-Upload-Ticket",
			"Upload-Complete", "Upload-Incomplete", "Upload-Draft-Interop-Version", "Upload-Limit",
			"Accept-Ranges", "Content-Range", "Content-Disposition", "ETag", "Retry-After", "X-Request-ID",
		},
		MaxAge: int((10 * time.Minute).Seconds()),
	}).Handler(next)
}
