package upload

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"unicode/utf8"

	"reprise/recording"
)

// What counts as a number is one for every reader, in one spelling but for zeros before it.
func FuzzNumber(f *testing.F) {
	for _, seed := range []string{"0", "5", "+5", "-0", " 5", "0x10", "1_0", "9223372036854775807", "9223372036854775808", "1e3", "\u0665", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !isNumber(text) {
			if n, err := strconv.ParseUint(text, 10, 63); err == nil && strconv.FormatUint(n, 10) == text {
				t.Fatalf("%q is refused", text)
			}
			return
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 || text[0] < '0' || text[0] > '9' {
			t.Fatalf("%q is taken for %d (%v)", text, n, err)
		}
	})
}

// A draft's request is understood or refused as the client's fault, whatever is in it.
func FuzzDraft(f *testing.F) {
	f.Add("POST", "6", "?1", "audio/mp4", `attachment; filename="talk.m4a"`)
	f.Add("POST", "3", "?0", "audio/wav; x=y", "attachment; filename*=UTF-8''%e2%82%ac")
	f.Add("PATCH", "6", "?0", "application/partial-upload", "")
	f.Add("PATCH", "4", "", "", ";")
	f.Add("POST", "7", "?2", "x/", "attachment; filename*=UTF-8''a%0d%0ab")
	f.Fuzz(func(t *testing.T, method, version, complete, contentType, disposition string) {
		if method != http.MethodPost && method != http.MethodPatch {
			return
		}
		r := httptest.NewRequest(method, "/files/", nil)
		r.Header = http.Header{"Upload-Draft-Interop-Version": {version}, "Upload-Complete": {complete}, "Upload-Incomplete": {complete},
			"Content-Type": {contentType}, "Content-Disposition": {disposition}}
		d, err := draftOf(r)
		if err != nil {
			if code := recording.CodeOf(err); code != recording.CodeInvalidRequest && code != recording.CodeContentType {
				t.Fatalf("%v has the code %s", err, code)
			}
			return
		}
		if d == nil {
			return
		}
		if complete != "?1" && complete != "?0" && (method == http.MethodPost || complete != "") {
			t.Fatalf("%q was taken for an answer to whether it is complete", complete)
		}
		if d.filetype != "" && !utf8.ValidString(d.filetype) {
			t.Fatalf("the type is %q", d.filetype)
		}
	})
}
