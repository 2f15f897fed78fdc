package auth_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reprise/auth"
)

func TestDevKeyIsMadeOnceAndKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "dev.key")
	keys := make([][]byte, 16)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			key, err := auth.LoadOrCreateDevKey(path)
			if err != nil {
				t.Error(err)
			}
			keys[i] = key
		})
	}
	wg.Wait()
	for i, key := range keys {
		if len(key) != 32 || !cmp.Equal(key, keys[0]) {
			t.Errorf("caller %d got the key %x, the first one %x", i, key, keys[0])
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode is %v, want 0600", got)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v (%v), want the key only", entries, err)
	}
}

func TestDevKeyFileThatIsNoKey(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		content string
		mode    os.FileMode
		want    string
	}{
		"empty":            {"", 0o600, "64 hex digits"},
		"short":            {strings.Repeat("ab", 31), 0o600, "64 hex digits"},
		"long":             {strings.Repeat("ab", 33), 0o600, "64 hex digits"},
		"not hex":          {strings.Repeat("xy", 32), 0o600, "64 hex digits"},
		"group can read":   {strings.Repeat("ab", 32), 0o640, "chmod 600"},
		"others can write": {strings.Repeat("ab", 32), 0o602, "chmod 600"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "dev.key")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			key, err := auth.LoadOrCreateDevKey(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("LoadOrCreateDevKey = %x, %v; want an error with %q", key, err, tt.want)
			}
			if len(tt.content) > 0 && strings.Contains(err.Error(), tt.content) {
				t.Errorf("the error quotes the file: %v", err)
			}
		})
	}
}

func TestDevKeyWithoutItsFolder(t *testing.T) {
	t.Parallel()
	if _, err := auth.LoadOrCreateDevKey(filepath.Join(t.TempDir(), "none", "dev.key")); err == nil {
		t.Error("a key was made in a folder that does not exist")
	}
}
