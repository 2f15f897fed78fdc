package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reprise/recording"
)

// direct makes a server redirect to its storage.
func direct(s *server, o *Options) { o.Signer = s.fake }

func TestFilesAreInTheStorage(t *testing.T) {
	t.Parallel()
	s := newServer(t, direct)
	r := s.add(alice)
	s.recordings[0].Filename = "Großmutter.wav"
	for _, f := range filesOf(r) {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			s.signed = nil
			w := s.do(request{as: alice, method: method, path: "/v1/recordings/" + r.ID.String() + f.query})
			want := map[string]string{"Location": storageURL + f.key, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
			got := map[string]string{}
			for name, values := range w.Header() {
				got[name] = strings.Join(values, " AND ")
			}
			if diff := cmp.Diff(want, got); diff != "" || w.Code != http.StatusTemporaryRedirect || w.Body.Len() != 0 {
				t.Errorf("%s %s: status %d, body %q %s", method, f.query, w.Code, w.Body, diff)
			}
			read := recording.SignedRead{Method: method, ContentType: f.contentType, Disposition: f.disposition, Lifetime: 5 * time.Minute}
			if diff := cmp.Diff([]recording.SignedRead{read}, s.signed); diff != "" {
				t.Errorf("%s %s: signed %s", method, f.query, diff)
			}
		}
	}
	if s.opens != 0 {
		t.Errorf("%d objects were opened", s.opens)
	}
}

// The storage has ETags of its own: what names ours is answered here, and what
// names the storage's goes there. Nothing is opened to say that nothing is new.
func TestConditionsOfRedirects(t *testing.T) {
	t.Parallel()
	s := newServer(t, direct)
	r := s.add(alice)
	for _, f := range filesOf(r) {
		content := string(s.objects[f.key])
		ours, theirs := fmt.Sprintf(`"%x"`, f.sha256), `"5d41402abc4b2a76b9719d911017c592-3"`
		there := storageURL + f.key
		tests := []struct {
			headers  []string
			status   int
			location string
			body     string
		}{
			{[]string{"Range", "bytes=0-2"}, http.StatusTemporaryRedirect, there, ""},
			{[]string{"If-None-Match", ours}, http.StatusNotModified, "", ""},
			{[]string{"If-None-Match", theirs + ", W/" + ours}, http.StatusNotModified, "", ""},
			{[]string{"If-None-Match", "*"}, http.StatusNotModified, "", ""},
			{[]string{"If-None-Match", theirs}, http.StatusTemporaryRedirect, there, ""},
			{[]string{"If-None-Match", ours[1 : len(ours)-1]}, http.StatusTemporaryRedirect, there, ""}, // not an ETag
			{[]string{"If-Match", theirs}, http.StatusTemporaryRedirect, there, ""},
			{[]string{"If-Match", theirs + "," + ours}, http.StatusOK, "", content},
			{[]string{"If-Match", "*"}, http.StatusOK, "", content},
			{[]string{"If-Match", theirs, "If-None-Match", ours}, http.StatusTemporaryRedirect, there, ""}, // 412 there
			{[]string{"If-Match", ours, "If-None-Match", ours}, http.StatusNotModified, "", ""},
			{[]string{"If-Modified-Since", "Mon, 04 May 2026 09:30:00 GMT"}, http.StatusTemporaryRedirect, there, ""},
			{[]string{"If-Range", ours, "Range", "bytes=0-2"}, http.StatusPartialContent, "", content[:3]},
			// Whether it is the current one's, only the storage knows, and not every
			// storage looks.
			{[]string{"If-Range", theirs, "Range", "bytes=0-2"}, http.StatusOK, "", content},
			{[]string{"If-Range", "Mon, 04 May 2026 09:30:00 GMT", "Range", "bytes=0-2"}, http.StatusPartialContent, "", content[:3]},
		}
		for _, tt := range tests {
			w := s.get(alice, "/v1/recordings/"+r.ID.String()+f.query, tt.headers...)
			if w.Code != tt.status || w.Header().Get("Location") != tt.location || w.Body.String() != tt.body {
				t.Errorf("%s, %s: %d %q %v", f.query, tt.headers, w.Code, w.Body, w.Header())
			}
			if etag := w.Header().Get("Etag"); (etag == ours) != (tt.location == "") {
				t.Errorf("%s, %s: ETag %s", f.query, tt.headers, etag)
			}
		}
	}
}

func TestNothingIsOpenedToSayThatNothingIsNew(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := s.add(alice)
	for _, f := range filesOf(r) {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			w := s.do(request{
				as: alice, method: method, path: "/v1/recordings/" + r.ID.String() + f.query,
				headers: []string{"If-None-Match", fmt.Sprintf(`"%x"`, f.sha256)},
			})
			if w.Code != http.StatusNotModified || s.opens != 0 {
				t.Errorf("%s %s: %d, %d objects opened", method, f.query, w.Code, s.opens)
			}
		}
	}
}

func TestHeadOpensNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := s.add(alice)
	path := "/v1/recordings/" + r.ID.String() + "/audio"
	size := len(s.objects[r.Artifacts[0].ObjectKey])
	for ranges, want := range map[string]int{"": size, "bytes=1-3": 3} {
		w := s.do(request{as: alice, method: http.MethodHead, path: path, headers: []string{"Range", ranges}})
		if got := w.Header().Get("Content-Length"); w.Code >= 300 || got != fmt.Sprint(want) || s.opens != 0 {
			t.Errorf("range %q: %d, %s bytes, %d objects opened", ranges, w.Code, got, s.opens)
		}
	}
	s.openErr = recording.Errorf(recording.CodeUnavailable, "The storage can't be reached.")
	if w := s.do(request{as: alice, method: http.MethodHead, path: path}); w.Code != http.StatusServiceUnavailable {
		t.Errorf("storage away: %d", w.Code)
	}
}

// A client that can't follow says so; a storage without URLs has none to give.
func TestServerSendsWhatIsNotRedirected(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		query    string
		unsigned bool
	}{
		"asked for":           {"&redirect=false", false},
		"storage without one": {"", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, direct)
			s.unsigned = tt.unsigned
			r := s.add(alice)
			w := s.get(alice, "/v1/recordings/"+r.ID.String()+"/audio?format=opus"+tt.query)
			if w.Code != http.StatusOK || w.Body.String() != string(s.objects[r.Artifacts[1].ObjectKey]) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	s := newServer(t, direct)
	r := s.add(alice)
	wantProblem(t, s.get(alice, "/v1/recordings/"+r.ID.String()+"/audio?redirect=maybe"), recording.CodeInvalidRequest)
}

// No URL is made for somebody else, or of what isn't there yet.
func TestURLsAreForOwners(t *testing.T) {
	t.Parallel()
	s := newServer(t, direct)
	r := s.add(alice)
	for _, f := range filesOf(r) {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			w := s.do(request{as: bob, method: method, path: "/v1/recordings/" + r.ID.String() + f.query, headers: []string{"If-None-Match", "*"}})
			if w.Code != http.StatusNotFound || w.Header().Get("Location") != "" {
				t.Errorf("%s %s: %d %v", method, f.query, w.Code, w.Header())
			}
		}
	}
	s.recordings[0].State, s.recordings[0].SizeBytes, s.recordings[0].Artifacts = recording.StateUploading, nil, nil
	for _, f := range filesOf(r) {
		wantProblem(t, s.get(alice, "/v1/recordings/"+r.ID.String()+f.query), recording.CodeConflict)
	}
	if s.signed != nil {
		t.Errorf("URLs were made: %v", s.signed)
	}
}

func TestSigningFails(t *testing.T) {
	t.Parallel()
	s := newServer(t, direct)
	path := "/v1/recordings/" + s.add(alice).ID.String() + "/peaks"
	s.signErr = context.DeadlineExceeded
	wantProblem(t, s.get(alice, path), recording.CodeInternal)
}
