package fsck_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reprise/fsck"
	"reprise/internal/s3test"
	"reprise/recording"
	"reprise/storage/s3"
)

// partSize is the least that S3 allows.
const partSize = 5 << 20

// newS3World returns a world whose uploads are of a part and a bit more, which becomes
// a segment.
func newS3World(t *testing.T, server *s3test.Server) *world {
	t.Helper()
	w := newLedger(t)
	w.data = strings.Repeat("sound", partSize/5) + content
	location, err := s3.ParseURL(server.URL(server.Bucket(t), "part-size=5MiB"))
	must(t, err)
	store, err := s3.New(t.Context(), s3.Options{
		Location: location, Ledger: w.catalog, MemoryBytes: 32 << 20,
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Now: time.Now,
	})
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	w.store = store
	return w
}

// In a bucket there are other things to lose and to leave behind than in a folder.
func TestS3(t *testing.T) {
	t.Parallel()
	for _, server := range s3test.Servers(t) {
		t.Run(server.Name, func(t *testing.T) {
			t.Parallel()
			w := newS3World(t, server)
			size, most := int64(len(w.data)), int64(partSize+4)
			remove := func(u recording.Upload, kind recording.StoredKind) {
				t.Helper()
				must(t, w.store.Remove(t.Context(), recording.StoredEntry{Kind: kind, Key: u.ObjectKey, UploadID: u.ID, MultipartID: u.MultipartID}))
			}
			// In order: a whole one, one with a part and a segment, a received one, and one
			// whose object is made and not recorded.
			w.ready()
			w.append(w.create(false), most)
			w.received()
			must(t, w.store.Assemble(t.Context(), w.received()))
			later := func(o *fsck.Options) {
				o.Verify, o.Pause = true, 50*time.Millisecond
				o.Now = func() time.Time { return time.Now().Add(25 * time.Hour) } // everything is old
			}
			problems, err := w.fsck(later)
			if diff := diffProblems(nil, problems); diff != "" || err != nil {
				t.Fatalf("%v\n%s", err, diff)
			}

			lost, noSegment, noParts := w.ready(), w.append(w.create(false), most), w.received()
			must(t, w.store.Delete(t.Context(), lost.ObjectKey))
			remove(noSegment, recording.StoredParts)
			remove(noParts, recording.StoredMultipart)
			// A writer that never said what it has begun, of an upload that is no more.
			begun := w.create(false)
			w.write(begun)
			must(t, w.catalog.TerminateUpload(t.Context(), w.owner, begun.ID))
			must(t, w.catalog.MarkPurged(t.Context(), recording.PurgeJob{RecordingID: begun.RecordingID}))
			want := []fsck.Problem{
				{Kind: fsck.OriginalMissing, RecordingID: lost.RecordingID, UploadID: lost.ID, Key: lost.ObjectKey, WantBytes: &size},
				{Kind: fsck.PartsLost, RecordingID: noSegment.RecordingID, UploadID: noSegment.ID, WantBytes: &most},
				{Kind: fsck.PartsLost, RecordingID: noParts.RecordingID, UploadID: noParts.ID, WantBytes: &size},
				{Kind: fsck.OrphanMultipart, Key: begun.ObjectKey, MultipartID: w.multipart(begun)},
				{Kind: fsck.OrphanParts, UploadID: begun.ID, SizeBytes: bytes(16)},
			}
			for _, repaired := range []bool{false, true} {
				for i := range want {
					want[i].Repaired = repaired
				}
				problems, err := w.fsck(func(o *fsck.Options) { later(o); o.Repair = repaired })
				if diff := diffProblems(want, problems); diff != "" || err != nil {
					t.Fatalf("repair %v: %v (-want +got)\n%s", repaired, err, diff)
				}
			}
			problems, err = w.fsck(later)
			if diff := diffProblems(nil, problems); diff != "" || err != nil {
				t.Errorf("after the repair: %v\n%s", err, diff)
			}
		})
	}
}

// write writes an upload's bytes and commits nothing.
func (w *world) write(u recording.Upload) {
	w.t.Helper()
	ctx := context.WithoutCancel(w.t.Context())
	u, _, err := w.catalog.AcquireUpload(ctx, u.ID, recording.Claim{Write: true})
	must(w.t, err)
	longer := int64(len(w.data)) + 1 // so that it is not written as a whole
	u.Length = &longer
	writer, err := w.store.NewWriter(ctx, u)
	must(w.t, err)
	_, err = writer.Write([]byte(w.data))
	must(w.t, err)
	_, err = writer.Flush(ctx)
	must(w.t, err)
	must(w.t, writer.Close())
}

// multipart returns the multipart upload in storage that is to be the upload's object.
func (w *world) multipart(u recording.Upload) (id string) {
	w.t.Helper()
	must(w.t, w.store.List(w.t.Context(), func(e recording.StoredEntry) error {
		if e.Kind == recording.StoredMultipart && e.Key == u.ObjectKey {
			id = e.MultipartID
		}
		return nil
	}))
	return id
}
