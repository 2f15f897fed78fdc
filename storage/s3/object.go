package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"reprise/recording"
	"reprise/storage"
)

const (
	// headBytes are read when an object is opened. They tell its size, and a smaller
	// object needs no second request.
	headBytes = 64 << 10
	// readTries is how often reading is tried again without a byte coming.
	readTries = 3

	fileMode = 0o600
)

// object is an object opened for reading. Its first bytes are in memory; for the
// others a request from where it stands to the end is made when they are read.
type object struct {
	s    *Store
	ctx  context.Context // Open's: there is no other for Read
	name string
	etag string
	info recording.ObjectInfo

	head []byte
	at   int64
	body *download // of the bytes from bodyAt on; nil if none
	from int64     // where body stands
}

var errOffset = errors.New("s3: seek before the beginning of an object")

// Open implements storage.Store. Of an object over 64 KiB the rest is asked for
// when it is first read, and again after a Seek: it can't be read any more once the
// object is deleted or replaced, and Read says ErrNotFound then. What has been asked
// for stays readable.
func (s *Store) Open(ctx context.Context, key string) (recording.Object, error) {
	if err := storage.CheckKey(key); err != nil {
		return nil, err
	}
	o := &object{s: s, ctx: ctx, name: s.objectName(key), info: recording.ObjectInfo{Key: key}}
	var err error
	for range readTries {
		if err = o.open(); err == nil || !cutOff(ctx, err) {
			break
		}
	}
	if err != nil {
		return nil, failed("open an object", err)
	}
	return o, nil
}

// open gets the first bytes, and what is known of the object.
func (o *object) open() error {
	out, body, err := o.s.get(o.ctx, o.name, "bytes=0-"+strconv.Itoa(headBytes-1), "")
	if errorCode(err) == "InvalidRange" { // an empty object has no first byte
		return o.openEmpty()
	}
	if err != nil {
		return err
	}
	defer body.Close()
	o.etag, o.info.ModifiedAt = aws.ToString(out.ETag), aws.ToTime(out.LastModified)
	o.info.SizeBytes = aws.ToInt64(out.ContentLength)
	if out.ContentRange != nil {
		_, size, _ := strings.Cut(*out.ContentRange, "/")
		if o.info.SizeBytes, err = strconv.ParseInt(size, 10, 64); err != nil {
			return fmt.Errorf("the server's Content-Range %q has no size", *out.ContentRange)
		}
	}
	o.head = make([]byte, min(o.info.SizeBytes, headBytes))
	_, err = io.ReadFull(body, o.head)
	return err
}

func (o *object) openEmpty() error {
	out, err := o.s.head(o.ctx, o.name)
	if err != nil {
		return err
	}
	if size := aws.ToInt64(out.ContentLength); size != 0 {
		return fmt.Errorf("the server has no first byte of an object of %d", size)
	}
	o.etag, o.info.ModifiedAt = aws.ToString(out.ETag), aws.ToTime(out.LastModified)
	return nil
}

// get asks for bytes of an object, if it is still the one that has this ETag.
func (s *Store) get(ctx context.Context, name, byteRange, etag string) (*s3.GetObjectOutput, *download, error) {
	limited, cancel := context.WithCancel(ctx)
	out, err := s.client.GetObject(limited, &s3.GetObjectInput{
		Bucket: &s.o.Location.Bucket, Key: &name, Range: &byteRange, IfMatch: notEmpty(etag),
	})
	if errorCode(err) == "PreconditionFailed" {
		err = fmt.Errorf("it was replaced while it was open: %w: %w", storage.ErrNotFound, err)
	}
	if err != nil {
		cancel()
		return nil, nil, err
	}
	idle := time.AfterFunc(s.timeout, cancel)
	idle.Stop()
	return out, &download{ReadCloser: out.Body, cancel: cancel, idle: idle, limit: s.timeout}, nil
}

// download is an object's bytes on their way.
type download struct {
	io.ReadCloser
	cancel context.CancelFunc
	idle   *time.Timer // ends a read that gets nothing
	limit  time.Duration
}

func (b *download) Read(p []byte) (int, error) {
	b.idle.Reset(b.limit)
	n, err := b.ReadCloser.Read(p)
	if stalled := !b.idle.Stop(); stalled && err != nil {
		err = &timeoutError{b.limit}
	}
	return n, err
}

func (b *download) Close() error {
	b.cancel()
	return b.ReadCloser.Close()
}

// cutOff reports whether err is of a body, so that asking again may help. Of a
// request, the SDK has tried that.
func cutOff(ctx context.Context, err error) bool {
	var request *smithy.OperationError
	return ctx.Err() == nil && !errors.As(err, &request)
}

func (o *object) Info() recording.ObjectInfo { return o.info }

// Read implements io.Reader. A body that breaks off is asked for again from there.
func (o *object) Read(p []byte) (int, error) {
	if o.at >= o.info.SizeBytes {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if o.at < int64(len(o.head)) {
		n := copy(p, o.head[o.at:])
		o.at += int64(n)
		return n, nil
	}
	var err error
	for range readTries {
		var n int
		if n, err = o.readBody(p); n > 0 {
			return n, nil
		}
		if !cutOff(o.ctx, err) {
			break
		}
	}
	return 0, failed("read an object", err)
}

// readBody returns bytes, or an error, and never both.
func (o *object) readBody(p []byte) (int, error) {
	if err := o.ctx.Err(); err != nil {
		return 0, err // the rest of the body may have come already, and could still be read
	}
	if o.body != nil && o.from != o.at {
		o.drop()
	}
	if o.body == nil {
		out, body, err := o.s.get(o.ctx, o.name, "bytes="+strconv.FormatInt(o.at, 10)+"-", o.etag)
		if err != nil {
			return 0, err
		}
		if out.ContentRange == nil && o.at > 0 {
			return 0, errors.Join(errors.New("the server doesn't know ranges"), body.Close())
		}
		o.body, o.from = body, o.at
	}
	n, err := o.body.Read(p)
	o.at, o.from = o.at+int64(n), o.from+int64(n)
	if err != nil {
		o.drop()
	}
	switch {
	case n > 0:
		return n, nil
	case err == nil || errors.Is(err, io.EOF):
		return 0, io.ErrUnexpectedEOF
	case o.ctx.Err() != nil:
		return 0, o.ctx.Err()
	}
	return 0, err
}

func (o *object) drop() {
	_ = o.body.Close() // it was only read
	o.body = nil
}

// Seek implements io.Seeker.
func (o *object) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += o.at
	case io.SeekEnd:
		offset += o.info.SizeBytes
	}
	if offset < 0 {
		return 0, errOffset
	}
	o.at = offset
	return offset, nil
}

func (o *object) Close() error {
	if o.body != nil {
		o.drop()
	}
	return nil
}

// Stat implements storage.Store.
func (s *Store) Stat(ctx context.Context, key string) (recording.ObjectInfo, error) {
	if err := storage.CheckKey(key); err != nil {
		return recording.ObjectInfo{}, err
	}
	out, err := s.head(ctx, s.objectName(key))
	if err != nil {
		return recording.ObjectInfo{}, err
	}
	return recording.ObjectInfo{Key: key, SizeBytes: aws.ToInt64(out.ContentLength), ModifiedAt: aws.ToTime(out.LastModified)}, nil
}

// Fetch implements storage.Store: the file is a copy.
func (s *Store) Fetch(ctx context.Context, key, path string) error {
	object, err := s.Open(ctx, key)
	if err != nil {
		return err
	}
	defer object.Close()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return failed("fetch an object", err)
	}
	_, err = io.Copy(f, object)
	if err = errors.Join(err, f.Close()); err != nil {
		return failed("fetch an object", errors.Join(err, os.Remove(path)))
	}
	return nil
}

// Delete implements storage.Store. A bucket with versions keeps the old one.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := storage.CheckKey(key); err != nil {
		return err
	}
	return s.remove(ctx, s.objectName(key))
}
