// Package disk keeps parts and objects on a local file system: it implements
// storage.Store on Linux and other Unixes.
//
// Below its root lie
//
//	objects/<key>                      finished objects
//	parts/<upload id>/<number>-<epoch> parts of uploads
//	tmp/<random name>                  files on their way to be objects
//
// The three must be on one file system, because files move between them by
// rename. Every access goes through an os.Root, so that no key, whatever it
// holds, and no symbolic link leads outside.
//
// It promises what storage.Store does, which takes an fsync of each file
// before it counts and of each folder that got or lost a name. It promises
// nothing for a file system that loses data after fsync. Several processes
// may use one root.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"github.com/google/uuid"

	"reprise/internal/failpoint"
	"reprise/storage"
)

// The folders below the root.
const (
	objectsDir = "objects"
	partsDir   = "parts"
	tempDir    = "tmp"
)

// Bytes of recordings are nobody's business but the server's.
const (
	fileMode = 0o600
	dirMode  = 0o700
)

// Store is a storage.Store in a folder.
type Store struct {
	root *os.Root
	sync syncFunc
}

var _ storage.Store = (*Store)(nil)

// syncFunc makes a file durable. DataOnly leaves out what isn't needed to read
// its bytes back, such as its times; it must not be set for a folder.
type syncFunc func(f *os.File, dataOnly bool) error

// New opens the store in the folder at path, and makes the folder if there is
// none. Close releases it.
func New(path string) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, failed("find the storage folder", err)
	}
	if err := makeRoot(path); err != nil {
		return nil, failed("make the storage folder", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, failed("open the storage folder", err)
	}
	s := &Store{root: root, sync: syncFile}
	for _, dir := range []string{objectsDir, partsDir, tempDir} {
		if err := root.MkdirAll(dir, dirMode); err != nil {
			return nil, errors.Join(failed("make the storage folder", err), root.Close())
		}
	}
	if err := s.syncDir("."); err != nil {
		return nil, errors.Join(failed("make the storage folder", err), root.Close())
	}
	return s, nil
}

func makeRoot(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(path, dirMode); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Sync()
}

// Close releases the folder. Writers and objects that are open stay usable for
// what they have open already.
func (s *Store) Close() error { return s.root.Close() }

// Check implements storage.Store: it writes a small file, makes it durable and
// deletes it.
func (s *Store) Check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	temp, _, err := s.writeTemp(func(f *os.File) error {
		_, err := f.Write(make([]byte, 4096)) // as much as a block, so that a full disk shows
		return err
	})
	if err != nil {
		return failed("check the storage", err)
	}
	if err := s.root.Remove(temp); err != nil {
		return failed("check the storage", err)
	}
	return nil
}

// writeTemp makes a durable file of what fill writes, and returns its name and
// what is known of it. Only install or the deletion of the name may follow.
func (s *Store) writeTemp(fill func(*os.File) error) (_ string, info fs.FileInfo, err error) {
	name := path.Join(tempDir, uuid.NewString())
	f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			_ = s.root.Remove(name) // what stays is the janitor's
		}
	}()
	if err := fill(f); err != nil {
		return "", nil, err
	}
	if err := s.sync(f, true); err != nil {
		return "", nil, err
	}
	failpoint.Hit("temp.written")
	info, err = f.Stat()
	return name, info, err
}

// installTries is how often install makes the folder of an object: Delete
// removes empty folders, and may find the one that was just made.
const installTries = 100

// install durably gives the durable file at from its place as an object.
func (s *Store) install(from, key string) error {
	target := objectPath(key)
	var err error
	for range installTries {
		if err = s.root.MkdirAll(path.Dir(target), dirMode); err == nil {
			err = s.root.Rename(from, target)
		}
		// MkdirAll says "exists" of a folder that is gone when it looks again.
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return err
	}
	failpoint.Hit("object.named")
	return s.syncAbove(target)
}

// syncAbove makes the name of an object durable, with every folder above it: a
// folder that is already there may still be on its way to the disk, made by
// another call or by a process that was killed.
func (s *Store) syncAbove(target string) error {
	for dir := path.Dir(target); ; dir = path.Dir(dir) {
		if err := s.syncDir(dir); err != nil {
			return err
		}
		if dir == objectsDir {
			return nil
		}
	}
}

func (s *Store) syncDir(dir string) error {
	f, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.sync(f, false)
}

func objectPath(key string) string { return path.Join(objectsDir, key) }

// absent reports whether err says that a file isn't there, perhaps because a
// folder in its path is a file.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// failed wraps err with what was tried, and as storage.ErrFull if the reason is
// a lack of room.
func failed(what string, err error) error {
	full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
	if full && !errors.Is(err, storage.ErrFull) {
		return fmt.Errorf("disk: %s: %w: %w", what, storage.ErrFull, err)
	}
	return fmt.Errorf("disk: %s: %w", what, err)
}
