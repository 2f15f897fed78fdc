package storage_test

import (
	"errors"
	"strings"
	"testing"

	"reprise/recording"
	"reprise/storage"
)

func TestCheckKey(t *testing.T) {
	t.Parallel()
	for key, valid := range map[string]bool{
		"a":                              true,
		"recordings/0198-ab_c/peaks.dat": true,
		"tmp":                            true,
		strings.Repeat("n", 200):         true,
		"":                               false,
		"/":                              false,
		"/a":                             false,
		"a/":                             false,
		"a//b":                           false,
		".":                              false,
		"..":                             false,
		"a/../b":                         false,
		"a/.hidden":                      false,
		"tmp/a":                          false,
		"a b":                            false,
		"a\\b":                           false,
		"a\x00b":                         false,
		"a\nb":                           false,
		"ü":                              false,
		"a\xff":                          false,
		strings.Repeat("n", 201):         false,
		strings.Repeat("n/", 256) + "n":  false,
	} {
		if err := storage.CheckKey(key); (err == nil) != valid || (err != nil && !errors.Is(err, storage.ErrInvalidKey)) {
			t.Errorf("CheckKey(%q) = %v, want valid: %t", key, err, valid)
		}
	}
}

func TestErrorCodes(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]recording.Code{
		storage.ErrNotFound: recording.CodeNotFound,
		storage.ErrFull:     recording.CodeStorageFull,
		storage.ErrLost:     recording.CodeUploadGone,
	} {
		if got := recording.CodeOf(err); got != want {
			t.Errorf("CodeOf(%v) = %q, want %q", err, got, want)
		}
	}
}
