package client

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	fingerprintBytes = 64 << 10 // of each end of the file
	maxFilenameBytes = 255      // what the server accepts
)

// source is a file to upload, as it was when it was opened.
type source struct {
	file     *os.File
	path     string // absolute
	size     int64
	modified time.Time
	head     []byte // the first bytes
	clientID string
	sum      string // SHA-256 in hex
}

// openSource opens a file and computes its clientId. The error is a *FileError.
func openSource(path string) (*source, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fileError(err)
	}
	info, err := os.Stat(absolute) // before opening: that would wait for a pipe's writer
	if err != nil {
		return nil, fileError(err)
	}
	switch {
	case info.IsDir():
		return nil, &FileError{"it is a folder; name the files in it"}
	case !info.Mode().IsRegular():
		return nil, &FileError{"it is not a regular file"}
	}
	f, err := os.Open(absolute)
	if err != nil {
		return nil, fileError(err)
	}
	s := &source{file: f, path: absolute}
	if err := s.identify(); err != nil {
		_ = f.Close() // only read
		return nil, err
	}
	return s, nil
}

// identify fills what names the file. The clientId is the same in every run as
// long as the file has its place, its size, its time of change and its ends, so
// that the server finds the upload again. That the middle is the same too is
// what the digest is for.
func (s *source) identify() error {
	info, err := s.file.Stat()
	if err != nil {
		return fileError(err)
	}
	if s.size, s.modified = info.Size(), info.ModTime(); s.size == 0 {
		return &FileError{"it is empty"}
	}
	n := min(s.size, fingerprintBytes)
	s.head = make([]byte, n)
	tail := make([]byte, n)
	if _, err := s.read(s.head, 0); err != nil {
		return err
	}
	if _, err := s.read(tail, s.size-n); err != nil {
		return err
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%s\x00%d\x00%d\x00", s.path, s.size, s.modified.UnixNano())
	hash.Write(s.head)
	hash.Write(tail)
	s.clientID = "reprise-upload-" + hex.EncodeToString(hash.Sum(nil)[:16])
	return nil
}

// another makes the clientId one that no upload has.
func (s *source) another() { s.clientID += "-" + rand.Text() }

// digest computes the SHA-256 of the whole file. The error is a *FileError, or
// ctx's.
func (s *source) digest(ctx context.Context) error {
	hash := sha256.New()
	buffer := make([]byte, 1<<20)
	for at := int64(0); at < s.size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := s.read(buffer[:min(int64(len(buffer)), s.size-at)], at)
		if err != nil {
			return err
		}
		hash.Write(buffer[:n])
		at += int64(n)
	}
	s.sum = hex.EncodeToString(hash.Sum(nil))
	return nil
}

// read fills p from an offset. It fails if the file has changed since it was
// opened: what would be sent then is neither the old file nor the new one.
func (s *source) read(p []byte, offset int64) (int, error) {
	n, err := s.file.ReadAt(p, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fileError(err)
	}
	info, err := s.file.Stat()
	if err != nil {
		return 0, fileError(err)
	}
	if n < len(p) || info.Size() != s.size || !info.ModTime().Equal(s.modified) {
		return 0, errChanged
	}
	return n, nil
}

func (s *source) close() { _ = s.file.Close() } // only read

// filename returns the file's name as the server accepts it.
func (s *source) filename() string {
	name := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return '_'
		}
		return r
	}, filepath.Base(s.path))
	for len(name) > maxFilenameBytes {
		_, last := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-last]
	}
	return name
}

// filetype returns the media type by the file's name, else by its first bytes if
// they are audio or video; "" leaves it to the server.
func (s *source) filetype() string {
	switch strings.ToLower(filepath.Ext(s.path)) {
	case ".wav":
		return "audio/wav"
	case ".mp3":
		return "audio/mpeg"
	case ".m4a", ".m4b":
		return "audio/mp4"
	case ".mp4":
		return "video/mp4"
	case ".mov":
		return "video/quicktime"
	case ".ogg", ".oga", ".opus":
		return "audio/ogg"
	case ".flac":
		return "audio/flac"
	case ".webm":
		return "audio/webm"
	case ".aac":
		return "audio/aac"
	case ".amr":
		return "audio/amr"
	case ".3gp":
		return "audio/3gpp"
	case ".aif", ".aiff", ".aifc":
		return "audio/aiff"
	case ".caf":
		return "audio/x-caf"
	}
	sniffed, _, _ := strings.Cut(http.DetectContentType(s.head), ";")
	if strings.HasPrefix(sniffed, "audio/") || sniffed == "application/ogg" || sniffed == "video/mp4" || sniffed == "video/webm" {
		return sniffed
	}
	return ""
}

// fileError says in a FileError what the system says, without its repeating the path.
func fileError(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return &FileError{"it can't be read: " + err.Error()}
}
