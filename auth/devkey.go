package auth

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// LoadOrCreateDevKey returns the development key that the file holds: 32 random
// bytes as 64 hex digits and a newline. If there is no such file it is made,
// readable by its owner only; of several processes that do so at once, all get
// the same key. Its folder must exist.
func LoadOrCreateDevKey(path string) ([]byte, error) {
	key, err := loadDevKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := createDevKey(path); err != nil {
		return nil, fmt.Errorf("auth: make the development key: %w", err)
	}
	return loadDevKey(path)
}

func loadDevKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("auth: the development key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("auth: the development key %s can be read by others: chmod 600 it, or remove it to get a new one", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("auth: the development key: %w", err)
	}
	key, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(key) != devKeyBytes {
		return nil, fmt.Errorf("auth: the development key %s is not %d hex digits: remove it to get a new one", path, 2*devKeyBytes)
	}
	return key, nil
}

// createDevKey writes a key that nobody has seen half of: the file is complete
// and on disk before it gets its name, and the name is given only once.
func createDevKey(path string) (err error) {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, filepath.Base(path)+".*") // has mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(temp.Name())) }()

	key := make([]byte, devKeyBytes)
	_, _ = rand.Read(key) // never fails
	_, err = temp.WriteString(hex.EncodeToString(key) + "\n")
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	// Unlike rename, link never replaces: another process's key stays.
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
