package client

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// created is the answer to a creation.
type created struct {
	url         string
	recordingID string
	offset      int64
}

// create creates an upload of length bytes, or finds the one that has this
// clientId already.
func (s *server) create(ctx context.Context, length int64, metadata map[string]string) (created, error) {
	header, _, err := s.short(ctx, http.MethodPost, s.path("files/"), http.Header{
		"Tus-Resumable":   {tusVersion},
		"Upload-Length":   {strconv.FormatInt(length, 10)},
		"Upload-Metadata": {encodeMetadata(metadata)},
	})
	if problem := (*Problem)(nil); errors.As(err, &problem) && problem.elsewhere() {
		return created{}, protocolf("%s has no place for uploads: %v; is it the public address of a Reprise server?", s.base, err)
	}
	if err != nil {
		return created{}, err
	}
	c := created{recordingID: header.Get("Reprise-Recording")}
	if c.url, err = s.locate(header.Get("Location")); err != nil {
		return created{}, err
	}
	if header.Get("Upload-Offset") != "" { // of an upload that was there already; a new one begins at 0
		if c.offset, err = offsetOf(header, length); err != nil {
			return created{}, err
		}
	}
	return c, nil
}

// offset asks how many bytes of an upload the server has acknowledged.
func (s *server) offset(ctx context.Context, target string, length int64) (int64, error) {
	header, _, err := s.short(ctx, http.MethodHead, target, http.Header{"Tus-Resumable": {tusVersion}})
	if err != nil {
		return 0, err
	}
	return offsetOf(header, length)
}

// terminate gives an upload up.
func (s *server) terminate(ctx context.Context, target string) error {
	_, _, err := s.short(ctx, http.MethodDelete, target, http.Header{"Tus-Resumable": {tusVersion}})
	return err
}

// patch sends a chunk of a file and returns the new offset. If no byte of it
// moves for stall, it ends with errStalled.
func (s *server) patch(ctx context.Context, target string, c *chunk, stall time.Duration) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer watchdog.Stop()
	c.moved = func() { watchdog.Reset(stall) }
	defer c.end()

	r, err := http.NewRequestWithContext(ctx, http.MethodPatch, target, c)
	if err != nil {
		return 0, protocolf("the server gave a URL that is not valid: %v", err)
	}
	r.ContentLength = c.to - c.from
	header, _, err := s.do(r, http.Header{
		"Tus-Resumable": {tusVersion},
		"Upload-Offset": {strconv.FormatInt(c.from, 10)},
		"Content-Type":  {"application/offset+octet-stream"},
	})
	if failure := c.failure(); failure != nil {
		return 0, failure
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return 0, err
	}
	offset, err := offsetOf(header, c.src.size)
	if err == nil && offset <= c.from {
		return 0, protocolf("the server took a chunk and kept its offset of %d", offset)
	}
	return offset, err
}

// offsetOf reads the Upload-Offset of an answer about an upload of this length.
func offsetOf(header http.Header, length int64) (int64, error) {
	offset, err := strconv.ParseInt(header.Get("Upload-Offset"), 10, 64)
	if err != nil || offset < 0 || offset > length {
		return 0, protocolf("the server answered without a valid Upload-Offset")
	}
	return offset, nil
}

// encodeMetadata makes an Upload-Metadata header (tus 1.0, creation), without
// the keys that have no value.
func encodeMetadata(metadata map[string]string) string {
	var pairs []string
	for key, value := range metadata {
		if value != "" {
			pairs = append(pairs, key+" "+base64.StdEncoding.EncodeToString([]byte(value)))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

// chunk is the body of a PATCH: bytes from to to of a file. The transport may
// read it for a moment after the request has ended.
type chunk struct {
	src      *source
	from, to int64
	cutAt    int64 // the offset at which reading fails with errCut; -1 for none
	brake    *brake
	sent     func(offset int64) // is told what has been read

	moved func()
	at    atomic.Int64 // how much of it has been read
	ended atomic.Bool
	fail  atomic.Pointer[error]
}

func (c *chunk) Read(p []byte) (int, error) {
	if c.ended.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	offset := c.from + c.at.Load()
	room := c.to - offset
	if room == 0 {
		return 0, io.EOF
	}
	if c.cutAt >= offset && c.cutAt < c.to {
		if room = c.cutAt - offset; room == 0 {
			return 0, c.failed(errCut)
		}
	}
	n, err := c.src.read(p[:c.brake.wait(min(int64(len(p)), room))], offset)
	if err != nil {
		return 0, c.failed(err)
	}
	c.at.Add(int64(n))
	c.moved()
	c.sent(offset + int64(n))
	return n, nil
}

func (c *chunk) failed(err error) error {
	c.fail.Store(&err)
	return err
}

func (c *chunk) failure() error {
	if err := c.fail.Load(); err != nil {
		return *err
	}
	return nil
}

func (c *chunk) end() { c.ended.Store(true) }

// Close implements io.Closer.
func (c *chunk) Close() error { return nil }
