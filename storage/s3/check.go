package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"reprise/recording"
	"reprise/storage"
)

// CheckParts implements storage.Store: a request for every 1,000 real parts, and one
// for each segment.
func (s *Store) CheckParts(ctx context.Context, u recording.Upload) error {
	l, err := layoutOf(u.Parts)
	if err != nil {
		return err
	}
	if l.object {
		return s.checkSize(ctx, s.objectName(u.ObjectKey), l.size)
	}
	for _, part := range l.tail {
		if epoch, ok := parseTailRef(segmentRef, part.Ref); ok {
			if err := s.checkSize(ctx, s.segmentName(u.ID, part.Number, epoch), part.Size); err != nil {
				return err
			}
		}
	}
	if len(l.parts) == 0 {
		return ctx.Err()
	}
	return s.checkMultipart(ctx, multipart{s.objectName(u.ObjectKey), u.MultipartID}, l.parts, u.Parts)
}

// checkSize wants an object of this name and size.
func (s *Store) checkSize(ctx context.Context, name string, size int64) error {
	object, err := s.head(ctx, name)
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("s3: check parts: %w: %w", storage.ErrLost, err)
	}
	if err != nil {
		return err
	}
	if got := aws.ToInt64(object.ContentLength); got != size {
		return fmt.Errorf("s3: check parts: an object has %d bytes instead of %d: %w", got, size, storage.ErrLost)
	}
	return nil
}

// checkMultipart wants a multipart upload with these parts, whose sizes are those of
// the rows.
func (s *Store) checkMultipart(ctx context.Context, m multipart, parts []uploaded, rows []recording.Part) error {
	type kept struct {
		etag string
		size int64
	}
	there := map[int32]kept{}
	pages := s3.NewListPartsPaginator(s.client, &s3.ListPartsInput{Bucket: &s.o.Location.Bucket, Key: &m.name, UploadId: &m.id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if noSuchUpload(err) {
			err = errors.Join(storage.ErrLost, err)
		}
		if err != nil {
			return failed("check parts", err)
		}
		for _, p := range page.Parts {
			there[aws.ToInt32(p.PartNumber)] = kept{bare(aws.ToString(p.ETag)), aws.ToInt64(p.Size)}
		}
	}
	for i, part := range parts {
		if got := there[part.number]; got != (kept{bare(part.etag), rows[i].Size}) {
			return fmt.Errorf("s3: check parts: part %d is not what was written: %w", part.number, storage.ErrLost)
		}
	}
	return nil
}

// bare is an ETag without the quotes, which servers give in one answer and leave out
// in another.
func bare(etag string) string { return strings.Trim(etag, `"`) }
