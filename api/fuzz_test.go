package api

import (
	"mime"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"reprise/recording"
)

// Whatever a file is called, its header is printable ASCII and says one name.
func FuzzContentDisposition(f *testing.F) {
	for _, seed := range []string{"talk.m4a", `a";x="b`, "a\r\nSet-Cookie: x", "\u202egpj.exe", "../../etc/passwd", strings.Repeat("\u00e9", 127), "\xff", "%41", ".", " ", "a\u2028b", "\\"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		r := recording.Recording{Filename: name}
		clean := originalName(r)
		if clean == "" || strings.ContainsAny(clean, "/\\\r\n\x00") || strings.ContainsFunc(clean, func(c rune) bool { return unicode.Is(unicode.Bidi_Control, c) }) {
			t.Fatalf("%q becomes %q", name, clean)
		}
		header := contentDisposition("attachment", clean)
		if strings.ContainsFunc(header, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Fatalf("%q gives the header %q", name, header)
		}
		kind, params, err := mime.ParseMediaType(header)
		if err != nil || kind != "attachment" {
			t.Fatalf("%q gives the header %q: %v", name, header, err)
		}
		if utf8.ValidString(clean) && params["filename"] != clean {
			t.Fatalf("%q is read as %q", clean, params["filename"])
		}
		if artifactName(r, recording.ArtifactAAC) == "" {
			t.Fatal("an artifact has no name")
		}
	})
}

// A type that is answered is one of ours.
func FuzzOriginalType(f *testing.F) {
	f.Add("wav", "audio/wav")
	f.Add("", "AUDIO/X-WAV; a=b")
	f.Add("x", "text/html")
	f.Fuzz(func(t *testing.T, container, declared string) {
		r := recording.Recording{Filetype: declared, Media: &recording.Media{Container: container}}
		got := originalType(r)
		if got != "application/octet-stream" && !strings.HasPrefix(got, "audio/") && !strings.HasPrefix(got, "video/") || strings.ContainsAny(got, "\r\n;, ") {
			t.Fatalf("%q of %q declared as %q", got, container, declared)
		}
	})
}

func FuzzConditions(f *testing.F) {
	f.Add(`"a"`, "bytes=0-1")
	f.Add(`W/"a", *`, "bytes=+1-2")
	f.Add(`,,`, "items=1")
	f.Add("*", "bytes=-9223372036854775809,0-")
	f.Fuzz(func(t *testing.T, tags, byteRange string) {
		if names(tags, `"x"`) && !strings.Contains(tags, `"x"`) && !strings.Contains(tags, "*") {
			t.Fatalf("%q names an ETag that is not in it", tags)
		}
		if !plainRange(byteRange) {
			return
		}
		// Go's own reader has the last word.
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Range"] = []string{byteRange}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789"))
		if w.Code != http.StatusOK && w.Code != http.StatusPartialContent && w.Code != http.StatusRequestedRangeNotSatisfiable {
			t.Fatalf("%q gives %d", byteRange, w.Code)
		}
	})
}

func FuzzRequestID(f *testing.F) {
	f.Add("abc-1")
	f.Add("a b")
	f.Add(strings.Repeat("x", 65))
	f.Fuzz(func(t *testing.T, text string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header = http.Header{"X-Request-Id": {text}}
		id := requestID(r)
		if id == "" || len(id) > maxRequestIDBytes || strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`"\=<>`, c) }) {
			t.Fatalf("%q becomes %q", text, id)
		}
	})
}
