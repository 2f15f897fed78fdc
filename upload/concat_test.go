package upload_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/recording"
	"reprise/upload"
)

// partial makes a partial upload of data and returns its URL.
func (r *rig) partial(data []byte, header ...string) string {
	r.t.Helper()
	a := r.do(http.MethodPost, r.url+"/files/", nil,
		append([]string{"Upload-Concat", "partial", "Upload-Length", strconv.Itoa(len(data))}, header...)...)
	if a.status != http.StatusCreated || a.header.Get("Reprise-Recording") != "" {
		r.t.Fatalf("create a partial upload: %d %s %v", a.status, a.body, a.header)
	}
	at := a.header.Get("Location")
	// tus-js-client sends the header with every request.
	if a := r.patch(at, 0, data, append([]string{"Upload-Concat", "partial"}, header...)...); a.status != http.StatusNoContent {
		r.t.Fatalf("send a partial upload: %d %s", a.status, a.body)
	}
	return at
}

// join asks for a final upload.
func (r *rig) join(partials []string, header ...string) answer {
	r.t.Helper()
	return r.do(http.MethodPost, r.url+"/files/", nil, append([]string{"Upload-Concat", "final;" + strings.Join(partials, " ")}, header...)...)
}

func (r *rig) count(sql string) int {
	r.t.Helper()
	var n int
	must(r.t, r.pool.QueryRow(r.t.Context(), sql).Scan(&n))
	return n
}

func idOf(at string) uuid.UUID { return uuid.MustParse(at[strings.LastIndex(at, "/")+1:]) }

func TestConcatenation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	// Pieces from the middle of a file look like nothing that is known, and metadata
	// of a partial upload is not that of a recording.
	first := r.partial([]byte("<!DOCTYPE html> first "), "Upload-Metadata", "recordedAt eWVzdGVyZGF5,clientId eA==")
	a := r.do(http.MethodPost, r.url+"/files/", strings.NewReader("second "),
		"Upload-Concat", "partial", "Upload-Length", "7", "Content-Type", "application/offset+octet-stream", "Upload-Metadata", "clientId eA==")
	if a.status != http.StatusCreated || a.header.Get("Upload-Offset") != "7" {
		t.Fatalf("with the creation: %d %s", a.status, a.body)
	}
	second := a.header.Get("Location")
	third := r.do(http.MethodPost, r.url+"/files/", nil, "Upload-Concat", "partial", "Upload-Defer-Length", "1").header.Get("Location")
	r.patch(third, 0, []byte("third"))
	if a := r.patch(third, 5, nil, "Upload-Length", "5"); a.status != http.StatusNoContent {
		t.Fatalf("a length declared late: %d %s", a.status, a.body)
	}
	empty := r.partial(nil)
	h := r.do(http.MethodHead, first, nil).header
	if h.Get("Upload-Concat") != "partial" || h.Get("Upload-Offset") != "22" || h.Get("Upload-Metadata") == "" {
		t.Errorf("HEAD of a partial upload says %v", h)
	}
	if n := r.count(`SELECT (SELECT count(*) FROM recordings) + (SELECT count(*) FROM events) + (SELECT count(*) FROM river_job)`); n != 0 {
		t.Errorf("partial uploads made %d recordings, events and jobs", n)
	}

	relative, err := url.Parse(second)
	must(t, err)
	list := []string{first, relative.Path, empty, third}
	a = r.join(list, "Upload-Metadata", "title "+base64.StdEncoding.EncodeToString([]byte("Joined")))
	if a.status != http.StatusCreated {
		t.Fatalf("join: %d %s", a.status, a.body)
	}
	final, recordingID := a.header.Get("Location"), uuid.MustParse(a.header.Get("Reprise-Recording"))
	h = r.do(http.MethodHead, final, nil).header
	want := "final;" + strings.Join([]string{first, second, empty, third}, " ")
	if h.Get("Upload-Concat") != want || h.Get("Upload-Length") != "34" || h.Get("Upload-Offset") != "34" {
		t.Errorf("HEAD of the final upload says %v, want %s", h, want)
	}
	if got := r.offset(first); got != 22 {
		t.Errorf("a joined upload is at %d", got)
	}
	rec, err := r.catalog.Recording(ctx, r.alice, recordingID)
	must(t, err)
	if rec.State != recording.StateReceived || *rec.SizeBytes != 34 || rec.SHA256 != nil || rec.Title != "Joined" {
		t.Errorf("the recording is %+v", rec)
	}
	events, err := r.catalog.EventsSince(ctx, r.alice, nil, 0, 10)
	must(t, err)
	var told []string
	for _, e := range events {
		told = append(told, fmt.Sprintf("%s %s", e.Type, e.Data))
	}
	if diff := cmp.Diff([]string{`upload.created {"lengthBytes": 34}`, `upload.received {"sizeBytes": 34}`}, told); diff != "" {
		t.Error(diff)
	}

	// The same again, as after a lost answer.
	if a := r.join(list); a.status != http.StatusCreated || a.header.Get("Location") != final || a.header.Get("Reprise-Recording") != recordingID.String() {
		t.Errorf("again: %d %v", a.status, a.header)
	}
	if n := r.count(`SELECT count(*) FROM river_job`); n != 1 {
		t.Errorf("%d jobs", n)
	}
	if list, err := r.catalog.ResumableUploads(ctx, r.alice, recording.Page{Limit: 10}); err != nil || len(list) != 0 {
		t.Errorf("resumable: %v, %v", list, err)
	}

	// The final upload goes, and its partial ones with it.
	if a := r.do(http.MethodDelete, final, nil); a.status != http.StatusNoContent {
		t.Fatalf("delete the final upload: %d %s", a.status, a.body)
	}
	for _, at := range []string{final, first, second, third} {
		if a := r.do(http.MethodHead, at, nil); a.status != http.StatusGone {
			t.Errorf("HEAD afterwards: %d", a.status)
		}
	}
}

// TestConcatProtocol goes through what is refused.
func TestConcatProtocol(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *upload.Options) { o.MaxSizeBytes = 250 })
	files := r.url + "/files/"
	done, spare := r.partial(audio(100)), r.partial(audio(100))
	large := r.partial(audio(200))
	whole := r.create(100)
	r.patch(whole, 0, audio(100))
	half := r.do(http.MethodPost, files, nil, "Upload-Concat", "partial", "Upload-Length", "100").header.Get("Location")
	r.patch(half, 0, audio(50))
	deferred := r.do(http.MethodPost, files, nil, "Upload-Concat", "partial", "Upload-Defer-Length", "1").header.Get("Location")
	r.patch(deferred, 0, audio(50))
	gone := r.partial(audio(10))
	if a := r.do(http.MethodDelete, gone, nil); a.status != http.StatusNoContent {
		t.Fatalf("terminate: %d %s", a.status, a.body)
	}
	expired := r.partial(audio(10))
	_, err := r.pool.Exec(t.Context(), `UPDATE uploads SET expires_at = now() - interval '1 minute' WHERE id = $1`, idOf(expired))
	must(t, err)
	bobs := r.partial(audio(10), "Test-User", "bob")
	joined := r.partial(audio(10))
	final := r.join([]string{joined}).header.Get("Location")
	meta := func(s string) []string { return []string{"Upload-Metadata", s} }

	tests := []struct {
		name   string
		list   []string
		header []string
		status int
		code   string
	}{
		{"none", nil, nil, 400, "invalid_request"},
		{"twice", []string{done, done}, nil, 400, "invalid_request"},
		{"not partial", []string{done, whole}, nil, 400, "invalid_request"},
		{"a final one", []string{done, final}, nil, 400, "invalid_request"},
		{"unfinished", []string{done, half}, nil, 409, "conflict"},
		{"of unknown length", []string{done, deferred}, nil, 409, "conflict"},
		{"terminated", []string{done, gone}, nil, 410, "upload_gone"},
		{"expired", []string{done, expired}, nil, 410, "upload_gone"},
		{"unknown", []string{done, files + uuid.NewString()}, nil, 404, "not_found"},
		{"somebody else's", []string{done, bobs}, nil, 404, "not_found"},
		{"of another user", []string{done, spare}, []string{"Test-User", "bob"}, 404, "not_found"},
		{"joined before", []string{done, joined}, nil, 409, "conflict"},
		{"joined before, then more", []string{joined, done}, nil, 409, "conflict"},
		{"too large together", []string{done, large}, nil, 413, "too_large"},
		{"with a length", []string{done, spare}, []string{"Upload-Length", "200"}, 400, "invalid_request"},
		{"with a deferred length", []string{done, spare}, []string{"Upload-Defer-Length", "1"}, 400, "invalid_request"},
		{"bad metadata", []string{done, spare}, meta("filename !!!"), 400, "invalid_metadata"},
		{"bad time", []string{done, spare}, meta("recordedAt eWVzdGVyZGF5"), 400, "invalid_metadata"},
		{"declared image", []string{done, spare}, meta("filetype aW1hZ2UvcG5n"), 415, "unsupported_type"},
		{"no token", []string{done, spare}, []string{"Test-User", ""}, 401, "unauthenticated"},
		{"no version", []string{done, spare}, []string{"Tus-Resumable", ""}, 412, "unsupported_version"},
		{"nothing wrong", []string{done, spare}, nil, 201, ""},
	}
	for _, tt := range tests {
		if a := r.join(tt.list, tt.header...); a.status != tt.status || a.code != tt.code {
			t.Errorf("%s: got %d %q, want %d %q\n%s", tt.name, a.status, a.code, tt.status, tt.code, a.body)
		}
	}
	for name, tt := range map[string]struct {
		a      answer
		status int
		code   string
	}{
		"PATCH of a final one":   {r.patch(final, 10, audio(1)), 403, "forbidden"},
		"bytes with a final one": {r.do(http.MethodPost, files, bytes.NewReader(audio(1)), "Upload-Concat", "final;"+large, "Content-Type", "application/offset+octet-stream"), 403, "forbidden"},
		"DELETE of a joined one": {r.do(http.MethodDelete, joined, nil), 409, "conflict"},
		"PATCH of a joined one":  {r.patch(joined, 10, nil), 204, ""},
		"a large partial one":    {r.do(http.MethodPost, files, nil, "Upload-Concat", "partial", "Upload-Length", "251"), 413, "too_large"},
		"bad metadata":           {r.do(http.MethodPost, files, nil, "Upload-Concat", "partial", "Upload-Length", "1", "Upload-Metadata", "a !"), 400, "invalid_metadata"},
		"neither":                {r.do(http.MethodPost, files, nil, "Upload-Concat", "whole", "Upload-Length", "1"), 400, "invalid_request"},
	} {
		if tt.a.status != tt.status || tt.a.code != tt.code {
			t.Errorf("%s: got %d %q, want %d %q\n%s", name, tt.a.status, tt.a.code, tt.status, tt.code, tt.a.body)
		}
	}
	if n := r.count(`SELECT count(*) FROM recordings`); n != 3 {
		t.Errorf("%d recordings, want the whole one and two joined", n)
	}
}

// TestConcatRace: the same partial uploads are joined by many requests at once, in
// two orders. One order wins, and every request for it gets the same recording.
func TestConcatRace(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for range 5 {
		list := []string{r.partial(audio(10)), r.partial(audio(20)), r.partial(audio(30))}
		other := []string{list[2], list[0]}
		before := r.count(`SELECT count(*) FROM recordings`)
		var mu sync.Mutex
		won := map[string]int{} // by recording
		lost := 0
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				which := list
				if i%2 == 1 {
					which = other
				}
				a := r.join(which)
				mu.Lock()
				defer mu.Unlock()
				switch a.status {
				case http.StatusCreated:
					won[a.header.Get("Reprise-Recording")]++
				case http.StatusConflict:
					lost++
				default:
					t.Errorf("%d %s", a.status, a.body)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 || slices.Collect(maps.Values(won))[0] != 4 || lost != 4 {
			t.Errorf("won %v, lost %d", won, lost)
		}
		if n := r.count(`SELECT count(*) FROM recordings`) - before; n != 1 {
			t.Errorf("%d recordings", n)
		}
	}
}

// TestConcatClientID: a clientId names one living upload, however its bytes come.
func TestConcatClientID(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	meta := func(id string) []string {
		return []string{"Upload-Metadata", "clientId " + base64.StdEncoding.EncodeToString([]byte(id))}
	}
	a := r.join([]string{r.partial(audio(10)), r.partial(audio(20))}, meta("x")...)
	if a.status != http.StatusCreated {
		t.Fatalf("join: %d %s", a.status, a.body)
	}
	final := a.header.Get("Location")
	if a := r.join([]string{r.partial(audio(20)), r.partial(audio(10))}, meta("x")...); a.status != http.StatusCreated || a.header.Get("Location") != final {
		t.Errorf("sent once more in other parts: %d %s", a.status, a.body)
	}
	if a := r.join([]string{r.partial(audio(20))}, meta("x")...); a.status != http.StatusConflict || a.code != "client_id_conflict" {
		t.Errorf("another length: %d %s", a.status, a.body)
	}
	a = r.do(http.MethodPost, r.url+"/files/", nil, append(meta("x"), "Upload-Length", "30")...)
	if a.status != http.StatusCreated || a.header.Get("Location") != final || a.header.Get("Upload-Offset") != "30" {
		t.Errorf("as one upload: %d %v", a.status, a.header)
	}
	open := r.create(30, meta("y")...)
	if a := r.join([]string{r.partial(audio(30))}, meta("y")...); a.status != http.StatusConflict || a.code != "client_id_conflict" {
		t.Errorf("joined, while an upload is open: %d %s", a.status, a.body)
	}
	if got := r.offset(open); got != 0 {
		t.Errorf("the open upload is at %d", got)
	}
	if n := r.count(`SELECT count(*) FROM recordings`); n != 2 {
		t.Errorf("%d recordings", n)
	}
}
