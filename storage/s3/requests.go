package s3

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"reprise/storage"
)

// castagnoli makes CRC32C sums: crc32.Update(sum, castagnoli(), p).
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// put writes b as the object of this name.
func (s *Store) put(ctx context.Context, name string, b *body) (etag string, err error) {
	out, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket:               &s.o.Location.Bucket,
		Key:                  &name,
		Body:                 b,
		ContentLength:        &b.size,
		ChecksumCRC32C:       s.checksum(b.sum),
		ServerSideEncryption: types.ServerSideEncryption(s.o.Location.SSE),
		SSEKMSKeyId:          notEmpty(s.o.Location.KMSKeyID),
	})
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
	input := &s3.CreateMultipartUploadInput{
		Bucket:               &s.o.Location.Bucket,
		Key:                  &name,
		Metadata:             metadata,
		ServerSideEncryption: types.ServerSideEncryption(s.o.Location.SSE),
		SSEKMSKeyId:          notEmpty(s.o.Location.KMSKeyID),
	}
	if s.o.Location.Checksum {
		input.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32c
	}
	out, err := s.client.CreateMultipartUpload(ctx, input)
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
	sum    uint32 // CRC32C
}

// uploadPart writes b as a part. ErrLost says that there is no such multipart upload
// any more.
func (s *Store) uploadPart(ctx context.Context, m multipart, number int32, b *body) (uploaded, error) {
	out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket:         &s.o.Location.Bucket,
		Key:            &m.name,
		UploadId:       &m.id,
		PartNumber:     &number,
		Body:           b,
		ContentLength:  &b.size,
		ChecksumCRC32C: s.checksum(b.sum),
	})
	if noSuchUpload(err) {
		err = errors.Join(storage.ErrLost, err)
	}
	if err != nil {
		return uploaded{}, failed("write a part", err)
	}
	return uploaded{number: number, etag: aws.ToString(out.ETag), sum: b.sum}, nil
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

// checksum is a CRC32C as headers carry it, nil where the server has none.
func (s *Store) checksum(sum uint32) *string {
	if !s.o.Location.Checksum {
		return nil
	}
	text := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
	return &text
}

func notEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
