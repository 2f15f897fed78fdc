package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// retryPause is between two tries of a phone.
const retryPause = 20 * time.Millisecond

// phone uploads one file by tus and resumes whatever happens. Its requests go to the
// replicas in turn. One goroutine uses it.
type phone struct {
	bases []string // of the replicas, "http://host:port"
	http  *http.Client
	data  []byte
	chunk int // bytes of a PATCH
	turn  int

	path      string
	recording uuid.UUID // uuid.Nil with stock tusd, which has none
	offset    int64     // as the server has said
	retries   int
}

// errGone says that the server has given the upload up.
var errGone = errors.New("the server says that the upload is gone")

// upload sends everything, and resumes until ctx ends.
func (p *phone) upload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.create(ctx); err != nil {
		return err
	}
	return p.finish(ctx)
}

// finish sends what is missing.
func (p *phone) finish(ctx context.Context) error {
	for p.offset < int64(len(p.data)) {
		err := p.patch(ctx)
		for err != nil {
			if errors.Is(err, errGone) {
				return err
			}
			p.retries++
			select {
			case <-time.After(retryPause):
			case <-ctx.Done():
				return fmt.Errorf("%w at offset %d of %d after %d retries: %w", ctx.Err(), p.offset, len(p.data), p.retries, err)
			}
			err = p.look(ctx)
		}
	}
	return nil
}

func (p *phone) create(ctx context.Context) error { return p.createOf(ctx, len(p.data)) }

// createOf is create for an upload of another length.
func (p *phone) createOf(ctx context.Context, length int) error {
	res, err := p.do(ctx, http.MethodPost, "/files/", nil, "Upload-Length", strconv.Itoa(length))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusCreated {
		return fmt.Errorf("creation was answered with %s", res.Status)
	}
	location, err := url.Parse(res.Header.Get("Location"))
	if err != nil {
		return err
	}
	p.path = location.Path
	p.recording, _ = uuid.Parse(res.Header.Get("Reprise-Recording"))
	return nil
}

// patch sends the next chunk.
func (p *phone) patch(ctx context.Context) error {
	end := min(p.offset+int64(p.chunk), int64(len(p.data)))
	res, err := p.do(ctx, http.MethodPatch, p.path, p.data[p.offset:end],
		"Content-Type", "application/offset+octet-stream", "Upload-Offset", strconv.FormatInt(p.offset, 10))
	if err != nil {
		return err
	}
	if res.StatusCode == http.StatusGone {
		return errGone
	}
	if res.StatusCode != http.StatusNoContent {
		return fmt.Errorf("PATCH was answered with %s", res.Status)
	}
	return p.told(res)
}

// look asks for the offset.
func (p *phone) look(ctx context.Context) error {
	res, err := p.do(ctx, http.MethodHead, p.path, nil)
	if err != nil {
		return err
	}
	if res.StatusCode == http.StatusGone {
		return errGone
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("HEAD was answered with %s", res.Status)
	}
	return p.told(res)
}

// told takes in an offset, which never goes down.
func (p *phone) told(res *http.Response) error {
	offset, err := strconv.ParseInt(res.Header.Get("Upload-Offset"), 10, 64)
	if err != nil {
		return err
	}
	if offset < p.offset || offset > int64(len(p.data)) {
		return fmt.Errorf("%w: the offset went from %d to %d", errGone, p.offset, offset)
	}
	p.offset = offset
	return nil
}

// do sends a request and reads its answer to the end.
func (p *phone) do(ctx context.Context, method, path string, body []byte, header ...string) (*http.Response, error) {
	base := p.bases[p.turn%len(p.bases)]
	p.turn++
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res, err
}

// id is the upload's.
func (p *phone) id() uuid.UUID { return uuid.MustParse(path.Base(p.path)) }
