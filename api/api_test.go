package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/recording"
)

func TestGetMe(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	got := wantJSON[map[string]any](t, s.get(alice, "/v1/me"), http.StatusOK)
	want := map[string]any{"id": alice.UserID.String(), "subject": "dev:alice", "createdAt": "2026-05-04T09:30:00Z",
		"usage":  map[string]any{"openUploads": 1.0, "storedBytes": 1000.0, "dayBytes": 100.0, "dayDecodedMs": 60_000.0, "dayEndsAt": "2026-05-05T00:00:00Z"},
		"limits": map[string]any{"requestsPerSecond": 100.0, "openUploads": 10.0, "decodedPerDayMs": 3_600_000.0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRecordingIsCompleteJSON(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := s.add(alice)
	got := wantJSON[map[string]any](t, s.get(alice, "/v1/recordings/"+r.ID.String()), http.StatusOK)
	self := publicURL + "/v1/recordings/" + r.ID.String()
	artifact := func(kind, contentType string, size float64, path string) any {
		return map[string]any{"kind": kind, "contentType": contentType, "sizeBytes": size, "url": self + path}
	}
	want := map[string]any{
		"id": r.ID.String(), "state": "ready", "title": "Grandmother's first day at school",
		"filename": "first-day.wav", "filetype": "audio/wav", "language": "en",
		"storyId": r.StoryID.String(), "recordedAt": "2026-05-04T08:30:00Z",
		"sizeBytes": 5_556_044.0, "sha256": fmt.Sprintf("%x", r.SHA256), "durationMs": 63_000.0,
		"media": map[string]any{
			"container": "wav", "codec": "pcm_s16le", "sampleRateHz": 44_100.0, "channels": 1.0, "bitRateBps": 705_600.0, "durationMs": 63_000.0,
		},
		"loudness": map[string]any{"integratedLufs": -23.1, "rangeLu": 5.4, "truePeakDbtp": -1.2},
		"silences": []any{map[string]any{"startMs": 1200.0, "endMs": 2600.0}},
		"artifacts": []any{
			artifact("aac", "audio/mp4", 504_000, "/audio?format=aac"),
			artifact("opus", "audio/ogg", 378_000, "/audio?format=opus"),
			artifact("peaks.json", "application/json", 40_210, "/peaks?format=json"),
			artifact("peaks.dat", "application/octet-stream", 21_732, "/peaks?format=dat"),
		},
		"insights": map[string]any{
			"transcribe": map[string]any{"state": "ready", "updatedAt": "2026-05-04T09:31:00Z"},
			"analyse":    map[string]any{"state": "waiting", "detail": "It waits for its turn.", "updatedAt": "2026-05-04T09:31:00Z"},
		},
		"links": map[string]any{
			"self": self, "audio": self + "/audio", "peaks": self + "/peaks", "events": self + "/events",
			"transcript": self + "/transcript", "analysis": self + "/analysis",
		},
		"version": 7.0, "createdAt": "2026-05-04T09:30:00Z", "updatedAt": "2026-05-04T09:30:10Z",
		"receivedAt": "2026-05-04T09:30:05Z", "readyAt": "2026-05-04T09:30:10Z",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRecordingLeavesOutWhatIsUnknown(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	id := recording.NewID()
	s.recordings = []recording.Recording{{ID: id, OwnerID: alice.UserID, State: recording.StateUploading, Version: 1, CreatedAt: epoch, UpdatedAt: epoch}}
	w := s.get(alice, "/v1/recordings/"+id.String())
	got := wantJSON[map[string]any](t, w, http.StatusOK)
	var keys []string
	for key := range got {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	want := []string{"artifacts", "createdAt", "filename", "filetype", "id", "links", "state", "title", "updatedAt", "version"}
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(w.Body.String(), `"artifacts":[]`) {
		t.Error("artifacts is not an empty list")
	}
}

func TestListsPageThrough(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var recordings, uploads []string
	for i := range 7 {
		r := s.add(alice)
		s.add(bob)
		length := int64(100)
		u := recording.Upload{
			ID: recording.NewID(), RecordingID: r.ID, OwnerID: alice.UserID, ClientID: fmt.Sprint("phone-", i), Offset: int64(i), Length: &length,
			Metadata: map[string]string{"filename": "a.wav"}, CreatedAt: epoch, ExpiresAt: epoch.Add(time.Hour),
		}
		s.uploads = slices.Insert(s.uploads, 0, u)
		recordings = slices.Insert(recordings, 0, r.ID.String())
		uploads = slices.Insert(uploads, 0, u.ID.String())
	}
	for path, want := range map[string][]string{"/v1/recordings": recordings, "/v1/uploads": uploads} {
		for limit := 1; limit <= 8; limit++ {
			var got []string
			query := fmt.Sprintf("?limit=%d", limit)
			for pages := 0; ; pages++ {
				page := wantJSON[struct {
					Items      []struct{ ID string }
					NextCursor string
				}](t, s.get(alice, path+query), http.StatusOK)
				for _, item := range page.Items {
					got = append(got, item.ID)
				}
				if page.NextCursor == "" || pages > 10 {
					break
				}
				query = fmt.Sprintf("?limit=%d&cursor=%s", limit, page.NextCursor)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s by %d: %s", path, limit, diff)
			}
		}
	}
}

func TestUploadIsCompleteJSON(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	u := recording.Upload{
		ID: recording.NewID(), RecordingID: recording.NewID(), OwnerID: alice.UserID, ClientID: "phone-1", Offset: 5,
		Metadata: map[string]string{"filename": "a.wav", "title": "secret plans"}, CreatedAt: epoch, ExpiresAt: epoch.Add(time.Hour),
	}
	s.uploads = []recording.Upload{u}
	got := wantJSON[map[string]any](t, s.get(alice, "/v1/uploads"), http.StatusOK)
	want := map[string]any{"items": []any{map[string]any{
		"id": u.ID.String(), "recordingId": u.RecordingID.String(), "clientId": "phone-1", "filename": "a.wav", "offsetBytes": 5.0,
		"url": publicURL + "/files/" + u.ID.String(), "expiresAt": "2026-05-04T10:30:00Z", "createdAt": "2026-05-04T09:30:00Z",
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := s.get(bob, "/v1/uploads").Body.String(); got != "{\"items\":[]}\n" {
		t.Errorf("bob sees %s", got)
	}
}

func TestListEvents(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r, other := s.add(alice), s.add(alice)
	for seq := int64(1); seq <= 6; seq++ {
		id := r.ID
		if seq%2 == 0 {
			id = other.ID
		}
		e := recording.NewEvent(alice.UserID, id, recording.EventStageCompleted, epoch, map[string]any{"stage": "probe"})
		e.Seq = seq
		s.events = append(s.events, e)
	}
	path := "/v1/recordings/" + r.ID.String() + "/events"
	got := wantJSON[map[string]any](t, s.get(alice, path+"?since=2&limit=1"), http.StatusOK)
	want := map[string]any{
		"items": []any{map[string]any{
			"seq": 3.0, "type": "processing.completed", "recordingId": r.ID.String(), "at": "2026-05-04T09:30:00Z", "data": map[string]any{"stage": "probe"},
		}},
		"nextSince": 3.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := s.get(alice, path+"?since=5").Body.String(); got != "{\"items\":[],\"nextSince\":5}\n" {
		t.Errorf("after the last: %s", got)
	}
}

func TestCreateTicket(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	w := s.do(request{as: alice, method: http.MethodPost, path: "/v1/events/ticket"})
	got := wantJSON[map[string]any](t, w, http.StatusOK)
	want := map[string]any{"ticket": "ticket-of-" + alice.UserID.String(), "expiresAt": "2026-05-04T09:31:00Z"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
}

func TestPatchTitle(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 200)
	tests := []struct {
		name, body, want string
		code             recording.Code
	}{
		{name: "plain", body: `{"title":"New"}`, want: "New"},
		{name: "trimmed", body: `{"title":"  New\t\n "}`, want: "New"},
		{name: "empty", body: `{"title":" "}`, want: ""},
		{name: "longest", body: `{"title":"  ` + long + `  "}`, want: long},
		{name: "nothing to change", body: `{}`, want: "Grandmother's first day at school"},
		{name: "too long", body: `{"title":"` + long + `x"}`, code: recording.CodeInvalidRequest},
		{name: "line break", body: `{"title":"a\nb"}`, code: recording.CodeInvalidRequest},
		{name: "NUL", body: `{"title":"a\u0000b"}`, code: recording.CodeInvalidRequest},
		{name: "null is absent", body: `{"title":null}`, want: "Grandmother's first day at school"},
		{name: "number", body: `{"title":7}`, code: recording.CodeInvalidRequest},
		{name: "unknown field", body: `{"title":"New","state":"ready"}`, code: recording.CodeInvalidRequest},
		{name: "list", body: `[]`, code: recording.CodeInvalidRequest},
		{name: "no JSON", body: `{"title":`, code: recording.CodeInvalidRequest},
		{name: "no body", body: ``, code: recording.CodeInvalidRequest},
		{name: "large", body: `{"title":"` + strings.Repeat(" ", maxPatchBytes) + `"}`, code: recording.CodeTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			r := s.add(alice)
			w := s.do(request{as: alice, method: http.MethodPatch, path: "/v1/recordings/" + r.ID.String(), body: tt.body, headers: []string{"Content-Type", "application/json"}})
			if tt.code != "" {
				wantProblem(t, w, tt.code)
				if diff := cmp.Diff(r, s.recordings[0]); diff != "" {
					t.Errorf("changed all the same: %s", diff)
				}
				return
			}
			got := wantJSON[recordingView](t, w, http.StatusOK)
			if got.Title != tt.want || s.recordings[0].Title != tt.want {
				t.Errorf("title %q, stored %q, want %q", got.Title, s.recordings[0].Title, tt.want)
			}
		})
	}
}

func TestPatchContentType(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := s.add(alice)
	patch := func(contentType string) request {
		return request{as: alice, method: http.MethodPatch, path: "/v1/recordings/" + r.ID.String(), body: `{"title":"x"}`, headers: []string{"Content-Type", contentType}}
	}
	for _, ok := range []string{"", "application/json", "application/json; charset=utf-8", "application/merge-patch+json"} {
		if w := s.do(patch(ok)); w.Code != http.StatusOK {
			t.Errorf("%q: %d %s", ok, w.Code, w.Body)
		}
	}
	for _, bad := range []string{"text/plain", "application/x-www-form-urlencoded", "application/cbor"} {
		wantProblem(t, s.do(patch(bad)), recording.CodeContentType)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := s.add(alice)
	del := request{as: alice, method: http.MethodDelete, path: "/v1/recordings/" + r.ID.String()}
	if w := s.do(del); w.Code != http.StatusNoContent || w.Body.Len() != 0 {
		t.Errorf("status %d, body %q", w.Code, w.Body)
	}
	wantProblem(t, s.do(del), recording.CodeNotFound)
}

func TestInvalidParameters(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := "/v1/recordings/" + s.add(alice).ID.String()
	for path, location := range map[string]string{
		"/v1/recordings?limit=0":                           "query.limit",
		"/v1/recordings?limit=201":                         "query.limit",
		"/v1/recordings?limit=ten":                         "query.limit",
		"/v1/recordings?limit=99999999999999999999":        "query.limit",
		"/v1/uploads?limit=-1":                             "query.limit",
		"/v1/recordings?cursor=!":                          "",
		"/v1/recordings?cursor=AAAA":                       "",
		"/v1/uploads?cursor=" + uuid.Nil.String():          "",
		"/v1/uploads?cursor=" + encodeCursor(uuid.Nil):     "",
		"/v1/recordings?cursor=" + strings.Repeat("A", 65): "query.cursor",
		one + "/audio?format=mp3":                          "query.format",
		one + "/peaks?format=xml":                          "query.format",
		one + "/events?since=-1":                           "query.since",
		one + "/events?since=x":                            "query.since",
		one + "/events?limit=500":                          "query.limit",
	} {
		p := wantProblem(t, s.get(alice, path), recording.CodeInvalidRequest)
		if location == "" && len(p.Errors) == 0 {
			continue
		}
		if len(p.Errors) != 1 || p.Errors[0].Location != location || p.Errors[0].Message == "" {
			t.Errorf("%s: errors %+v", path, p.Errors)
		}
	}
}

func TestUnroutedBelowV1(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	wantProblem(t, s.get(alice, "/v1/nothing"), recording.CodeNotFound)
	wantProblem(t, s.get(alice, "/v1/"), recording.CodeNotFound)
	for path, allow := range map[string]string{
		"/v1/me":                             "GET, HEAD",
		"/v1/events/ticket":                  "POST",
		"/v1/recordings/" + uuid.NewString(): "GET, HEAD, PATCH, DELETE",
		"/v1/recordings/x/audio":             "GET, HEAD",
	} {
		w := s.do(request{as: alice, method: http.MethodPut, path: path})
		wantProblem(t, w, recording.CodeMethodNotAllowed)
		if got := w.Header().Get("Allow"); got != allow {
			t.Errorf("%s: Allow %q, want %q", path, got, allow)
		}
	}
}

func TestClientThatLeftIsNoInternalError(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := s.api.problems.Of(ctx, fmt.Errorf("query: %w", context.Canceled))
	if p.Code != recording.CodeTimeout || s.log.Len() != 0 {
		t.Errorf("%+v, log %s", p, s.log)
	}
	// Something else that was cancelled is our fault.
	if p := s.api.problems.Of(t.Context(), context.Canceled); p.Code != recording.CodeInternal {
		t.Errorf("%+v", p)
	}
}

func TestReprocess(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := s.add(alice)
	path := "/v1/recordings/" + r.ID.String() + "/reprocess"
	wantProblem(t, s.do(request{method: "POST", path: path, as: alice}), recording.CodeConflict)
	s.recordings[0].State, s.recordings[0].Reason = recording.StateFailed, recording.ReasonInternal
	w := s.do(request{method: "POST", path: path, as: alice})
	if w.Code != http.StatusAccepted || !strings.Contains(w.Body.String(), `"state":"processing"`) {
		t.Errorf("status %d, %s", w.Code, w.Body)
	}
}
