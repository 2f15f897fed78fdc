package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"reprise/config"
	"reprise/storage/disk"
	"reprise/storage/s3"
)

// checkTimeout bounds the check of the storage when the server starts, tries again
// included.
const checkTimeout = 20 * time.Second

// openStorage opens the storage that the URL names.
func (s *server) openStorage(ctx context.Context) error {
	open := s.openDisk
	if s.o.Config.StorageFolder() == "" {
		open = s.openS3
	}
	if err := open(ctx); err != nil {
		return err
	}
	s.ready.add("storage", s.store.Check)
	return nil
}

func (s *server) openDisk(context.Context) error {
	store, err := disk.New(s.o.Config.StorageFolder())
	if err != nil {
		return err
	}
	s.life.onStop("storage", func(context.Context) error { return store.Close() })
	s.store = store
	return nil
}

// openS3 also checks that the bucket can be written: what is wrong with keys,
// policies and addresses shows now, and not with the first upload.
func (s *server) openS3(ctx context.Context) error {
	cfg := s.o.Config.Storage
	location, err := s3.ParseURL(cfg.StorageURL)
	if err != nil {
		return storageProblems(err)
	}
	store, err := s3.New(ctx, s3.Options{
		Location: location, Ledger: s.catalog,
		MemoryBytes: int64(cfg.UploadMemory), InlineBytes: int64(cfg.InlineBytes), InlineRate: int64(cfg.InlineRate),
		Log: s.o.Log, Metrics: s.registry, Now: time.Now,
	})
	if err != nil {
		return fmt.Errorf("REPRISE_STORAGE_URL: %w", err)
	}
	s.life.onStop("storage", func(context.Context) error { return store.Close() })
	s.store = store
	checking, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err = store.Check(checking)
	if advice := store.Advice(ctx, err); err != nil && advice != "" {
		return fmt.Errorf("REPRISE_STORAGE_URL: %s (%w)", advice, err)
	}
	if err != nil {
		return fmt.Errorf("REPRISE_STORAGE_URL: the storage can't be written: %w", err)
	}
	return nil
}

// storageProblems is what is wrong with a URL, as config says such things.
func storageProblems(err error) error {
	var p config.Problems
	for line := range strings.Lines(err.Error()) {
		p = append(p, "REPRISE_STORAGE_URL: "+strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "s3: "))
	}
	return p
}

// makeWorkDir makes the folder for temporary files and returns its path. Temp is
// the system's own for those.
func makeWorkDir(o config.Storage, temp string) (string, error) {
	switch folder := o.StorageFolder(); {
	case o.WorkDir != "":
		return o.WorkDir, os.MkdirAll(o.WorkDir, 0o700)
	case folder != "":
		return filepath.Join(folder, "work"), nil // beside the objects, so that fetching one is a hard link
	}
	// The name can be guessed, and others can make folders there too: it has to be
	// this user's and nobody else's to write in.
	dir := filepath.Join(temp, "reprise-"+strconv.Itoa(os.Getuid()))
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
