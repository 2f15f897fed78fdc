package clients

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// makeFLAC makes 6 seconds of speech small: 100 KB.
func makeFLAC(t *testing.T) []byte {
	t.Helper()
	return readFile(t, makeAudio(t, "speech.flac", "-t", "6", "-i", speech))
}

// One recording from the upload to its deletion, as an app goes about it.
func TestRESTFromUploadToDeletion(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	u := s.user(t, "alice")
	w := u.watch(100)
	if me := get[struct{ ID, Subject string }](u, "/v1/me"); me.Subject != "dev:alice" || me.ID == "" {
		t.Errorf("me: %+v", me)
	}
	data := makeFLAC(t)
	id, _ := u.upload(data, map[string]string{"filename": "grand mère.flac", "title": "Tape 7", "language": "fr", "recordedAt": "1989-11-09T18:57:00+01:00"})
	w.reached(t, id, "recording.ready")

	path := "/v1/recordings/" + id
	before := u.recording(id)
	if before.Title != "Tape 7" || before.Filename != "grand mère.flac" {
		t.Errorf("as declared: %+v", before)
	}
	u.checkPatching(path)
	w.reached(t, id, "recording.updated")
	if after := u.recording(id); after.Title != "Tape 8" || after.Version <= before.Version {
		t.Errorf("after the change: title %q, version %d after %d", after.Title, after.Version, before.Version)
	}
	u.checkServing(path+"/audio?format=original", data)
	for _, what := range []string{"/audio", "/audio?format=opus", "/peaks", "/peaks?format=dat"} {
		u.checkServing(path+what, u.do(http.MethodGet, path+what, nil).body)
	}
	if got := u.do(http.MethodGet, path+"/audio?format=wav", nil); got.status != http.StatusBadRequest || got.code() != "invalid_request" {
		t.Errorf("a format that isn't: %v", got)
	}
	u.checkEventPages(id)

	if got := u.do(http.MethodDelete, path, nil); got.status != http.StatusNoContent {
		t.Fatalf("delete: %v", got)
	}
	w.reached(t, id, "recording.deleted")
	for _, what := range []string{"", "/audio", "/audio?format=original", "/peaks", "/events"} {
		if got := u.do(http.MethodGet, path+what, nil); got.status != http.StatusNotFound || got.code() != "not_found" {
			t.Errorf("%s after the deletion: %v", what, got)
		}
	}
	if got := u.do(http.MethodDelete, path, nil); got.status != http.StatusNotFound {
		t.Errorf("deleted again: %v", got)
	}
	if got := u.recordings(); len(got) != 0 {
		t.Errorf("listed after the deletion: %v", got)
	}
}

func (u user) checkPatching(path string) {
	u.t.Helper()
	tests := []struct {
		body, contentType string
		status            int
	}{
		{`{"title":"  Tape 8 "}`, "application/json", http.StatusOK},
		{`{}`, "application/json", http.StatusOK},
		{`{"title":null}`, "application/json", http.StatusOK},
		{`{"title":"a\nb"}`, "application/json", http.StatusBadRequest},
		{`{"title":"` + strings.Repeat("x", 201) + `"}`, "application/json", http.StatusBadRequest},
		{`{"title":7}`, "application/json", http.StatusBadRequest},
		{`{"state":"ready"}`, "application/json", http.StatusBadRequest},
		{`{"title":`, "application/json", http.StatusBadRequest},
		{`{"title":"` + strings.Repeat("x", 1<<20) + `"}`, "application/json", http.StatusRequestEntityTooLarge},
		{`title=x`, "application/x-www-form-urlencoded", http.StatusUnsupportedMediaType},
	}
	for _, tt := range tests {
		got := u.do(http.MethodPatch, path, []byte(tt.body), "Content-Type", tt.contentType)
		if got.status != tt.status || tt.status >= 400 && got.code() == "" {
			u.t.Errorf("PATCH %.40s: %v, want status %d", tt.body, got, tt.status)
		}
	}
}

// checkServing asks for a file in the ways that players and caches do. The
// answers are alike whether they are the server's or the storage's.
func (u user) checkServing(path string, want []byte) {
	u.t.Helper()
	n := len(want)
	whole := u.do(http.MethodGet, path, nil)
	tag := whole.header.Get("ETag")
	if whole.status != http.StatusOK || tag == "" || !bytes.Equal(whole.body, want) {
		u.t.Errorf("%s: %v", path, whole)
	}
	join := "?"
	if strings.Contains(path, "?") {
		join = "&"
	}
	ours := u.do(http.MethodHead, path+join+"redirect=false", nil).header.Get("ETag")
	tests := []struct {
		method   string
		headers  []string
		status   int
		body     []byte
		contents string // Content-Range
	}{
		{http.MethodGet, []string{"Range", "bytes=0-99"}, 206, want[:100], fmt.Sprintf("bytes 0-99/%d", n)},
		{http.MethodGet, []string{"Range", "bytes=50-"}, 206, want[50:], fmt.Sprintf("bytes 50-%d/%d", n-1, n)},
		{http.MethodGet, []string{"Range", "bytes=-7"}, 206, want[n-7:], fmt.Sprintf("bytes %d-%d/%d", n-7, n-1, n)},
		{http.MethodGet, []string{"Range", fmt.Sprintf("bytes=%d-", n)}, 416, nil, fmt.Sprintf("bytes */%d", n)},
		{http.MethodGet, []string{"Range", "bytes=0-0", "If-Range", ours}, 206, want[:1], fmt.Sprintf("bytes 0-0/%d", n)},
		{http.MethodGet, []string{"Range", "bytes=0-0", "If-Range", `"other"`}, 200, want, ""},
		{http.MethodGet, []string{"If-None-Match", tag}, 304, []byte{}, ""},
		{http.MethodGet, []string{"If-None-Match", ours}, 304, []byte{}, ""},
		{http.MethodHead, []string{"If-None-Match", tag}, 304, []byte{}, ""},
		{http.MethodHead, []string{"If-None-Match", ours}, 304, []byte{}, ""},
		{http.MethodGet, []string{"If-None-Match", `"other"`}, 200, want, ""},
		{http.MethodGet, []string{"If-Match", tag}, 200, want, ""},
		{http.MethodGet, []string{"If-Match", ours}, 200, want, ""},
		{http.MethodGet, []string{"If-Match", `"other"`}, 412, nil, ""},
	}
	for _, tt := range tests {
		got := u.do(tt.method, path, nil, tt.headers...)
		if tt.status == 416 && got.redirected != "" {
			tt.contents = got.header.Get("Content-Range") // which S3 leaves out
		}
		if got.status != tt.status || got.header.Get("Content-Range") != tt.contents || tt.body != nil && !bytes.Equal(got.body, tt.body) {
			u.t.Errorf("%s %s with %q: %v", tt.method, path, tt.headers, got)
		}
		if tt.status == 416 && got.redirected == "" && got.code() != "invalid_range" {
			u.t.Errorf("%s with %q: %v", path, tt.headers, got)
		}
	}
	head := u.do(http.MethodHead, path, nil)
	if head.status != http.StatusOK || head.header.Get("Content-Length") != fmt.Sprint(n) || head.header.Get("Content-Type") != whole.header.Get("Content-Type") {
		u.t.Errorf("HEAD %s: %v", path, head)
	}
}

// checkEventPages reads a recording's events two at a time.
func (u user) checkEventPages(id string) {
	u.t.Helper()
	type eventsPage struct {
		Items     []eventView
		NextSince int64
	}
	var paged []eventView
	for since := int64(0); ; {
		p := get[eventsPage](u, fmt.Sprintf("/v1/recordings/%s/events?since=%d&limit=2", id, since))
		if len(p.Items) == 0 {
			break
		}
		paged, since = append(paged, p.Items...), p.NextSince
	}
	if diff := cmp.Diff(u.events(id), paged); diff != "" {
		u.t.Errorf("events in pages (-want +got):\n%s", diff)
	}
	if want := append(ready(), "recording.updated"); !slices.Equal(describe(paged)[:len(want)], want) {
		u.t.Errorf("events: %q, want %q", describe(paged), want)
	}
}

func TestListIsPaged(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	u := s.user(t, "alice")
	var want []string
	for i := range 5 {
		_, id := u.create(1000, map[string]string{"title": fmt.Sprint(i)})
		want = append([]string{id}, want...)
	}
	s.user(t, "bob").create(1000, nil)
	for _, limit := range []int{1, 2, 5, 50} {
		var got []string
		for cursor := ""; ; {
			p := get[page[recordingView]](u, fmt.Sprintf("/v1/recordings?limit=%d&cursor=%s", limit, cursor))
			if len(p.Items) > limit {
				t.Errorf("%d items with limit %d", len(p.Items), limit)
			}
			for _, r := range p.Items {
				got = append(got, r.ID)
			}
			if cursor = p.NextCursor; cursor == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("limit %d (-want +got):\n%s", limit, diff)
		}
	}
	for _, query := range []string{"limit=0", "limit=201", "limit=x", "cursor=x", "cursor=" + strings.Repeat("A", 1000)} {
		if got := u.do(http.MethodGet, "/v1/recordings?"+query, nil); got.status != http.StatusBadRequest || got.code() != "invalid_request" {
			t.Errorf("%.20s: %v", query, got)
		}
	}
}

// One device begins, another sees what is unfinished and goes on.
func TestResumeFromAnotherDevice(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	phone, laptop := s.user(t, "alice"), s.user(t, "alice")
	data := makeFLAC(t)
	url, id := phone.create(len(data), map[string]string{"filename": "talk.flac", "clientId": "phone-1"})
	if got := phone.patch(url, 0, data[:40_000]); got.status != http.StatusNoContent {
		t.Fatal(got)
	}
	list := get[page[uploadView]](laptop, "/v1/uploads").Items
	size := int64(len(data))
	want := []uploadView{{
		ID: url[strings.LastIndex(url, "/")+1:], RecordingID: id, ClientID: "phone-1", Filename: "talk.flac",
		URL: url, OffsetBytes: 40_000, LengthBytes: &size,
	}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Fatalf("unfinished uploads (-want +got):\n%s", diff)
	}
	path := makeAudio(t, "again.flac", "-t", "6", "-i", speech)
	if !bytes.Equal(readFile(t, path), data) {
		t.Fatal("ffmpeg makes another file each time")
	}
	p := laptop.startClient(tusCase{File: path, UploadURL: list[0].URL})
	p.mustSucceed()
	if p.count(http.MethodPost, 0) != 0 {
		t.Errorf("the laptop has begun anew: %s", p)
	}
	phone.checkStored(id, path)
	if got := get[page[uploadView]](phone, "/v1/uploads").Items; len(got) != 0 {
		t.Errorf("still unfinished: %v", got)
	}
}

// Deleting a recording ends its upload, even one that is being sent.
func TestDeleteWhileUploading(t *testing.T) {
	t.Parallel()
	l := &line{bytesPerSecond: 500_000}
	s := newServerBehind(t, l)
	u := s.user(t, "alice")
	p := u.startClient(tusCase{File: makeBigWAV(t), ChunkSize: 100_000, Retries: 3})
	p.until(200_000)
	if got := u.do(http.MethodDelete, "/v1/recordings/"+p.recording(), nil); got.status != http.StatusNoContent {
		t.Fatalf("delete: %v", got)
	}
	// The client is told so by the request that is under way or by the next, and
	// gives up; it must not end well with the deleted one, nor begin anew.
	end := p.end()
	if end.Failure == nil || end.Failure.Status != http.StatusGone {
		t.Errorf("the client: %s", p)
	}
	if got := u.recordings(); len(got) != 0 {
		t.Errorf("recordings: %v", got)
	}
}
