package web

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, method, path string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	r.Header = header
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w
}

func TestHandler(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method, path string
		status       int
		contentType  string
	}{
		"page":         {"GET", "/", 200, "text/html; charset=utf-8"},
		"script":       {"GET", "/assets/app.js", 200, "text/javascript; charset=utf-8"},
		"style":        {"GET", "/assets/style.css", 200, "text/css; charset=utf-8"},
		"icon":         {"GET", "/assets/icon.svg", 200, "image/svg+xml"},
		"head":         {"HEAD", "/", 200, "text/html; charset=utf-8"},
		"unknown":      {"GET", "/v1/nothing", 404, "application/problem+json"},
		"unknown POST": {"POST", "/v1/nothing", 404, "application/problem+json"},
		"folder":       {"GET", "/assets/", 404, "application/problem+json"},
		"traversal":    {"GET", "/assets/../web.go", 404, "application/problem+json"},
		"write":        {"POST", "/", 405, "text/plain; charset=utf-8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := get(t, c.method, c.path, nil)
			if w.Code != c.status || w.Header().Get("Content-Type") != c.contentType {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Header().Get("Content-Type"), c.status, c.contentType)
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Error("nosniff is missing")
			}
			if (c.method == "HEAD") != (w.Body.Len() == 0) {
				t.Errorf("the body has %d bytes", w.Body.Len())
			}
		})
	}
}

func TestPageIsRevalidated(t *testing.T) {
	t.Parallel()
	etag := get(t, "GET", "/", nil).Header().Get("ETag")
	if w := get(t, "GET", "/", http.Header{"If-None-Match": {etag}}); w.Code != http.StatusNotModified {
		t.Errorf("the status is %d, want 304", w.Code)
	}
	if w := get(t, "GET", "/", http.Header{"If-None-Match": {`"older"`}}); w.Code != http.StatusOK {
		t.Errorf("the status is %d, want 200", w.Code)
	}
}

// TestPolicy holds the files to the policy they are served with: nothing
// inline, nothing from elsewhere, and nothing that is named and isn't there.
func TestPolicy(t *testing.T) {
	t.Parallel()
	got := get(t, "GET", "/", nil).Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "media-src blob:", "connect-src 'self'"} {
		if !strings.Contains(got, want) {
			t.Errorf("the policy lacks %s: %s", want, got)
		}
	}
	forbidden := regexp.MustCompile(`https?://|<style|\sstyle=|\son[a-z]+="|javascript:|innerHTML|eval\(|@import`)
	local := regexp.MustCompile(`/assets/[\w.-]+`)
	relative := regexp.MustCompile(`from "\./([\w.-]+)"`)
	served := load()
	err := fs.WalkDir(files, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(content), `xmlns="http://www.w3.org/2000/svg"`, "")
		text = strings.ReplaceAll(text, `"http://www.w3.org/2000/svg"`, "")
		if found := forbidden.FindAllString(text, -1); found != nil {
			t.Errorf("%s has %q", name, found)
		}
		for _, at := range local.FindAllString(text, -1) {
			if _, ok := served[at]; !ok {
				t.Errorf("%s names %s, which isn't there", name, at)
			}
		}
		for _, m := range relative.FindAllStringSubmatch(text, -1) {
			if _, ok := served["/assets/"+m[1]]; !ok {
				t.Errorf("%s imports %s, which isn't there", name, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for at, f := range served {
		if f.contentType == "" {
			t.Errorf("%s has no type", at)
		}
	}
}

// TestFilesComeFromTheServer: the policy lets the page connect nowhere else, so a
// redirect to the storage would fail.
func TestFilesComeFromTheServer(t *testing.T) {
	t.Parallel()
	script := get(t, "GET", "/assets/api.js", nil).Body.String()
	found := regexp.MustCompile("/v1/recordings/[^`]*/(audio|peaks)[^`]*`").FindAllString(script, -1)
	if len(found) != 2 {
		t.Errorf("the page asks for files at %q", found)
	}
	for _, at := range found {
		if !strings.Contains(at, "redirect=false") {
			t.Errorf("the page follows redirects of %s", at)
		}
	}
}
