package s3

import (
	"encoding/base64"
	"errors"
	"hash/crc32"
	"io"
	"sync"
)

// body is what a request carries: pieces of memory, one behind the other, which
// nobody changes while it lives. The SDK reads it once per attempt.
type body struct {
	size int64

	mu     sync.Mutex
	pieces [][]byte // nil after release
	at     int64
}

var errReleased = errors.New("s3: the request has ended")

func newBody(pieces ...[]byte) *body {
	b := &body{pieces: pieces}
	for _, p := range pieces {
		b.size += int64(len(p))
	}
	return b
}

// crc32c returns the CRC32C as a header carries it. A checksum is made once per
// request, by the goroutine that sends it while others read what comes next: before
// that nobody knows which bytes go together.
func (b *body) crc32c() *string {
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	for _, p := range b.pieces {
		h.Write(p)
	}
	text := base64.StdEncoding.EncodeToString(h.Sum(nil))
	return &text
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pieces == nil && b.size > 0 {
		return 0, errReleased
	}
	skip := b.at
	for _, piece := range b.pieces {
		if skip < int64(len(piece)) {
			n := copy(p, piece[skip:])
			b.at += int64(n)
			return n, nil
		}
		skip -= int64(len(piece))
	}
	return 0, io.EOF
}

// Seek implements io.Seeker; the SDK begins again before each attempt.
func (b *body) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += b.at
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 {
		return 0, errors.New("s3: seek before the beginning")
	}
	b.at = offset
	return offset, nil
}

// release takes the memory back. An HTTP client may read a body on after the request
// has failed, until it notices; from now on it gets an error, not somebody else's
// bytes.
func (b *body) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pieces = nil
}
