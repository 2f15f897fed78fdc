package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"reprise/config"
	"reprise/storage/disk"
)

// openStorage opens the storage that the URL names.
func (s *server) openStorage(context.Context) error {
	folder := s.o.Config.StorageFolder()
	if folder == "" {
		return config.Problems{"REPRISE_STORAGE_URL: s3 is not available in this version; use file:///absolute/folder"}
	}
	store, err := disk.New(folder)
	if err != nil {
		return err
	}
	s.store = store
	s.life.onStop("storage", func(context.Context) error { return store.Close() })
	s.ready.add("storage", store.Check)
	return nil
}

// makeWorkDir makes the folder for temporary files and returns its path.
func makeWorkDir(o config.Storage) (string, error) {
	switch folder := o.StorageFolder(); {
	case o.WorkDir != "":
		return o.WorkDir, os.MkdirAll(o.WorkDir, 0o700)
	case folder != "":
		return filepath.Join(folder, "work"), nil // beside the objects, so that fetching one is a hard link
	}
	// The name can be guessed, and others can make folders there too: it has to be
	// this user's and nobody else's to write in.
	dir := filepath.Join(os.TempDir(), "reprise-"+strconv.Itoa(os.Getuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make a folder for temporary files: %w; name another with REPRISE_WORK_DIR", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("look at the folder for temporary files: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || !ok || int(owner.Uid) != os.Getuid() {
		return "", fmt.Errorf("%s is there, but is not a folder of this user alone; name another with REPRISE_WORK_DIR", dir)
	}
	return dir, nil
}
