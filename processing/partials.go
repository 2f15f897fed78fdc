package processing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"

	"reprise/recording"
)

// partialsReader reads the objects of partial uploads one behind the other. It
// fails for good where one is not what was received.
type partialsReader struct {
	ctx     context.Context
	objects Objects
	left    []recording.Upload // of which the first is being read, if object is set
	object  recording.Object

	size  int64     // bytes read of the first
	piece hash.Hash // over them
	whole hash.Hash // over all bytes read
	err   error     // that ended it, but for io.EOF
}

func newPartialsReader(ctx context.Context, objects Objects, partials []recording.Upload) *partialsReader {
	return &partialsReader{ctx: ctx, objects: objects, left: partials, piece: sha256.New(), whole: sha256.New()}
}

func (r *partialsReader) Read(p []byte) (int, error) {
	for r.err == nil && len(r.left) > 0 {
		n, err := r.readFirst(p)
		if errors.Is(err, io.EOF) {
			err = r.next()
		}
		r.err = err
		if n > 0 {
			return n, nil
		}
	}
	if r.err != nil {
		return 0, r.err
	}
	return 0, io.EOF
}

func (r *partialsReader) readFirst(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if r.object == nil {
		object, err := r.objects.Open(r.ctx, r.left[0].ObjectKey)
		if recording.CodeOf(err) == recording.CodeNotFound {
			err = lost(err)
		}
		if err != nil {
			return 0, err
		}
		r.object = object
	}
	n, err := r.object.Read(p)
	r.size += int64(n)
	r.piece.Write(p[:n])
	r.whole.Write(p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("read a partial upload's object: %w", err)
	}
	return n, err
}

// next compares the first with what was received of it, and drops it.
func (r *partialsReader) next() error {
	r.close()
	u := r.left[0]
	want, err := receivedDigest(u)
	if err != nil {
		return err
	}
	if got := r.piece.Sum(nil); r.size != u.Offset || !bytes.Equal(got, want) {
		return lost(fmt.Errorf("the object of partial upload %s has %d bytes with digest %x, the ledger says otherwise", u.ID, r.size, got))
	}
	r.left, r.size = r.left[1:], 0
	r.piece.Reset()
	return nil
}

// receivedDigest returns the SHA-256 of what was received of an upload.
func receivedDigest(u recording.Upload) ([]byte, error) {
	h := sha256.New()
	if u.HashState != nil {
		if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(u.HashState); err != nil {
			return nil, fmt.Errorf("restore the digest's state: %w", err)
		}
	}
	return h.Sum(nil), nil
}

func (r *partialsReader) close() {
	if r.object != nil {
		r.object.Close() // it was only read
		r.object = nil
	}
}
