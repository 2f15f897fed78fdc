package disk_test

import (
	"testing"

	"reprise/storage"
	"reprise/storage/disk"
	"reprise/storage/storagetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(t *testing.T, _ *storagetest.Ledger) storage.Store { return open(t, t.TempDir()) })
}

func open(t *testing.T, path string) *disk.Store {
	t.Helper()
	store, err := disk.New(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}
