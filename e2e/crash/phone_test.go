package crash

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// retryPause is between two tries of a phone whose server is not there.
const retryPause = 30 * time.Millisecond

// phone uploads one file by tus, resumes whatever happens, and remembers every
// offset that it was told. One goroutine uses it.
type phone struct {
	token    string
	base     func() string // of the server to ask next, "http://host:port"
	http     *http.Client
	data     []byte
	clientID string
	way      way

	path      string // of the upload; "" before the answer to its creation
	recording uuid.UUID
	told      int64 // the highest offset that a server has said
	sent      int64 // the server can't have more than this
	declared  bool  // the server knows the length
	partial   bool  // it sends a piece of another phone's file
	retries   int
	refused   int  // answers that asked to try again
	gaveUp    bool // a request of its own may still be on the way
}

// way is how a phone uploads.
type way struct {
	name       string
	chunk      func() int                        // size of the next request's body; nil means everything that is left
	inCreation bool                              // the first bytes come with the creation
	partials   int                               // as so many uploads at once, which are joined; 0 is as one
	length     lengthWay                         // when the length is said
	pace       func() func(bytes int)            // makes what is called while a body is sent, after so many bytes; may be nil
	timeout    func() (d time.Duration, ok bool) // of a request, after which the phone gives up and resumes; may be nil
}

type lengthWay int

const (
	lengthFirst lengthWay = iota // with the creation
	lengthLast                   // with the last bytes
	lengthAfter                  // when every byte is there
)

func chunksOf(n int) func() int { return func() int { return n } }

// violation is a broken promise: nothing that a phone could retry.
type violation struct{ what string }

func (v *violation) Error() string { return v.what }

func violated(format string, args ...any) error { return &violation{fmt.Sprintf(format, args...)} }

// upload sends everything. It returns a violation, or an error if ctx ends.
func (p *phone) upload(ctx context.Context) error {
	if p.way.partials > 0 {
		return p.uploadPartials(ctx)
	}
	sure := true // that told is where to go on
	for {
		var err error
		switch {
		case p.path == "":
			err = p.create(ctx)
		case !sure:
			err = p.look(ctx)
		case p.told < int64(len(p.data)) || !p.declared:
			err = p.send(ctx)
		default:
			return nil
		}
		sure = err == nil
		var broken *violation
		if errors.As(err, &broken) {
			return err
		}
		if err == nil {
			continue
		}
		p.retries++
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return fmt.Errorf("upload at offset %d of %d: %w; the last try: %w", p.told, len(p.data), ctx.Err(), err)
		}
	}
}

// create asks for the upload, the same one however often it asks.
func (p *phone) create(ctx context.Context) error {
	var body []byte
	if p.way.inCreation {
		body = p.next(0)
	}
	header := http.Header{"Upload-Concat": {"partial"}}
	if !p.partial {
		header = http.Header{"Upload-Metadata": {p.metadata()}}
	}
	if p.way.length == lengthFirst {
		header.Set("Upload-Length", strconv.Itoa(len(p.data)))
	} else {
		header.Set("Upload-Defer-Length", "1")
	}
	res, err := p.do(ctx, http.MethodPost, "/files/", header, body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusCreated {
		return violated("creation was answered with %s", res.Status)
	}
	at, err := url.Parse(res.Header.Get("Location"))
	id, idErr := uuid.Parse(res.Header.Get("Reprise-Recording"))
	if p.partial && res.Header.Get("Reprise-Recording") == "" {
		idErr = nil
	}
	switch {
	case err != nil || at.Path == "" || idErr != nil:
		return violated("creation was answered with Location %q and Reprise-Recording %q", res.Header.Get("Location"), res.Header.Get("Reprise-Recording"))
	case p.path != "" && (p.path != at.Path || p.recording != id):
		return violated("clientId named %s of %s, now it names %s of %s", p.path, p.recording, at.Path, id)
	}
	p.path, p.recording, p.declared = at.Path, id, p.way.length == lengthFirst
	if offset := res.Header.Get("Upload-Offset"); offset != "" {
		return p.learn(offset)
	}
	return nil
}

// look asks where to go on.
func (p *phone) look(ctx context.Context) error {
	res, err := p.do(ctx, http.MethodHead, p.path, http.Header{}, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return violated("HEAD was answered with %s", res.Status)
	}
	p.declared = res.Header.Get("Upload-Defer-Length") == ""
	if length := res.Header.Get("Upload-Length"); p.declared && length != strconv.Itoa(len(p.data)) {
		return violated("HEAD says that the upload has %q bytes instead of %d", length, len(p.data))
	}
	return p.learn(res.Header.Get("Upload-Offset"))
}

// send sends the next bytes.
func (p *phone) send(ctx context.Context) error {
	body := p.next(p.told)
	header := http.Header{"Upload-Offset": {strconv.FormatInt(p.told, 10)}}
	end := p.told + int64(len(body))
	last := end == int64(len(p.data)) && !p.declared && (p.way.length == lengthLast || len(body) == 0)
	if last {
		header.Set("Upload-Length", strconv.Itoa(len(p.data)))
	}
	res, err := p.do(ctx, http.MethodPatch, p.path, header, body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusNoContent {
		return violated("PATCH was answered with %s", res.Status)
	}
	if err := p.learn(res.Header.Get("Upload-Offset")); err != nil {
		return err
	}
	if p.told != end {
		return violated("PATCH up to %d was answered with offset %d", end, p.told)
	}
	p.declared = p.declared || last
	return nil
}

// next returns the bytes from an offset on that the next request has.
func (p *phone) next(from int64) []byte {
	body := p.data[from:]
	if p.way.chunk != nil {
		body = body[:min(len(body), p.way.chunk())]
	}
	return body
}

// learn notes an offset, which must not contradict what was said before.
func (p *phone) learn(text string) error {
	offset, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return violated("Upload-Offset is %q", text)
	case offset < p.told:
		return violated("I1: the offset was %d, now it is %d", p.told, offset)
	case offset > p.sent:
		return violated("the offset is %d, but only %d bytes were sent", offset, p.sent)
	}
	p.told = offset
	return nil
}

// do sends a tus request. An answer that asks to try again is an error.
func (p *phone) do(ctx context.Context, method, path string, header http.Header, body []byte) (*http.Response, error) {
	if p.way.timeout != nil {
		if d, ok := p.way.timeout(); ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, d)
			defer cancel()
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, p.base()+path, p.paced(body))
	if err != nil {
		return nil, err
	}
	req.ContentLength = int64(len(body))
	req.Header = header
	req.Header.Set("Tus-Resumable", "1.0.0")
	req.Header.Set("Authorization", "Bearer "+p.token)
	if method == http.MethodPatch || len(body) > 0 {
		req.Header.Set("Content-Type", "application/offset+octet-stream")
	}
	p.sent = max(p.sent, p.told+int64(len(body)))
	res, err := p.http.Do(req)
	if err != nil {
		p.gaveUp = p.gaveUp || errors.Is(err, context.DeadlineExceeded)
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	switch {
	case res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
		p.refused++
		return nil, fmt.Errorf("%s: %s", res.Status, text)
	case res.StatusCode == http.StatusConflict && p.gaveUp &&
		(strings.Contains(string(text), `"code":"upload_taken_over"`) || strings.Contains(string(text), `"code":"offset_mismatch"`)):
		// One of its own requests came to a server late, and took over or moved the offset.
		return nil, fmt.Errorf("%s: %s", res.Status, text)
	case res.StatusCode >= 400:
		return nil, violated("%s %s was answered with %s: %s", method, path, res.Status, text)
	}
	return res, nil
}

// reprocess has a failed recording processed again.
func (p *phone) reprocess(w *world) {
	w.t.Logf("recording %s failed and is tried again", p.recording)
	path := "/v1/recordings/" + p.recording.String() + "/reprocess"
	if status, err := p.status(context.Background(), http.MethodPost, path); err != nil || status >= 300 && status != http.StatusConflict {
		w.t.Fatalf("POST %s was answered with %d, %v", path, status, err)
	}
}

// fetch returns the body of a GET that must succeed, from the server to ask next.
func (p *phone) fetch(ctx context.Context, path string) ([]byte, error) {
	return p.get(ctx, p.base()+path)
}

// get returns the body of a GET that must succeed.
func (p *phone) get(ctx context.Context, link string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	res, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", link, res.Status, text)
	}
	return text, err
}

// fetchJSON decodes the body of a GET.
func (p *phone) fetchJSON(ctx context.Context, path string, into any) error {
	text, err := p.fetch(ctx, path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// paced returns a body that the server gets at the phone's pace.
func (p *phone) paced(body []byte) io.Reader {
	if p.way.pace == nil {
		return bytes.NewReader(body)
	}
	return &pacedReader{bytes.NewReader(body), p.way.pace()}
}

// pacedReader calls pace while it is read.
type pacedReader struct {
	*bytes.Reader
	pace func(int)
}

func (r *pacedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p[:min(len(p), 64<<10)])
	if n > 0 {
		r.pace(n)
	}
	return n, err
}

// metadata is what the phone says of its recording.
func (p *phone) metadata() string {
	return metadata(map[string]string{"filename": "speech.wav", "filetype": "audio/wav", "clientId": p.clientID})
}

func metadata(pairs map[string]string) string {
	var b bytes.Buffer
	for key, value := range pairs {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(key + " " + base64.StdEncoding.EncodeToString([]byte(value)))
	}
	return b.String()
}
