package s3_test

import (
	"testing"

	"reprise/internal/s3test"
)

// A stored upload costs few requests to S3, and few bytes that are sent twice. Stock
// tusd's own figures, in the same run, are logged beside.
func TestRequests(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		size, chunk int
		tails       kept
		replicas    int
		requests    int     // at the most
		sent        float64 // bytes to S3 per byte of the file, at the most
	}{
		{"2 MB in one PATCH", 2 * mib, 2 * mib, keptInLedger, 1, 1, 1},
		{"2 MB in 256 KiB PATCHes", 2 * mib, 256 * kib, keptInLedger, 1, 1, 1},
		{"2 MB in 64 KiB PATCHes", 2 * mib, 64 * kib, keptInLedger, 1, 1, 1},
		{"20 MB in 1 MB PATCHes", 20 * mib, mib, keptInLedger, 1, 8, 1.05},
		{"2 MB in one PATCH, segments", 2 * mib, 2 * mib, keptInS3, 1, 1, 1},
		{"2 MB in 256 KiB PATCHes, segments", 2 * mib, 256 * kib, keptInS3, 1, 10, 2},
		// What another replica has taken comes from the ledger, not from S3.
		{"2 MB in 256 KiB PATCHes, three replicas", 2 * mib, 256 * kib, keptInLedger, 3, 1, 1},
		{"20 MB in 1 MB PATCHes, three replicas", 20 * mib, mib, keptInLedger, 3, 8, 1.05},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, w *world) {
				for range tt.replicas {
					w.addReplica(tt.tails)
				}
				data := audio(1, tt.size)
				p := w.phone(data, tt.chunk)
				if err := p.upload(t.Context()); err != nil || p.retries > 0 {
					t.Fatal(p.retries, err)
				}
				u := w.assemble(p.recording)
				ours := w.proxy.Counts()
				w.wantObject(u, data)
				sent := func(c s3test.Counts) float64 { return float64(c.SentBytes) / float64(tt.size) }
				t.Logf("%d requests, bytes sent %.2f times", ours.Total(), sent(ours))
				if ours.Total() > tt.requests {
					t.Errorf("%d requests, want at most %d: %v", ours.Total(), tt.requests, ours.Requests)
				}
				if sent(ours) > tt.sent {
					t.Errorf("sent %.3f times the bytes, want at most %.2f: %v", sent(ours), tt.sent, ours.Requests)
				}
				if tt.replicas > 1 { // stock tusd's locks are of one process
					return
				}
				theirs := stock(t, w.server, data, tt.chunk)
				t.Logf("stock tusd: %d requests, bytes sent %.2f times", theirs.Total(), sent(theirs))
				if theirs.Total() <= ours.Total() {
					t.Errorf("stock tusd needs %d requests, not more than ours: %v", theirs.Total(), theirs.Requests)
				}
			})
		})
	}
}

// Asking how far an upload is costs S3 nothing, whatever its state.
func TestStatusNeedsNoRequest(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.addReplica(keptInS3)
		w.addReplica(keptInLedger)
		p := w.phone(audio(1, 9*mib), 512*kib)
		if err := p.create(t.Context()); err != nil {
			t.Fatal(err)
		}
		look := func(state string) {
			t.Helper()
			before := w.proxy.Counts().Total()
			for range 4 {
				if err := p.look(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := w.catalog.FindUpload(t.Context(), w.owner, p.id()); err != nil {
				t.Fatal(err)
			}
			if n := w.proxy.Counts().Total() - before; n != 0 {
				t.Errorf("%s: asking took %d requests", state, n)
			}
		}
		look("created")
		for range 17 { // by then there is a part, and a tail
			if err := p.patch(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		look("receiving")
		if err := p.finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		look("received")
		w.assemble(p.recording)
		look("stored")
	})
}
