package processing

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRemoveDead(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	open := func() *workDir {
		d, err := openWorkDir(parent)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	mine, living, dead := open(), open(), open()
	job, err := dead.make()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(job, "original"), []byte("speech"), 0o600); err != nil {
		t.Fatal(err)
	}
	dead.lock.Close() // as the end of its process does
	if err := mine.removeDead(); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[*workDir]bool{mine: true, living: true, dead: false} {
		if _, err := os.Stat(dir.path); (err == nil) != want {
			t.Errorf("%s: %v; should it be there: %v", dir.path, err, want)
		}
	}
	for _, d := range []*workDir{mine, living} {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	}
}
