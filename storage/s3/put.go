package s3

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"

	"reprise/recording"
	"reprise/storage"
)

// abortTimeout is for clearing up after a failure, whatever ended the work.
const abortTimeout = 30 * time.Second

// writeKey is where the metadata of an object say which multipart Put made it.
const writeKey = "write"

// Put implements storage.Store. What fits into a part goes up as one request,
// anything longer as a multipart upload, part after part. It holds one part in
// memory, which doesn't count in the budget: the callers are few.
//
// If the server gives no answer to the last request, the object may be there
// although Put failed.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) (recording.ObjectInfo, error) {
	if err := storage.CheckKey(key); err != nil {
		return recording.ObjectInfo{}, err
	}
	name := s.objectName(key)
	parts := &partReader{r: bufio.NewReader(contextReader{ctx, r}), size: int(s.partSize())}
	first, last, err := parts.next()
	if err != nil {
		return recording.ObjectInfo{}, failed("read what is to be an object", err)
	}
	size := int64(len(first))
	if last {
		_, err = s.put(ctx, name, newBody(first))
	} else {
		size, err = s.putParts(ctx, name, first, parts)
	}
	if err != nil {
		return recording.ObjectInfo{}, err
	}
	return recording.ObjectInfo{Key: key, SizeBytes: size, ModifiedAt: s.o.Now()}, nil
}

// putParts puts p and what else parts gives, and returns the size of all.
func (s *Store) putParts(ctx context.Context, name string, p []byte, parts *partReader) (size int64, err error) {
	// An object of this name and size may be there already, with other bytes.
	token := uuid.NewString()
	id, err := s.beginWith(ctx, name, map[string]string{writeKey: token})
	if err != nil {
		return 0, err
	}
	m := multipart{name: name, id: id}
	defer func() {
		if err != nil {
			s.giveUp(ctx, m)
		}
	}()
	var done []uploaded
	for last := false; ; {
		part, err := s.uploadPart(ctx, m, int32(len(done)+1), newBody(p))
		if err != nil {
			return 0, err
		}
		size += int64(len(p))
		done = append(done, part)
		if last {
			break
		}
		if p, last, err = parts.next(); err != nil {
			return 0, failed("read what is to be an object", err)
		}
	}
	return size, s.completeIf(ctx, m, done, func(object *s3.HeadObjectOutput) bool {
		return object.Metadata[writeKey] == token
	})
}

// giveUp deletes what a multipart upload has left. What it can't delete is found
// by List.
func (s *Store) giveUp(ctx context.Context, m multipart) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	if err := s.abort(ctx, m); err != nil {
		s.log.WarnContext(ctx, "a multipart upload is left behind", slog.Any("error", err))
	}
}

// partReader cuts a stream into parts.
type partReader struct {
	r    *bufio.Reader
	size int // bytes of every part but the last
	buf  []byte
}

// next returns the next part, which is valid until the following call, and whether
// it is the last. Only the only part can be empty.
func (p *partReader) next() (part []byte, last bool, err error) {
	n := 0
	// Most objects are small.
	for _, most := range []int{64 << 10, 1 << 20, p.size} {
		if len(p.buf) < most {
			p.buf = append(make([]byte, 0, most), p.buf[:n]...)[:most]
		}
		read, err := io.ReadFull(p.r, p.buf[n:])
		n += read
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return p.buf[:n], true, nil
		}
		if err != nil {
			return nil, false, err
		}
		if n == p.size {
			break
		}
	}
	if _, err = p.r.Peek(1); errors.Is(err, io.EOF) {
		return p.buf, true, nil
	}
	return p.buf, false, err
}

// contextReader ends reading when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
