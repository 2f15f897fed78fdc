package s3

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"reprise/storage"
)

// put writes b as the object of this name.
func (s *Store) put(ctx context.Context, name string, b *body) (etag string, err error) {
	input := &s3.PutObjectInput{
		Bucket:               &s.o.Location.Bucket,
		Key:                  &name,
		Body:                 b,
		ContentLength:        &b.size,
		ServerSideEncryption: types.ServerSideEncryption(s.o.Location.SSE),
		SSEKMSKeyId:          notEmpty(s.o.Location.KMSKeyID),
	}
	if s.o.Location.Checksum {
		input.ChecksumCRC32C = b.crc32c()
	}
	out, err := s.client.PutObject(ctx, input)
	if err != nil {
		return "", failed("write an object", err)
	}
	return aws.ToString(out.ETag), nil
}

// begin begins a multipart upload of the object of this name.
func (s *Store) begin(ctx context.Context, name string) (id string, err error) {
	return s.beginWith(ctx, name, nil)
}

func (s *Store) beginWith(ctx context.Context, name string, metadata map[string]string) (id string, err error) {
	out, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket:               &s.o.Location.Bucket,
		Key:                  &name,
		Metadata:             metadata,
		ServerSideEncryption: types.ServerSideEncryption(s.o.Location.SSE),
		SSEKMSKeyId:          notEmpty(s.o.Location.KMSKeyID),
	})
	if err != nil {
		return "", failed("begin a multipart upload", err)
	}
	return aws.ToString(out.UploadId), nil
}

// multipart names a multipart upload.
type multipart struct {
	name string
	id   string
}

// uploaded is a part that the server has confirmed.
type uploaded struct {
	number int32 // 1 to 10,000
	etag   string
}

// uploadPart writes b as a part. ErrLost says that there is no such multipart upload
// any more.
//
// A part has no checksum of its own: of parts with a CRC32C, AWS wants the numbers to
// be 1, 2, 3 and so on, and those of an upload that was taken over have gaps
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompletedPart.html). TLS makes
// sure of every byte, and without it the signature does: see Location.signsBodies.
func (s *Store) uploadPart(ctx context.Context, m multipart, number int32, b *body) (uploaded, error) {
	input := &s3.UploadPartInput{
		Bucket:        &s.o.Location.Bucket,
		Key:           &m.name,
		UploadId:      &m.id,
		PartNumber:    &number,
		Body:          b,
		ContentLength: &b.size,
	}
	out, err := s.client.UploadPart(ctx, input)
	switch {
	case noSuchUpload(err):
		err = errors.Join(storage.ErrLost, err)
	case err != nil && away(err):
		err = s.unlessLost(ctx, m, err)
	}
	if err != nil {
		return uploaded{}, failed("write a part", err)
	}
	return uploaded{number: number, etag: aws.ToString(out.ETag)}, nil
}

// unlessLost returns err, of writing a part, or ErrLost if there is no such multipart
// upload any more.
//
// A server can say so before it has read the part, and then close the connection. Who
// is still sending often sees only that it broke, and not the answer (RFC 9112, section
// 9.6); a proxy in between makes a 502 of it. Each retry would end like that, and
// clients would be told for ever to try again. A request without a body gets its answer.
func (s *Store) unlessLost(ctx context.Context, m multipart, err error) error {
	one := int32(1)
	_, listErr := s.client.ListParts(ctx, &s3.ListPartsInput{
		Bucket: &s.o.Location.Bucket, Key: &m.name, UploadId: &m.id, MaxParts: &one,
	}, func(o *s3.Options) { o.Retryer = aws.NopRetryer{} }) // the time for retries is used up
	if noSuchUpload(listErr) {
		return fmt.Errorf("%w: %w (%s)", storage.ErrLost, listErr, err)
	}
	return err
}

// abort deletes a multipart upload with its parts. None there is no error.
func (s *Store) abort(ctx context.Context, m multipart) error {
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &s.o.Location.Bucket, Key: &m.name, UploadId: &m.id,
	})
	if err != nil && !noSuchUpload(err) {
		return failed("abort a multipart upload", err)
	}
	return nil
}

// remove deletes the object of this name. None there is no error.
func (s *Store) remove(ctx context.Context, name string) error {
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.o.Location.Bucket, Key: &name})
	if err != nil && !errors.Is(meaning(err), storage.ErrNotFound) {
		return failed("delete an object", err)
	}
	return nil
}

func notEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
