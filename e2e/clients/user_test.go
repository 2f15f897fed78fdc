package clients

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// user is somebody at a server. Without a token it is nobody.
type user struct {
	t     *testing.T
	s     *server
	token string
	id    string // of an admin

	requestID string // sent with every request, if it is not ""
}

// in returns the same user for a subtest.
func (u user) in(t *testing.T) user {
	u.t = t
	return u
}

// answer is what came back, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte

	redirected string // where the answer came from, if not from where it was asked for
}

func (a answer) String() string {
	return fmt.Sprintf("status %d, %v, %.500s", a.status, a.header, a.body)
}

// code returns the code of a problem (RFC 9457), "" if the answer is none.
func (a answer) code() string {
	var p struct{ Code string }
	if a.header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(a.body, &p) != nil {
		return ""
	}
	return p.Code
}

// do sends a request, and follows redirects. headers are pairs of name and value.
func (u user) do(method, path string, body []byte, headers ...string) answer {
	u.t.Helper()
	url := path
	if strings.HasPrefix(path, "/") {
		url = u.s.url + path
	}
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		u.t.Fatal(err)
	}
	if u.token != "" {
		req.Header.Set("Authorization", "Bearer "+u.token)
	}
	if u.requestID != "" {
		req.Header.Set("X-Request-Id", u.requestID)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := u.s.http.Do(req)
	if err != nil {
		u.t.Fatal(err)
	}
	defer res.Body.Close()
	a := answer{status: res.StatusCode, header: res.Header}
	if at := res.Request.URL.String(); at != req.URL.String() {
		a.redirected = at
	}
	if a.body, err = io.ReadAll(res.Body); err != nil {
		u.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// get reads a JSON answer with status 200.
func get[T any](u user, path string) T {
	u.t.Helper()
	var v T
	a := u.do(http.MethodGet, path, nil)
	if a.status != http.StatusOK {
		u.t.Fatalf("GET %s: %v", path, a)
	}
	if err := json.Unmarshal(a.body, &v); err != nil {
		u.t.Fatalf("GET %s: %v in %s", path, err, a.body)
	}
	return v
}

// recordingView is what the tests read of a recording.
type recordingView struct {
	ID         string
	State      string
	Reason     string
	Detail     string
	Title      string
	Filename   string
	SizeBytes  int64
	SHA256     string
	DurationMs int64
	Version    int64
	Media      struct {
		Codec        string
		SampleRateHz int
		Channels     int
	}
	Loudness struct {
		IntegratedLUFS, RangeLU, TruePeakDBTP *float64
	}
	Silences  []struct{ StartMs, EndMs int64 }
	Artifacts []struct {
		Kind, ContentType, URL string
		SizeBytes              int64
	}
}

// page is a page of a list.
type page[T any] struct {
	Items      []T
	NextCursor string
}

type uploadView struct {
	ID, RecordingID, ClientID, Filename, URL string
	OffsetBytes                              int64
	LengthBytes                              *int64
}

type eventView struct {
	Seq         int64
	Type        string
	RecordingID string
	At          time.Time
	Data        json.RawMessage
}

func (u user) recording(id string) recordingView {
	u.t.Helper()
	return get[recordingView](u, "/v1/recordings/"+id)
}

// settled waits until nothing more happens to a recording by itself.
func (u user) settled(id string) recordingView {
	u.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		r := u.recording(id)
		if slices.Contains([]string{"ready", "rejected", "failed"}, r.State) {
			return r
		}
		if time.Now().After(deadline) {
			u.t.Fatalf("recording %s is still %s", id, r.State)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// events lists all stored events of a recording.
func (u user) events(id string) []eventView {
	u.t.Helper()
	return get[page[eventView]](u, "/v1/recordings/"+id+"/events?limit=200").Items
}

// encodeMetadata makes an Upload-Metadata header.
func encodeMetadata(metadata map[string]string) string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		pairs = append(pairs, key+" "+base64.StdEncoding.EncodeToString([]byte(metadata[key])))
	}
	return strings.Join(pairs, ",")
}

// create begins an upload and returns where it is and its recording's id.
func (u user) create(size int, metadata map[string]string) (url, recordingID string) {
	u.t.Helper()
	a := u.do(http.MethodPost, "/files/", nil, "Tus-Resumable", "1.0.0",
		"Upload-Length", strconv.Itoa(size), "Upload-Metadata", encodeMetadata(metadata))
	url, recordingID = a.header.Get("Location"), a.header.Get("Reprise-Recording")
	if a.status != http.StatusCreated || url == "" || recordingID == "" {
		u.t.Fatalf("create: %v", a)
	}
	return url, recordingID
}

// patch sends bytes to an upload.
func (u user) patch(url string, offset int, data []byte) answer {
	u.t.Helper()
	return u.do(http.MethodPatch, url, data, "Tus-Resumable", "1.0.0",
		"Content-Type", "application/offset+octet-stream", "Upload-Offset", strconv.Itoa(offset))
}

// head asks where an upload stands.
func (u user) head(url string) answer {
	u.t.Helper()
	return u.do(http.MethodHead, url, nil, "Tus-Resumable", "1.0.0")
}

// upload sends a whole file and returns its recording's id and the last answer.
func (u user) upload(data []byte, metadata map[string]string) (recordingID string, last answer) {
	u.t.Helper()
	url, recordingID := u.create(len(data), metadata)
	if len(data) == 0 { // complete already
		return recordingID, answer{status: http.StatusNoContent}
	}
	return recordingID, u.patch(url, 0, data)
}
