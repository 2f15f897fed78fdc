// Package web is the console: a page for developers and operators on which to
// sign in with a token, upload, listen, and watch recordings come alive.
//
// It is static files, embedded; the page speaks to the public API like any
// other client. It is no part of the API, has no build step, and loads nothing
// from anywhere else.
//
// It promises that no script but its own runs on the page, that the page can't
// be framed, and that the token stays in the tab: it is read from the fragment
// of the address or from a form, never sent in an address, and forgotten with
// the tab.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed static
var files embed.FS

// policy allows the page what it needs and nothing else: its own files, its own
// server, and audio that it has fetched with the token and plays from memory.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src blob:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// notFound is a problem (RFC 9457): the console also answers the addresses that
// nothing else on the listener knows.
const notFound = `{"type":"/docs#not_found","title":"Not found","status":404,"detail":"There is nothing at this address.","code":"not_found"}` + "\n"

// types are the media types of the files, so that they don't depend on the
// machine's own table.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

type file struct {
	content     []byte
	contentType string
	etag        string
}

// Handler serves the console: the page at /, what it is made of below /assets/.
// Everything else is not found.
func Handler() http.Handler {
	served := load()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		f, ok := served[r.URL.Path]
		if !ok {
			h.Set("Content-Type", "application/problem+json")
			h.Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(notFound)) // the client may have gone
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "The console is only read.", http.StatusMethodNotAllowed)
			return
		}
		h.Set("Content-Type", f.contentType)
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		// Kept, but asked for each time: the files belong together and change
		// together with the server.
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", f.etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
	})
}

// load reads the embedded files by the path they are served at.
func load() map[string]file {
	served := make(map[string]file)
	err := fs.WalkDir(files, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		at := "/assets/" + strings.TrimPrefix(name, "static/")
		if name == "static/index.html" {
			at = "/"
		}
		served[at] = file{content, types[path.Ext(name)], `"` + hex.EncodeToString(sum[:16]) + `"`}
		return nil
	})
	if err != nil { // the files are part of the program
		panic("web: embedded files: " + err.Error())
	}
	return served
}
