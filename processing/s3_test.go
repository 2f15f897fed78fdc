package processing

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reprise/internal/s3test"
	"reprise/recording"
	"reprise/storage/s3"
)

// TestS3IsCleared: an upload whose bytes are lost leaves no multipart upload and no
// segment to its purge, and what a writer has begun and never told of is left to the
// janitor.
func TestS3IsCleared(t *testing.T) {
	t.Parallel()
	for _, server := range s3test.Servers(t) {
		t.Run(server.Name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			location, err := s3.ParseURL(server.URL(server.Bucket(t), "part-size=5MiB"))
			if err != nil {
				t.Fatal(err)
			}
			store, err := s3.New(t.Context(), s3.Options{
				Location: location, Ledger: w.catalog, MemoryBytes: 32 << 20,
				Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Now: time.Now,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() })

			failed, flushed := w.writeS3(store)
			if err := w.catalog.CommitChunk(t.Context(), recording.Chunk{
				UploadID: failed.ID, Epoch: failed.Epoch, To: flushed.Offset, Parts: flushed.Parts, MultipartID: flushed.MultipartID,
				PartNumber: flushed.PartNumber, Segmented: flushed.Segmented, ExpiresAt: time.Now().Add(time.Hour),
			}); err != nil {
				t.Fatal(err)
			}
			untold, _ := w.writeS3(store)
			if n := len(listS3(t, store)); n != 4 { // a multipart upload and a segment of each
				t.Fatalf("%d things are in storage", n)
			}
			if err := w.catalog.FailUpload(t.Context(), failed.ID, failed.Epoch, recording.ReasonStorage, "lost"); err != nil {
				t.Fatal(err)
			}
			if err := w.catalog.TerminateUpload(t.Context(), w.owner, untold.ID); err != nil {
				t.Fatal(err)
			}
			w.start(func(o *Options) { o.Objects = store })
			for start := time.Now(); w.unpurged() > 0; time.Sleep(20 * time.Millisecond) {
				if time.Since(start) > time.Minute {
					t.Fatal("the purges are not done")
				}
			}
			if left := listS3(t, store); len(left) != 2 {
				t.Errorf("after the purges: %+v", left)
			}
			tomorrow := func() time.Time { return time.Now().Add(25 * time.Hour) }
			res, err := NewJanitor(w.catalog, store, tomorrow, slog.New(slog.DiscardHandler)).Sweep(t.Context())
			if left := listS3(t, store); err != nil || len(left) != 0 || res.Multiparts != 1 || res.Parts != 1 {
				t.Errorf("after the sweep: %v, %+v, %+v", err, res, left)
			}
		})
	}
}

// writeS3 begins an upload and writes a part and a segment of it, which the ledger
// isn't told of.
func (w *world) writeS3(store *s3.Store) (recording.Upload, recording.Flushed) {
	w.t.Helper()
	ctx := w.t.Context()
	length, id := int64(20<<20), recording.NewID()
	u, _, err := w.catalog.CreateUpload(ctx, recording.NewUpload{
		UploadID: recording.NewID(), RecordingID: id, OwnerID: w.owner, Length: &length,
		ObjectKey: "recordings/" + id.String() + "/original", Metadata: map[string]string{}, ExpiresAt: time.Now().Add(time.Hour),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if u, _, err = w.catalog.AcquireUpload(ctx, u.ID, recording.Claim{Write: true}); err != nil {
		w.t.Fatal(err)
	}
	writer, err := store.NewWriter(ctx, u)
	if err != nil {
		w.t.Fatal(err)
	}
	defer writer.Close()
	if _, err := writer.Write([]byte(strings.Repeat("sound", 5<<20/5) + "and more")); err != nil {
		w.t.Fatal(err)
	}
	flushed, err := writer.Flush(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return u, flushed
}

func (w *world) unpurged() (n int) {
	w.t.Helper()
	if err := w.pool.QueryRow(w.t.Context(), "SELECT count(*) FROM recordings WHERE purged_at IS NULL").Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func listS3(t *testing.T, store *s3.Store) (list []recording.StoredEntry) {
	t.Helper()
	if err := store.List(t.Context(), func(e recording.StoredEntry) error { list = append(list, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return list
}
