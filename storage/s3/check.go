package s3

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

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
// the rows. Their ETags say nothing more: see renewETags.
func (s *Store) checkMultipart(ctx context.Context, m multipart, parts []uploaded, rows []recording.Part) error {
	there, err := s.partsOf(ctx, m)
	if noSuchUpload(err) {
		err = errors.Join(storage.ErrLost, err)
	}
	if err != nil {
		return failed("check parts", err)
	}
	for i, part := range parts {
		if got, ok := there[part.number]; !ok || aws.ToInt64(got.Size) != rows[i].Size {
			return fmt.Errorf("s3: check parts: part %d is not what was written: %w", part.number, storage.ErrLost)
		}
	}
	return nil
}
