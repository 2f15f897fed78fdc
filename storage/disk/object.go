package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"reprise/internal/failpoint"
	"reprise/recording"
	"reprise/storage"
)

// object is an object opened for reading. It embeds the file, so that
// net/http can send it without copying (sendfile).
type object struct {
	*os.File
	info recording.ObjectInfo
}

func (o *object) Info() recording.ObjectInfo { return o.info }

// Put implements storage.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) (recording.ObjectInfo, error) {
	if err := storage.CheckKey(key); err != nil {
		return recording.ObjectInfo{}, err
	}
	temp, info, err := s.writeTemp(func(f *os.File) error {
		_, err := io.Copy(f, contextReader{ctx, r})
		return err
	})
	if err != nil {
		return recording.ObjectInfo{}, failed("write an object", err)
	}
	if err := s.install(temp, key); err != nil {
		_ = s.root.Remove(temp) // gone already unless the rename failed
		return recording.ObjectInfo{}, failed("write an object", err)
	}
	return recording.ObjectInfo{Key: key, SizeBytes: info.Size(), ModifiedAt: info.ModTime()}, nil
}

// Open implements storage.Store.
func (s *Store) Open(ctx context.Context, key string) (recording.Object, error) {
	return s.open(ctx, key)
}

func (s *Store) open(ctx context.Context, key string) (*object, error) {
	if err := storage.CheckKey(key); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := s.root.Open(objectPath(key))
	if absent(err) {
		return nil, fmt.Errorf("disk: open an object: %w", storage.ErrNotFound)
	}
	if err != nil {
		return nil, failed("open an object", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() { // a folder that other keys share
		err = storage.ErrNotFound
	}
	if err != nil {
		return nil, errors.Join(failed("open an object", err), f.Close())
	}
	return &object{f, recording.ObjectInfo{Key: key, SizeBytes: info.Size(), ModifiedAt: info.ModTime()}}, nil
}

// Stat implements storage.Store.
func (s *Store) Stat(ctx context.Context, key string) (recording.ObjectInfo, error) {
	object, err := s.open(ctx, key)
	if err != nil {
		return recording.ObjectInfo{}, err
	}
	return object.info, object.Close()
}

// Fetch implements storage.Store: by a hard link if path is on the same file
// system, else by a copy.
func (s *Store) Fetch(ctx context.Context, key, path string) error {
	object, err := s.open(ctx, key)
	if err != nil {
		return err
	}
	defer object.Close()
	linked, err := s.link(object, path)
	if linked || err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return failed("fetch an object", err)
	}
	_, err = io.Copy(f, contextReader{ctx, object})
	if err = errors.Join(err, f.Close()); err != nil {
		return failed("fetch an object", errors.Join(err, os.Remove(path)))
	}
	return nil
}

// link gives an object the second name path, and reports whether that worked.
// os.Root can't link to the outside, so the name is given by way of the full
// path, and taken back unless it turns out to be of the file that was opened
// inside the root.
func (s *Store) link(object *object, path string) (bool, error) {
	if err := os.Link(filepath.Join(s.root.Name(), objectPath(object.info.Key)), path); err != nil {
		return false, nil // most often another file system; what keeps a copy from working too will show there
	}
	opened, err := object.Stat()
	if err != nil {
		return false, failed("fetch an object", errors.Join(err, os.Remove(path)))
	}
	linked, err := os.Lstat(path)
	if err == nil && os.SameFile(opened, linked) {
		return true, nil
	}
	if err = errors.Join(err, os.Remove(path)); err != nil {
		return false, failed("fetch an object", err)
	}
	return false, nil
}

// SignedURL implements storage.Store: nobody else serves these files.
func (s *Store) SignedURL(context.Context, string, recording.SignedRead) (string, error) {
	return "", nil
}

// Delete implements storage.Store. It removes the folders that become empty.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.remove(ctx, objectsDir, key)
}

// Remove implements storage.Store.
func (s *Store) Remove(ctx context.Context, entry storage.Entry) error {
	switch entry.Kind {
	case recording.StoredObject:
		return s.Delete(ctx, entry.Key)
	case recording.StoredTemp:
		return s.remove(ctx, tempDir, strings.TrimPrefix(entry.Key, storage.TempPrefix))
	case recording.StoredParts:
		return s.removeParts(ctx, entry.UploadID)
	}
	return fmt.Errorf("disk: there are no entries of kind %q here", entry.Kind)
}

// remove removes the file key below dir and the folders that become empty.
func (s *Store) remove(ctx context.Context, dir, key string) error {
	if err := storage.CheckKey(key); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	target := path.Join(dir, key)
	if err := s.root.Remove(target); absent(err) {
		return nil
	} else if err != nil {
		return failed("delete an object", err)
	}
	failpoint.Hit("object.removed")
	parent := path.Dir(target)
	for parent != dir && s.root.Remove(parent) == nil {
		parent = path.Dir(parent)
	}
	// If the folder is gone, another Delete has just removed it and syncs above.
	if err := s.syncDir(parent); err != nil && !absent(err) {
		return failed("delete an object", err)
	}
	return nil
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
