package upload_test

import (
	"net/http"
	"strconv"
	"testing"

	"reprise/recording"
)

// TestLengthSaidAgain: a client whose last PATCH broke off says the length again
// with the rest, as tus-js-client does.
func TestLengthSaidAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := audio(2000)
	url := r.do(http.MethodPost, r.url+"/files/", nil, "Upload-Defer-Length", "1").header.Get("Location")
	r.patch(url, 0, data[:500])
	r.patch(url, 500, data[500:700], "Upload-Length", "2000")
	if a := r.patch(url, 700, data[700:800], "Upload-Length", "2001"); a.status != http.StatusBadRequest {
		t.Errorf("another length: %d %s", a.status, a.body)
	}
	if a := r.patch(url, 700, data[700:], "Upload-Length", strconv.Itoa(len(data))); a.status != http.StatusNoContent {
		t.Errorf("the same length: %d %s", a.status, a.body)
	}
	r.wantReceived(url, data)
}

// TestHeadersTwice: metadata fields are one list (RFC 9110, 5.3); of two lengths
// or offsets nobody knows which one a proxy has looked at.
func TestHeadersTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	url := r.create(100)
	for _, tt := range []struct {
		method, url string
		header      http.Header
		status      int
	}{
		{"POST", r.url + "/files/", http.Header{"Upload-Length": {"1"}, "Upload-Metadata": {"title YQ==", "filename Yg=="}}, 201},
		{"POST", r.url + "/files/", http.Header{"Upload-Length": {"1"}, "Upload-Metadata": {"title YQ==", "title Yg=="}}, 400},
		{"POST", r.url + "/files/", http.Header{"Upload-Length": {"1", "2"}}, 400},
		{"PATCH", url, http.Header{"Upload-Offset": {"0", "50"}}, 400},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, tt.url, nil)
		must(t, err)
		req.Header = tt.header
		req.Header.Set("Test-User", "alice")
		req.Header.Set("Tus-Resumable", "1.0.0")
		req.Header.Set("Content-Type", "application/offset+octet-stream")
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != tt.status {
			t.Errorf("%s with %v: %d, want %d", tt.method, tt.header, resp.StatusCode, tt.status)
		}
	}
	list, err := r.catalog.Recordings(t.Context(), r.alice, recording.Page{Limit: 1})
	must(t, err)
	if list[0].Title != "a" || list[0].Filename != "b" {
		t.Errorf("title %q, filename %q", list[0].Title, list[0].Filename)
	}
}
