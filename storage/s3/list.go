package s3

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/uuid"

	"reprise/recording"
	"reprise/storage"
)

// List implements storage.Store. What doesn't have a name that this package gives
// is somebody else's and not reported. There are no temporary files. The size of a
// multipart upload is not known.
//
// MinIO keeps the list of multipart uploads in memory: those from before its start
// are not reported. It deletes them itself after a day.
func (s *Store) List(ctx context.Context, fn func(storage.Entry) error) error {
	if err := s.listObjects(ctx, fn); err != nil {
		return err
	}
	if err := s.listParts(ctx, fn); err != nil {
		return err
	}
	return s.listMultiparts(ctx, fn)
}

func (s *Store) listObjects(ctx context.Context, fn func(storage.Entry) error) error {
	folder := s.o.Location.below(objectsDir)
	return s.each(ctx, folder, func(o types.Object) error {
		key := strings.TrimPrefix(*o.Key, folder)
		if storage.CheckKey(key) != nil {
			return nil
		}
		return fn(storage.Entry{
			Kind: recording.StoredObject, Key: key,
			SizeBytes: aws.ToInt64(o.Size), ModifiedAt: aws.ToTime(o.LastModified),
		})
	})
}

// listParts reports one entry for the segments of each upload. They come one after
// the other, because names are listed in their order.
func (s *Store) listParts(ctx context.Context, fn func(storage.Entry) error) error {
	folder := s.o.Location.below(partsDir)
	var entry storage.Entry
	err := s.each(ctx, folder, func(o types.Object) error {
		text, _, _ := strings.Cut(strings.TrimPrefix(*o.Key, folder), "/")
		id, err := uuid.Parse(text)
		if err != nil || id.String() != text {
			return nil
		}
		if entry.UploadID != id {
			if entry.Kind != "" {
				err = fn(entry)
			}
			entry = storage.Entry{Kind: recording.StoredParts, UploadID: id}
		}
		entry.SizeBytes += aws.ToInt64(o.Size)
		if t := aws.ToTime(o.LastModified); t.After(entry.ModifiedAt) {
			entry.ModifiedAt = t
		}
		return err
	})
	if err != nil || entry.Kind == "" {
		return err
	}
	return fn(entry)
}

// listMultiparts asks for those of the whole bucket: MinIO answers nothing for a
// prefix that is not a whole name.
func (s *Store) listMultiparts(ctx context.Context, fn func(storage.Entry) error) error {
	folder := s.o.Location.below(objectsDir)
	pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: &s.o.Location.Bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return failed("list multipart uploads", err)
		}
		for _, upload := range page.Uploads {
			key, ours := strings.CutPrefix(aws.ToString(upload.Key), folder)
			if !ours || storage.CheckKey(key) != nil {
				continue
			}
			err := fn(storage.Entry{
				Kind: recording.StoredMultipart, Key: key, MultipartID: aws.ToString(upload.UploadId),
				ModifiedAt: aws.ToTime(upload.Initiated),
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// each calls fn for the objects whose names begin with prefix, in the order of
// their names.
func (s *Store) each(ctx context.Context, prefix string, fn func(types.Object) error) error {
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.o.Location.Bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return failed("list objects", err)
		}
		for _, o := range page.Contents {
			if err := fn(o); err != nil {
				return err
			}
		}
	}
	return nil
}

// Remove implements storage.Store.
func (s *Store) Remove(ctx context.Context, entry storage.Entry) error {
	switch entry.Kind {
	case recording.StoredParts:
		return s.each(ctx, s.partsName(entry.UploadID), func(o types.Object) error {
			return s.remove(ctx, *o.Key)
		})
	case recording.StoredObject:
		return s.Delete(ctx, entry.Key)
	}
	if err := storage.CheckKey(entry.Key); err != nil {
		return err
	}
	if entry.Kind == recording.StoredMultipart {
		return s.abort(ctx, multipart{name: s.objectName(entry.Key), id: entry.MultipartID})
	}
	return fmt.Errorf("s3: there are no entries of kind %q here", entry.Kind)
}
