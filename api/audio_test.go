package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/recording"
)

// served is a file of a recording and what its answers must be.
type served struct {
	query, key, contentType, disposition string
	sha256                               []byte
}

func filesOf(r recording.Recording) []served {
	inline := func(ext string) string {
		return fmt.Sprintf(`inline; filename="Gro_mutter.%[1]s"; filename*=UTF-8''Gro%%C3%%9Fmutter.%[1]s`, ext)
	}
	return []served{
		{"/audio?format=original", r.ObjectKey, "audio/wav", `attachment; filename="Gro_mutter.wav"; filename*=UTF-8''Gro%C3%9Fmutter.wav`, r.SHA256},
		{"/audio", r.Artifacts[0].ObjectKey, "audio/mp4", inline("m4a"), r.Artifacts[0].SHA256},
		{"/audio?format=aac", r.Artifacts[0].ObjectKey, "audio/mp4", inline("m4a"), r.Artifacts[0].SHA256},
		{"/audio?format=opus", r.Artifacts[1].ObjectKey, "audio/ogg", inline("opus"), r.Artifacts[1].SHA256},
		{"/peaks", r.Artifacts[2].ObjectKey, "application/json", inline("peaks.json"), r.Artifacts[2].SHA256},
		{"/peaks?format=dat", r.Artifacts[3].ObjectKey, "application/octet-stream", inline("peaks.dat"), r.Artifacts[3].SHA256},
	}
}

func TestFilesAreServed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := s.add(alice)
	s.recordings[0].Filename = "Großmutter.wav"
	for _, f := range filesOf(r) {
		content := string(s.objects[f.key])
		for method, body := range map[string]string{http.MethodGet: content, http.MethodHead: ""} {
			w := s.do(request{as: alice, method: method, path: "/v1/recordings/" + r.ID.String() + f.query})
			want := map[string]string{
				"Content-Type": f.contentType, "Content-Length": fmt.Sprint(len(content)), "Accept-Ranges": "bytes", "Etag": fmt.Sprintf(`"%x"`, f.sha256),
				"Content-Disposition": f.disposition, "X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache",
				"Last-Modified": "Mon, 04 May 2026 09:30:00 GMT", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
			}
			got := map[string]string{}
			for name, values := range w.Header() {
				got[name] = strings.Join(values, " AND ")
			}
			if diff := cmp.Diff(want, got); diff != "" || w.Code != http.StatusOK || w.Body.String() != body {
				t.Errorf("%s %s: status %d, body %q %s", method, f.query, w.Code, w.Body, diff)
			}
		}
	}
}

func TestRangesAndConditions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := s.add(alice)
	for _, f := range filesOf(r) {
		content := string(s.objects[f.key])
		size, etag := len(content), fmt.Sprintf(`"%x"`, f.sha256)
		path := "/v1/recordings/" + r.ID.String() + f.query
		tests := []struct {
			headers      []string
			status       int
			body, ranges string
		}{
			{[]string{"Range", "bytes=0-2"}, http.StatusPartialContent, content[:3], fmt.Sprintf("bytes 0-2/%d", size)},
			{[]string{"Range", "bytes=-4"}, http.StatusPartialContent, content[size-4:], fmt.Sprintf("bytes %d-%d/%d", size-4, size-1, size)},
			{[]string{"Range", "bytes=4-"}, http.StatusPartialContent, content[4:], fmt.Sprintf("bytes 4-%d/%d", size-1, size)},
			{[]string{"If-None-Match", etag}, http.StatusNotModified, "", ""},
			{[]string{"If-None-Match", `"other"`}, http.StatusOK, content, ""},
			{[]string{"If-Modified-Since", "Mon, 04 May 2026 09:30:00 GMT"}, http.StatusNotModified, "", ""},
			{[]string{"If-Match", `"other"`}, http.StatusPreconditionFailed, "", ""},
			{[]string{"If-Range", etag, "Range", "bytes=0-2"}, http.StatusPartialContent, content[:3], fmt.Sprintf("bytes 0-2/%d", size)},
			// A range of an older file is answered with the whole of this one.
			{[]string{"If-Range", `"other"`, "Range", "bytes=0-2"}, http.StatusOK, content, ""},
		}
		for _, tt := range tests {
			w := s.get(alice, path, tt.headers...)
			if w.Code != tt.status || w.Body.String() != tt.body || w.Header().Get("Content-Range") != tt.ranges {
				t.Errorf("%s, %s: %d %q %v", f.query, tt.headers, w.Code, w.Body, w.Header())
			}
		}
		for bad, ranges := range map[string]string{"bytes=9999-": fmt.Sprintf("bytes */%d", size), "bytes=x": "", "bytes=5-3": ""} {
			w := s.get(alice, path, "Range", bad)
			wantProblem(t, w, recording.CodeRangeInvalid)
			if w.Header().Get("Content-Range") != ranges || w.Header().Get("Content-Disposition") != "" || w.Header().Get("Etag") != "" {
				t.Errorf("%s, %s: %v", f.query, bad, w.Header())
			}
		}
	}
}

func TestFilesThatAreNotThereYet(t *testing.T) {
	t.Parallel()
	size := int64(5)
	tests := []struct {
		name     string
		r        recording.Recording
		original bool // can be had
		detail   string
	}{
		{"uploading", recording.Recording{State: recording.StateUploading}, false, "The upload is not complete yet."},
		{"received", recording.Recording{State: recording.StateReceived, Stage: recording.StageStore, SizeBytes: &size}, false, "The recording is still being processed; wait for the event recording.ready."},
		{"processing", recording.Recording{State: recording.StateProcessing, Stage: recording.StageProbe, SizeBytes: &size}, true, "The recording is still being processed; wait for the event recording.ready."},
		{"refused", recording.Recording{State: recording.StateRejected, Reason: recording.ReasonNotAudio, Detail: "This is a picture."}, false, "The recording was rejected (not_audio), so there is none of this. This is a picture."},
		{"rejected", recording.Recording{State: recording.StateRejected, Reason: recording.ReasonTruncated, Detail: "It ends early.", SizeBytes: &size}, true, "The recording was rejected (truncated), so there is none of this. It ends early."},
		{"failed", recording.Recording{State: recording.StateFailed, Stage: recording.StageVerify, Reason: recording.ReasonInternal, Detail: "Sorry.", SizeBytes: &size}, true, "Processing failed (processing_error), so there is none of this yet. Sorry."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			tt.r.ID, tt.r.OwnerID, tt.r.ObjectKey, tt.r.SHA256 = uuid.New(), alice.UserID, "original", make([]byte, 32)
			s.recordings, s.objects = []recording.Recording{tt.r}, map[string][]byte{"original": []byte("12345")}
			path := "/v1/recordings/" + tt.r.ID.String()
			for _, query := range []string{"/audio", "/audio?format=opus", "/peaks", "/peaks?format=dat"} {
				if p := wantProblem(t, s.get(alice, path+query), recording.CodeConflict); p.Detail != tt.detail {
					t.Errorf("%s: %q", query, p.Detail)
				}
			}
			w := s.get(alice, path+"/audio?format=original")
			if tt.original {
				if w.Code != http.StatusOK || w.Body.String() != "12345" {
					t.Errorf("original: %d %s", w.Code, w.Body)
				}
			} else if p := wantProblem(t, w, recording.CodeConflict); p.Detail != tt.detail {
				t.Errorf("original: %q", p.Detail)
			}
		})
	}
}

func TestStorageErrors(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := s.add(alice)
	path := "/v1/recordings/" + r.ID.String() + "/audio"

	s.openErr = recording.Errorf(recording.CodeUnavailable, "The storage can't be reached.")
	wantProblem(t, s.get(alice, path), recording.CodeUnavailable)

	s.openErr, s.objects = nil, nil
	// The catalog has it, so its absence is not "not found" but our fault.
	if p := wantProblem(t, s.get(alice, path), recording.CodeInternal); !strings.Contains(s.log.String(), p.ID) {
		t.Errorf("log: %s", s.log)
	}
	s.openErr = context.DeadlineExceeded
	wantProblem(t, s.get(alice, path), recording.CodeInternal)
}

func TestOriginalType(t *testing.T) {
	t.Parallel()
	tests := []struct{ container, declared, want string }{
		{"wav", "audio/wav", "audio/wav"},
		{"wav", "audio/x-wav", "audio/x-wav"},
		{"wav", "audio/mpeg", "audio/wav"}, // what is in it goes first
		{"mp3", "", "audio/mpeg"},
		{"mov,mp4,m4a,3gp,3g2,mj2", "audio/3gpp", "audio/3gpp"},
		{"mov,mp4,m4a,3gp,3g2,mj2", "audio/x-m4a", "audio/x-m4a"},
		{"ogg", "audio/ogg; codecs=opus", "audio/ogg"},
		{"flac", "text/html", "audio/flac"},
		{"matroska,webm", "", "audio/webm"},
		{"aac", "", "audio/aac"},
		{"amr", "", "audio/amr"},
		{"aiff", "", "audio/aiff"},
		{"caf", "", "audio/x-caf"},
		{"", "audio/wav", "audio/wav"},
		{"", "AUDIO/WAV", "audio/wav"},
		{"au", "audio/basic", "application/octet-stream"}, // of no container that is accepted
		{"", "audio/x-my-secret", "application/octet-stream"},
		{"", "text/html", "application/octet-stream"},
		{"", "audio/", "application/octet-stream"},
		{"", "", "application/octet-stream"},
		{"", "audio/wav\r\nX: y", "application/octet-stream"},
	}
	for _, tt := range tests {
		r := recording.Recording{Filetype: tt.declared}
		if tt.container != "" {
			r.Media = &recording.Media{Container: tt.container}
		}
		if got := originalType(r); got != tt.want {
			t.Errorf("%q declared as %q: %q, want %q", tt.container, tt.declared, got, tt.want)
		}
	}
}

func TestFilenames(t *testing.T) {
	t.Parallel()
	id := uuid.MustParse("01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c")
	tests := []struct{ name, original, aac string }{
		{"a.wav", `attachment; filename="a.wav"`, "a.m4a"},
		{"no extension", `attachment; filename="no extension"`, "no extension.m4a"},
		{"two.dots.mp3", `attachment; filename="two.dots.mp3"`, "two.dots.m4a"},
		{"", `attachment; filename="` + id.String() + `"`, id.String() + ".m4a"},
		{"...", `attachment; filename="` + id.String() + `"`, id.String() + ".m4a"},
		{".wav", `attachment; filename="wav"`, "wav.m4a"},
		{"../../etc/passwd", `attachment; filename="_.._etc_passwd"`, "_.._etc_passwd.m4a"},
		{"Part 1. The beginning", `attachment; filename="Part 1. The beginning"`, "Part 1. The beginning.m4a"},
		{`C:\a.wav`, `attachment; filename="C:_a.wav"`, "C:_a.m4a"},
		{"a\"b%.wav", `attachment; filename="a_b_.wav"; filename*=UTF-8''a%22b%25.wav`, `a"b%.m4a`},
		{"a\r\nSet-Cookie: x.wav", `attachment; filename="a__Set-Cookie: x.wav"`, "a__Set-Cookie: x.m4a"},
		{"日本.wav", `attachment; filename="__.wav"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.wav`, "日本.m4a"},
		{"bad\xff.wav", `attachment; filename="bad_.wav"`, "bad_.m4a"},
	}
	for _, tt := range tests {
		r := recording.Recording{ID: id, Filename: tt.name}
		if got := contentDisposition("attachment", originalName(r)); got != tt.original {
			t.Errorf("%q: %s, want %s", tt.name, got, tt.original)
		}
		if got := artifactName(r, recording.ArtifactAAC); got != tt.aac {
			t.Errorf("%q: aac %q, want %q", tt.name, got, tt.aac)
		}
	}
}
