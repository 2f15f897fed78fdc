package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"reprise/config"
)

func TestWorkDir(t *testing.T) {
	t.Parallel()
	temp, named := t.TempDir(), filepath.Join(t.TempDir(), "a", "b")
	for name, tt := range map[string]struct {
		o    config.Storage
		want string // how the folder begins
	}{
		"named":              {config.Storage{StorageURL: "file:///srv", WorkDir: named}, named},
		"beside the objects": {config.Storage{StorageURL: "file:///srv"}, "/srv/work"},
		"S3":                 {config.Storage{StorageURL: "s3://recordings"}, temp + "/reprise-"},
	} {
		for range 2 { // the folder may be there
			if got, err := makeWorkDir(tt.o, temp); err != nil || !strings.HasPrefix(got, tt.want) {
				t.Errorf("%s: %q, %v, want %s", name, got, err, tt.want)
			}
		}
	}
}

// Others can guess the folder's name, and make it first.
func TestWorkDirOfSomebodyElse(t *testing.T) {
	t.Parallel()
	o, temp := config.Storage{StorageURL: "s3://recordings"}, t.TempDir()
	dir, err := makeWorkDir(o, temp)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func() error{
		"open to others": func() error { return os.Chmod(dir, 0o777) },
		"a link": func() error {
			if err := os.Remove(dir); err != nil {
				return err
			}
			return os.Symlink(t.TempDir(), dir)
		},
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if got, err := makeWorkDir(o, temp); err == nil || !strings.Contains(err.Error(), "REPRISE_WORK_DIR") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := makeWorkDir(o, temp); err != nil {
			t.Fatal(err)
		}
	}
}
