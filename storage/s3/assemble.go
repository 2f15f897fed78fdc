package s3

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"reprise/internal/failpoint"
	"reprise/recording"
	"reprise/storage"
)

// Assemble implements storage.Store. Every request that it makes can be repeated, so
// it does the work straight away and looks at what is there only after a failure.
func (s *Store) Assemble(ctx context.Context, u recording.Upload) error {
	if err := storage.CheckKey(u.ObjectKey); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	l, err := layoutOf(u.Parts)
	if err != nil || l.object {
		return err
	}
	m := multipart{s.objectName(u.ObjectKey), u.MultipartID}
	parts, err := s.storeTail(ctx, u, l, m)
	if err == nil && len(parts) > 0 {
		failpoint.Hit("assemble.tail")
		return s.complete(ctx, m, parts, l.size)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	// It may be there all the same, of an Assemble that was before this one, or beside
	// it: then the ledger may have dropped the bytes, and the server the parts.
	object, headErr := s.head(ctx, m.name)
	made := func(object *s3.HeadObjectOutput) bool { return aws.ToInt64(object.ContentLength) == l.size }
	switch {
	case headErr == nil && made(object):
		return nil
	case headErr != nil && !errors.Is(headErr, storage.ErrNotFound):
		return headErr // so it isn't known whether they are lost
	case gone(err):
		return s.wait(ctx, m.name, err, made)
	}
	return err
}

// storeTail makes the last part of the tail, and returns all parts for the object to
// be made of. Without parts, the tail is the object.
func (s *Store) storeTail(ctx context.Context, u recording.Upload, l layout, m multipart) ([]uploaded, error) {
	if len(l.parts) > 0 && len(l.tail) == 0 {
		return l.parts, nil
	}
	fold, err := s.foldWaiting(ctx, u.ID, l.tail)
	if err != nil {
		return nil, err
	}
	defer s.memory.give(fold.held)
	if err := s.readTail(ctx, u.ID, fold); err != nil {
		return nil, err
	}
	b := newBody(fold.bytes...)
	defer b.release()
	if len(l.parts) == 0 {
		_, err := s.put(ctx, m.name, b)
		return nil, err
	}
	// No writer of any epoch may use this number. Two that assemble give it to the same bytes.
	last, err := s.uploadPart(ctx, m, int32(u.PartNumber)+1, b)
	return append(l.parts, last), err
}

// DiscardParts implements storage.Store. Of a stored upload, the multipart upload is
// the object.
func (s *Store) DiscardParts(ctx context.Context, u recording.Upload) error {
	s.memory.forget(u.ID)
	if u.MultipartID != "" && u.State != recording.UploadStored {
		if err := s.abort(ctx, multipart{s.objectName(u.ObjectKey), u.MultipartID}); err != nil {
			return err
		}
	}
	if u.Segmented {
		return s.Remove(ctx, storage.Entry{Kind: recording.StoredParts, UploadID: u.ID})
	}
	return ctx.Err()
}
