package upload_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

// draftVersions are those that phones in the field speak: iOS 17 has 3.
var draftVersions = []string{"3", "4", "5", "6"}

// draftClient speaks the IETF's draft in one of its interop versions, as alice.
type draftClient struct {
	*rig
	version string
}

// complete is the header that says whether a body goes to the end of the file.
func (c draftClient) complete(yes bool) (name, value string) {
	if c.version == "3" {
		yes = !yes
	}
	name = map[bool]string{true: "Upload-Incomplete", false: "Upload-Complete"}[c.version == "3"]
	return name, map[bool]string{true: "?1", false: "?0"}[yes]
}

// saysComplete reads what an answer says of it.
func (c draftClient) saysComplete(h http.Header) bool {
	name, value := c.complete(true)
	return h.Get(name) == value
}

// begun is what 104 (Upload Resumption Supported) has told.
type begun struct {
	url, recording, version, ticket string
}

// send sends a request, and told the first 104 if it is not nil.
func (c draftClient) send(ctx context.Context, method, url string, body io.Reader, told chan<- begun, header ...string) (answer, error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if code == 104 && told != nil {
			told <- begun{h.Get("Location"), h.Get("Reprise-Recording"), h.Get("Upload-Draft-Interop-Version"), h.Get("Reprise-Upload-Ticket")}
		}
		return nil
	}})
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	must(c.t, err)
	req.Header.Set("Test-User", "alice")
	req.Header.Set("Upload-Draft-Interop-Version", c.version)
	if method == http.MethodPatch && c.version == "6" {
		req.Header.Set("Content-Type", "application/partial-upload")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	a.body, err = io.ReadAll(resp.Body)
	var problem struct{ Code string }
	_ = json.Unmarshal(a.body, &problem) // "" unless it is one
	a.code = problem.Code
	return a, err
}

// post creates an upload with body; complete says that this is the whole file.
func (c draftClient) post(body io.Reader, complete bool, header ...string) (answer, begun) {
	c.t.Helper()
	told := make(chan begun, 1)
	name, value := c.complete(complete)
	a, err := c.send(c.t.Context(), http.MethodPost, c.url+"/files/", body, told, append([]string{name, value}, header...)...)
	must(c.t, err)
	close(told)
	return a, <-told
}

func (c draftClient) append(url string, offset int, body io.Reader, complete bool, header ...string) answer {
	c.t.Helper()
	name, value := c.complete(complete)
	a, err := c.send(c.t.Context(), http.MethodPatch, url, body, nil, append([]string{name, value, "Upload-Offset", strconv.Itoa(offset)}, header...)...)
	must(c.t, err)
	return a
}

func (c draftClient) head(url string) (offset int, complete bool) {
	c.t.Helper()
	a, err := c.send(c.t.Context(), http.MethodHead, url, nil, nil)
	must(c.t, err)
	if a.status != http.StatusNoContent || a.header.Get("Cache-Control") != "no-store" {
		c.t.Errorf("HEAD: %d %v", a.status, a.header)
	}
	offset, err = strconv.Atoi(a.header.Get("Upload-Offset"))
	must(c.t, err)
	return offset, c.saysComplete(a.header)
}

func eachDraft(t *testing.T, f func(t *testing.T, c draftClient)) {
	t.Helper()
	r := newRig(t)
	for _, version := range draftVersions {
		t.Run("version "+version, func(t *testing.T) {
			one := *r
			one.t = t
			f(t, draftClient{&one, version})
		})
	}
}

// unsized hides how long a body is: it is sent in chunks.
func unsized(p []byte) io.Reader { return io.MultiReader(bytes.NewReader(p)) }

// TestDraftWhole: a file in one request, of known and of unknown length. What
// tus says in Upload-Metadata comes in other headers.
func TestDraftWhole(t *testing.T) {
	t.Parallel()
	eachDraft(t, func(t *testing.T, c draftClient) {
		data := audio(200_000)
		for name, body := range map[string]io.Reader{"sized": bytes.NewReader(data), "unsized": unsized(data)} {
			a, told := c.post(body, true, "Content-Type", "audio/mp4; codecs=mp4a.40.2", "Content-Disposition", `attachment; filename="Großmutter.m4a"; filename*=UTF-8''Gro%C3%9Fmutter.m4a`,
				"Upload-Metadata", "title VGl0bGU=")
			if a.status != http.StatusCreated || !c.saysComplete(a.header) || a.header.Get("Tus-Resumable") != "" {
				t.Fatalf("%s: %d %v %s", name, a.status, a.header, a.body)
			}
			if told.url == "" || told.url != a.header.Get("Location") || told.recording != a.header.Get("Reprise-Recording") || told.version != c.version {
				t.Errorf("%s: 104 said %+v, the answer %v", name, told, a.header)
			}
			if offset, complete := c.head(told.url); offset != len(data) || !complete {
				t.Errorf("%s: HEAD says %d, complete %v", name, offset, complete)
			}
			c.wantReceived(told.url, data)
			rec, err := c.catalog.Recording(t.Context(), c.alice, uuid.MustParse(told.recording))
			must(t, err)
			if rec.Filename != "Großmutter.m4a" || rec.Filetype != "audio/mp4" || rec.Title != "Title" {
				t.Errorf("%s: filename %q, filetype %q, title %q", name, rec.Filename, rec.Filetype, rec.Title)
			}
		}
	})
}

// TestDraftTicket: 104 tells the ticket before any byte has come, and the phone goes
// on with nothing else.
func TestDraftTicket(t *testing.T) {
	t.Parallel()
	eachDraft(t, func(t *testing.T, c draftClient) {
		data := audio(20_000)
		a, told := c.post(bytes.NewReader(data[:5000]), false)
		if a.status != http.StatusCreated || told.ticket == "" || told.ticket != a.header.Get("Reprise-Upload-Ticket") {
			t.Fatalf("%d %v; 104 %+v", a.status, a.header, told)
		}
		head, err := c.send(t.Context(), http.MethodHead, told.url, nil, nil, by(told.ticket)...)
		must(t, err)
		if head.header.Get("Upload-Offset") != "5000" {
			t.Errorf("HEAD: %d %v", head.status, head.header)
		}
		if a := c.append(told.url, 5000, bytes.NewReader(data[5000:]), true, by(told.ticket)...); a.status != http.StatusNoContent || !c.saysComplete(a.header) {
			t.Fatalf("PATCH: %d %v %s", a.status, a.header, a.body)
		}
		c.wantReceived(told.url, data)
	})
}

// TestDraftResume: the phone loses its network, asks for the offset, and sends
// the rest, as URLSession does.
func TestDraftResume(t *testing.T) {
	t.Parallel()
	eachDraft(t, func(t *testing.T, c draftClient) {
		data := audio(200_000)
		for _, sized := range []bool{true, false} {
			told := make(chan begun, 1)
			body, phone := io.Pipe()
			header := []string{}
			if sized {
				header = append(header, "Upload-Length", strconv.Itoa(len(data)))
			}
			name, value := c.complete(true)
			before := c.received()
			ended := make(chan error, 1)
			go func() {
				_, err := c.send(t.Context(), http.MethodPost, c.url+"/files/", body, told, append(header, name, value)...)
				ended <- err
			}()
			url := (<-told).url // before the body is there
			_, err := phone.Write(data[:50_000])
			must(t, err)
			waitFor(t, func() bool { return c.received() >= before+50_000 })
			phone.CloseWithError(errors.New("no network"))
			if err := <-ended; err == nil {
				t.Error("the request that was cut off has an answer")
			}

			offset, complete := c.head(url)
			if offset != 50_000 || complete {
				t.Fatalf("HEAD says %d, complete %v", offset, complete)
			}
			if a := c.append(url, 10, bytes.NewReader(data[10:]), true); a.status != http.StatusConflict || a.header.Get("Upload-Offset") != "50000" {
				t.Errorf("a wrong offset: %d, Upload-Offset %q, %s", a.status, a.header.Get("Upload-Offset"), a.body)
			}
			a := c.append(url, offset, bytes.NewReader(data[offset:120_000]), false)
			if a.status != http.StatusNoContent || a.header.Get("Upload-Offset") != "120000" || c.saysComplete(a.header) {
				t.Fatalf("append: %d %v %s", a.status, a.header, a.body)
			}
			if _, err := time.Parse(http.TimeFormat, a.header.Get("Upload-Expires")); err != nil {
				t.Errorf("Upload-Expires: %v", err)
			}
			a = c.append(url, 120_000, unsized(data[120_000:]), true)
			if a.status != http.StatusNoContent || a.header.Get("Upload-Offset") != "200000" || !c.saysComplete(a.header) {
				t.Fatalf("last append: %d %v %s", a.status, a.header, a.body)
			}
			c.wantReceived(url, data)
		}
	})
}

// TestDraftNeverShort: a body that breaks off, or ends somewhere else than the
// file, completes nothing, whatever it says of itself.
func TestDraftNeverShort(t *testing.T) {
	t.Parallel()
	eachDraft(t, func(t *testing.T, c draftClient) {
		data := audio(60_000)
		_, told := c.post(bytes.NewReader(data[:10_000]), false)
		url := told.url
		if told.url == "" {
			t.Fatal("no 104")
		}
		// Chunked, and cut before its last chunk.
		body, phone := io.Pipe()
		name, value := c.complete(true)
		before := c.received()
		ended := make(chan error, 1)
		go func() {
			_, err := c.send(t.Context(), http.MethodPatch, url, body, nil, name, value, "Upload-Offset", "10000")
			ended <- err
		}()
		_, err := phone.Write(data[10_000:30_000])
		must(t, err)
		waitFor(t, func() bool { return c.received() >= before+20_000 })
		phone.CloseWithError(errors.New("no network"))
		<-ended
		if offset, complete := c.head(url); offset != 30_000 || complete {
			t.Fatalf("HEAD says %d, complete %v", offset, complete)
		}
		// The length becomes known, and bodies say to complete it that don't.
		if a := c.append(url, 30_000, bytes.NewReader(data[30_000:40_000]), false, "Upload-Length", "60000"); a.status != http.StatusNoContent {
			t.Fatalf("append: %d %s", a.status, a.body)
		}
		if a := c.append(url, 40_000, bytes.NewReader(data[40_000:50_000]), true); a.status != http.StatusBadRequest || a.code != "invalid_request" {
			t.Errorf("a short end: %d %s", a.status, a.body)
		}
		offset, complete := c.head(url)
		if offset != 40_000 || complete {
			t.Errorf("HEAD says %d, complete %v", offset, complete)
		}
		if a := c.append(url, 40_000, unsized(data[40_000:50_000]), true); a.status != http.StatusBadRequest || a.code != "invalid_request" {
			t.Errorf("a short end of unknown length: %d %s", a.status, a.body)
		}
		offset, complete = c.head(url)
		if offset != 50_000 || complete {
			t.Errorf("HEAD says %d, complete %v", offset, complete)
		}
		if a := c.append(url, offset, bytes.NewReader(data[offset:]), true); a.status != http.StatusNoContent {
			t.Errorf("append: %d %s", a.status, a.body)
		}
		c.wantReceived(url, data)
	})
}

// TestDraftEnd: the last bytes come with a body that doesn't know it, so an empty
// one completes the upload.
func TestDraftEnd(t *testing.T) {
	t.Parallel()
	eachDraft(t, func(t *testing.T, c draftClient) {
		data := audio(5000)
		a, told := c.post(bytes.NewReader(data[:2000]), false)
		if a.status != http.StatusCreated || c.saysComplete(a.header) || a.header.Get("Upload-Offset") != "2000" {
			t.Fatalf("post: %d %v", a.status, a.header)
		}
		c.append(told.url, 2000, bytes.NewReader(data[2000:]), false)
		if _, complete := c.head(told.url); complete {
			t.Error("complete before it was said")
		}
		if a := c.append(told.url, 5000, nil, true); a.status != http.StatusNoContent || !c.saysComplete(a.header) {
			t.Errorf("the end: %d %v %s", a.status, a.header, a.body)
		}
		if a := c.append(told.url, 5000, nil, true); a.status != http.StatusNoContent || !c.saysComplete(a.header) {
			t.Errorf("the end again: %d %v %s", a.status, a.header, a.body)
		}
		c.wantReceived(told.url, data)
		if a, err := c.send(t.Context(), http.MethodDelete, told.url, nil, nil); err != nil || a.status != http.StatusNoContent {
			t.Errorf("delete: %d %v", a.status, err)
		}
		if a := c.append(told.url, 5000, nil, true); a.status != http.StatusGone {
			t.Errorf("append after it: %d %s", a.status, a.body)
		}
	})
}

// TestDraftClientID: an app that has lost the answer, and the 104 too, sends the
// whole file again. It gives the same recording, and every byte once.
func TestDraftClientID(t *testing.T) {
	t.Parallel()
	eachDraft(t, func(t *testing.T, c draftClient) {
		data := audio(50_000)
		for name, body := range map[string]func() io.Reader{
			"sized":   func() io.Reader { return bytes.NewReader(data) },
			"unsized": func() io.Reader { return unsized(data) },
		} {
			meta := append(clientID(name+c.version), "Upload-Length", "50000")
			_, first := c.post(bytes.NewReader(data[:20_000]), false, meta...)
			if offset, _ := c.head(first.url); offset != 20_000 {
				t.Fatalf("%s: offset %d", name, offset)
			}
			if a, _ := c.post(bytes.NewReader(data[:5000]), false, meta...); a.status != http.StatusCreated || a.header.Get("Upload-Offset") != "20000" || c.saysComplete(a.header) {
				t.Errorf("%s: a shorter body: %d %v %s", name, a.status, a.header, a.body)
			}
			for range 2 { // the second finds it complete
				a, told := c.post(body(), true, meta...)
				if a.status != http.StatusCreated || !c.saysComplete(a.header) || a.header.Get("Location") != first.url || a.header.Get("Reprise-Recording") != first.recording {
					t.Fatalf("%s: again: %d %v %s; 104 %+v", name, a.status, a.header, a.body, told)
				}
			}
			c.wantReceived(first.url, data)
		}
	})
}

// TestDraftRefusals: what is asked of tus's requests is asked of these.
func TestDraftRefusals(t *testing.T) {
	t.Parallel()
	eachDraft(t, func(t *testing.T, c draftClient) {
		data := audio(1000)
		_, told := c.post(bytes.NewReader(data[:500]), false)
		name, yes := c.complete(true)
		files := c.url + "/files/"
		for _, tt := range []struct {
			name, method, url string
			body              []byte
			header            []string
			status            int
			code              string
		}{
			{"no token", "POST", files, data, []string{"Test-User", "", name, yes}, 401, "unauthenticated"},
			{"somebody else's HEAD", "HEAD", told.url, nil, []string{"Test-User", "bob"}, 404, ""},
			{"somebody else's", "PATCH", told.url, data, []string{"Test-User", "bob", "Upload-Offset", "500", name, yes}, 404, "not_found"},
			{"somebody else's DELETE", "DELETE", told.url, nil, []string{"Test-User", "bob"}, 404, "not_found"},
			{"nothing about the end", "POST", files, data, nil, 400, "invalid_request"},
			{"nonsense about the end", "PATCH", told.url, data, []string{name, "yes", "Upload-Offset", "500"}, 400, "invalid_request"},
			{"declared image", "POST", files, data, []string{name, yes, "Content-Type", "image/png"}, 415, "unsupported_type"},
			{"no type that anybody has set", "POST", files, data, []string{name, yes, "Content-Type", "application/x-www-form-urlencoded"}, 201, ""},
			{"malformed type", "POST", files, data, []string{name, yes, "Content-Type", "audio/"}, 400, "invalid_request"},
			{"malformed disposition", "POST", files, data, []string{name, yes, "Content-Disposition", `attachment; filename="`}, 400, "invalid_request"},
			{"control character", "POST", files, data, []string{name, yes, "Content-Disposition", `attachment; filename*=UTF-8''a%0Ab`}, 400, "invalid_metadata"},
			{"bad metadata", "POST", files, data, []string{name, yes, "Upload-Metadata", "title !"}, 400, "invalid_metadata"},
			{"not audio", "POST", files, bytes.Repeat([]byte("text"), 50), []string{name, yes}, 415, "not_audio"},
			{"too large", "POST", files, make([]byte, maxSize+1), []string{name, yes}, 413, "too_large"},
			{"two lengths", "POST", files, data, []string{name, yes, "Upload-Length", "5"}, 400, "invalid_request"},
			{"checksum of tus", "PATCH", told.url, data, []string{name, yes, "Upload-Offset", "500", "Upload-Checksum", sha1Of(data)}, 400, "invalid_request"},
			{"parts of tus", "POST", files, data, []string{name, yes, "Upload-Concat", "partial"}, 400, "invalid_request"},
			{"no offset", "PATCH", told.url, data, []string{name, yes}, 400, "invalid_request"},
			{"unknown id", "PATCH", files + uuid.NewString(), data, []string{name, yes, "Upload-Offset", "0"}, 404, "not_found"},
			{"unknown version", "POST", files, data, []string{name, yes, "Upload-Draft-Interop-Version", "99"}, 412, "unsupported_version"},
		} {
			a, err := c.send(t.Context(), tt.method, tt.url, bytes.NewReader(tt.body), nil, tt.header...)
			must(t, err)
			if a.status != tt.status || a.code != tt.code {
				t.Errorf("%s: %d %q, want %d %q\n%s", tt.name, a.status, a.code, tt.status, tt.code, a.body)
			}
		}
		if c.version == "6" {
			a := c.append(told.url, 500, bytes.NewReader(data[500:]), true, "Content-Type", "audio/mp4")
			if a.status != http.StatusUnsupportedMediaType || a.code != "invalid_content_type" {
				t.Errorf("another content type: %d %s", a.status, a.body)
			}
		}
		if offset, _ := c.head(told.url); offset != 500 {
			t.Errorf("offset %d after all that", offset)
		}
	})
}

// TestDraftTakeover: one protocol's request hangs, the other's goes on.
func TestDraftTakeover(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c := draftClient{r, "6"}
	data := audio(100_000)
	_, told := c.post(bytes.NewReader(data[:10_000]), false, "Upload-Length", fmt.Sprint(len(data)))
	_, hung := r.hang(told.url, "10000", data[10_000:40_000])
	if offset, _ := c.head(told.url); offset != 40_000 {
		t.Fatalf("offset %d", offset)
	}
	if a := <-hung; a.status != http.StatusConflict {
		t.Errorf("the hung request got %d", a.status)
	}
	if a := c.append(told.url, 40_000, bytes.NewReader(data[40_000:]), true); a.status != http.StatusNoContent {
		t.Errorf("append: %d %s", a.status, a.body)
	}
	if u := r.row(told.url); u.State != recording.UploadReceived {
		t.Errorf("it is %s", u.State)
	}
	r.wantReceived(told.url, data)
}
