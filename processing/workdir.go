package processing

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// workDir is the folder for temporary files of this process. Several processes
// may share the folder it lies in: each locks its own, and the lock ends with
// the process, so what is not locked is left over and removed.
type workDir struct {
	path string
	lock *os.File
}

const lockName = "lock"

// openWorkDir makes a folder below parent and removes what dead processes left
// there. One process does this at a time: a folder is locked when another looks.
func openWorkDir(parent string) (*workDir, error) {
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, err
	}
	turn, err := lockFile(filepath.Join(parent, lockName), syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer turn.Close()
	if err := removeLeftOvers(parent); err != nil {
		return nil, err
	}
	path, err := os.MkdirTemp(parent, "worker-*")
	if err != nil {
		return nil, err
	}
	lock, err := lockFile(filepath.Join(path, lockName), syscall.LOCK_EX|syscall.LOCK_NB)
	return &workDir{path: path, lock: lock}, err
}

func removeLeftOvers(parent string) error {
	dirs, err := filepath.Glob(filepath.Join(parent, "worker-*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		lock, err := lockFile(filepath.Join(dir, lockName), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, fs.ErrNotExist) {
			continue // it lives, or it has just gone
		}
		if err != nil {
			return err
		}
		err = os.RemoveAll(dir)
		lock.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// lockFile opens and locks a file. Child processes do not inherit the lock.
func lockFile(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// removeDead removes what dead processes left in the folder that this one shares
// with them. An original there is a second name of the object: a recording that is
// deleted keeps its bytes until this is gone, too.
func (d *workDir) removeDead() error {
	parent := filepath.Dir(d.path)
	turn, err := lockFile(filepath.Join(parent, lockName), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) { // another process is at it
		return nil
	}
	if err != nil {
		return err
	}
	defer turn.Close()
	return removeLeftOvers(parent)
}

// make returns a new empty folder. The caller removes it.
func (d *workDir) make() (string, error) { return os.MkdirTemp(d.path, "job-*") }

func (d *workDir) close() error {
	defer d.lock.Close()
	return os.RemoveAll(d.path)
}
