package crash

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"reprise/catalog"
	"reprise/internal/s3server"
	"reprise/internal/s3test"
	"reprise/processing"
	"reprise/storage/disk"
	"reprise/storage/s3"
)

// newWorldOnS3 is newWorld with a bucket for storage. Turn is the test's number: one
// test has the one S3 server, the next the other.
func newWorldOnS3(t *testing.T, turn int, settings ...string) *world {
	t.Helper()
	w := newWorld(t)
	w.moveToS3(turn)
	w.settings = settings
	return w
}

// moveToS3 gives the world a bucket instead of its folder, in which workers keep
// their files only.
func (w *world) moveToS3(turn int) {
	w.t.Helper()
	servers := s3test.Servers(w.t)
	w.s3 = servers[turn%len(servers)]
	w.bucket = w.s3.Bucket(w.t)
}

// storageURL makes parts of S3's least size, so that few bytes make some.
func (w *world) storageURL() string {
	if w.s3 == nil {
		return "file://" + w.root
	}
	return w.s3.URL(w.bucket, "part-size=5MiB")
}

// storageEnv is what a server needs to know of the storage.
func (w *world) storageEnv() []string {
	env := []string{"REPRISE_STORAGE_URL=" + w.storageURL()}
	if w.s3 == nil {
		return env
	}
	for name, value := range s3server.Environment() {
		env = append(env, name+"="+value)
	}
	return append(env, "REPRISE_READS=server", "REPRISE_WORK_DIR="+filepath.Join(w.root, "work"))
}

// openStorage opens the storage as a server does.
func (w *world) openStorage(c *catalog.Catalog) (processing.Objects, io.Closer) {
	w.t.Helper()
	if w.s3 == nil {
		store, err := disk.New(w.root)
		if err != nil {
			w.t.Fatal(err)
		}
		return store, store
	}
	location, err := s3.ParseURL(w.storageURL())
	if err != nil {
		w.t.Fatal(err)
	}
	store, err := s3.New(context.Background(), s3.Options{
		Location: location, Ledger: c, MemoryBytes: 64 << 20, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return store, store
}

// stored returns the digest of everything in the storage.
func (w *world) stored() map[string]string {
	w.t.Helper()
	if w.s3 == nil {
		found := w.digests("objects", "parts", "tmp", "work")
		delete(found, "work/lock") // with which workers take turns
		return found
	}
	found := map[string]string{}
	for _, key := range w.s3.Keys(w.t, w.bucket) {
		sum := sha256.Sum256(w.s3.Object(w.t, w.bucket, key))
		found[key] = hex.EncodeToString(sum[:])
	}
	delete(found, "check") // which servers write to see whether they can
	for _, m := range w.s3.Multiparts(w.t, w.bucket) {
		found["multipart upload "+m.ID] = m.Key
	}
	if _, err := os.Stat(filepath.Join(w.root, "work")); err == nil {
		for name, digest := range w.digests("work") {
			if name != "work/lock" {
				found[name] = digest
			}
		}
	}
	return found
}
