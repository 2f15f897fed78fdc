package s3

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"reprise/storage"
)

// A server that has no such upload and no such object may still be making the
// object, for somebody else who completed the upload. So it is asked so many times,
// for as long as completing may take, before the bytes are called lost: that is for
// good.
const lostTries = 10

// complete makes the object of the parts, of size bytes in all, in their order. It
// can be tried again after it ended in any way, a crash included: an object of
// the right size is success, whatever the server says. ErrLost says that there is
// neither the multipart upload with these parts nor such an object.
func (s *Store) complete(ctx context.Context, m multipart, parts []uploaded, size int64) error {
	return s.completeIf(ctx, m, parts, func(object *s3.HeadObjectOutput) bool {
		return aws.ToInt64(object.ContentLength) == size
	})
}

// completeIf is complete for objects that made knows as those of this upload.
//
// The retries are not left to the SDK: after an attempt that may have taken effect
// the answer NoSuchUpload means nothing.
func (s *Store) completeIf(ctx context.Context, m multipart, parts []uploaded, made func(*s3.HeadObjectOutput) bool) error {
	list := make([]types.CompletedPart, len(parts))
	for i, part := range parts {
		list[i] = types.CompletedPart{PartNumber: &part.number, ETag: &part.etag}
	}
	input := &s3.CompleteMultipartUploadInput{
		Bucket:          &s.o.Location.Bucket,
		Key:             &m.name,
		UploadId:        &m.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: list},
	}
	retryer := s.client.Options().Retryer
	for attempts := 1; ; attempts++ {
		_, err := s.client.CompleteMultipartUpload(ctx, input, func(o *s3.Options) { o.Retryer = aws.NopRetryer{} })
		if err == nil {
			return nil
		}
		if errorCode(err) == "InvalidPart" && attempts < maxAttempts {
			renewed, listErr := s.renewETags(ctx, m, list)
			if listErr != nil && !noSuchUpload(listErr) {
				return failed("list the parts of a multipart upload", listErr)
			}
			if renewed {
				continue
			}
		}
		object, headErr := s.head(ctx, m.name)
		absent := errors.Is(headErr, storage.ErrNotFound)
		switch {
		case headErr == nil && made(object):
			return nil
		case gone(err) && (headErr == nil || absent):
			if attempts == 1 {
				err = errors.Join(storage.ErrLost, err)
			}
			return s.wait(ctx, m.name, err, made)
		case attempts == maxAttempts || !retryer.IsErrorRetryable(err):
			return failed("complete a multipart upload", err)
		}
		if err := pause(ctx, delay(attempts, err)); err != nil {
			return failed("complete a multipart upload", err)
		}
	}
}

// renewETags gives parts the ETags that the server has for them, and reports whether one
// was another. A part's number says which bytes they are, because no number is given to
// others (recording.Upload.PartNumber). Its ETag may change: some servers make one for each write,
// not of the bytes, and a request that was given up may write its part once more, late.
func (s *Store) renewETags(ctx context.Context, m multipart, list []types.CompletedPart) (renewed bool, err error) {
	there, err := s.partsOf(ctx, m)
	if err != nil {
		return false, err
	}
	for i, part := range list {
		now, ok := there[aws.ToInt32(part.PartNumber)]
		if ok && bare(aws.ToString(now.ETag)) != bare(aws.ToString(part.ETag)) {
			list[i].ETag, renewed = now.ETag, true
		}
	}
	return renewed, nil
}

// partsOf returns the parts that a multipart upload has on the server, by their
// numbers.
func (s *Store) partsOf(ctx context.Context, m multipart) (map[int32]types.Part, error) {
	there := map[int32]types.Part{}
	pages := s3.NewListPartsPaginator(s.client, &s3.ListPartsInput{Bucket: &s.o.Location.Bucket, Key: &m.name, UploadId: &m.id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, part := range page.Parts {
			there[aws.ToInt32(part.PartNumber)] = part
		}
	}
	return there, nil
}

// bare is an ETag without the quotes, which servers give in one answer and leave out
// in another.
func bare(etag string) string { return strings.Trim(etag, `"`) }

// gone reports whether the server says that parts which it had confirmed are not
// there, or not the upload as a whole.
func gone(err error) bool { return noSuchUpload(err) || errorCode(err) == "InvalidPart" }

// wait returns nil if the object appears, and the cause if not.
func (s *Store) wait(ctx context.Context, name string, cause error, made func(*s3.HeadObjectOutput) bool) error {
	for range lostTries {
		if err := pause(ctx, completeFactor*s.timeout/lostTries); err != nil {
			return failed("complete a multipart upload", err)
		}
		object, err := s.head(ctx, name)
		if err == nil && made(object) {
			return nil
		}
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	return failed("complete a multipart upload", cause)
}

// head returns what is known of the object of this name.
func (s *Store) head(ctx context.Context, name string) (*s3.HeadObjectOutput, error) {
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.o.Location.Bucket, Key: &name})
	if err != nil {
		return nil, failed("look for an object", err)
	}
	return out, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
