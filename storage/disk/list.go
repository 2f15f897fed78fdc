package disk

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/google/uuid"

	"reprise/recording"
	"reprise/storage"
)

// listBatch is how many names of a folder are held at once.
const listBatch = 256

// List implements storage.Store. What doesn't have a name that this package
// gives is somebody else's and not reported.
func (s *Store) List(ctx context.Context, fn func(storage.Entry) error) error {
	if err := s.listObjects(ctx, objectsDir, fn); err != nil {
		return err
	}
	if err := s.listParts(ctx, fn); err != nil {
		return err
	}
	return s.each(ctx, tempDir, func(name string, info fs.FileInfo) error {
		if !info.Mode().IsRegular() || storage.CheckKey(path.Base(name)) != nil {
			return nil
		}
		return fn(storage.Entry{
			Kind: recording.StoredTemp, Key: storage.TempPrefix + path.Base(name),
			SizeBytes: info.Size(), ModifiedAt: info.ModTime(),
		})
	})
}

func (s *Store) listObjects(ctx context.Context, dir string, fn func(storage.Entry) error) error {
	return s.each(ctx, dir, func(name string, info fs.FileInfo) error {
		key := strings.TrimPrefix(name, objectsDir+"/")
		switch {
		case storage.CheckKey(key) != nil:
			return nil
		case info.IsDir():
			return s.listObjects(ctx, name, fn)
		case info.Mode().IsRegular():
			return fn(storage.Entry{
				Kind: recording.StoredObject, Key: key,
				SizeBytes: info.Size(), ModifiedAt: info.ModTime(),
			})
		}
		return nil
	})
}

func (s *Store) listParts(ctx context.Context, fn func(storage.Entry) error) error {
	return s.each(ctx, partsDir, func(name string, info fs.FileInfo) error {
		id, err := uuid.Parse(path.Base(name))
		if err != nil || id.String() != path.Base(name) || !info.IsDir() {
			return nil
		}
		entry := storage.Entry{Kind: recording.StoredParts, UploadID: id, ModifiedAt: info.ModTime()}
		err = s.each(ctx, name, func(_ string, part fs.FileInfo) error {
			entry.SizeBytes += part.Size()
			if part.ModTime().After(entry.ModifiedAt) {
				entry.ModifiedAt = part.ModTime()
			}
			return nil
		})
		if err != nil {
			return err
		}
		return fn(entry)
	})
}

// each calls fn for what is in a folder, by its path below the root. What
// vanishes meanwhile is left out.
func (s *Store) each(ctx context.Context, dir string, fn func(name string, info fs.FileInfo) error) error {
	f, err := s.root.Open(dir)
	if absent(err) {
		return nil
	}
	if err != nil {
		return failed("list a folder", err)
	}
	defer f.Close()
	for {
		entries, readErr := f.ReadDir(listBatch)
		for _, entry := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			name := path.Join(dir, entry.Name())
			info, err := s.root.Lstat(name)
			if absent(err) {
				continue
			}
			if err != nil {
				return failed("list a folder", err)
			}
			if err := fn(name, info); err != nil {
				return err
			}
		}
		if errors.Is(readErr, io.EOF) || absent(readErr) {
			return nil
		}
		if readErr != nil {
			return failed("list a folder", readErr)
		}
	}
}
