package s3

import (
	"testing"

	"reprise/internal/s3test"
)

// From the creation of an upload to its object, whoever looks on included.
func TestRequests(t *testing.T) {
	t.Parallel()
	const kib, mib = 1 << 10, 1 << 20
	tests := []struct {
		name         string
		size, patch  int
		inline       int64
		requests     int
		bytesPerByte float64
	}{
		{"one PATCH", 2 * mib, 2 * mib, mib, 1, 1},
		{"256 KiB", 2 * mib, 256 * kib, mib, 1, 1},
		{"64 KiB", 2 * mib, 64 * kib, mib, 1, 1},
		{"20 MB in 1 MB", 20_000_000, 1_000_000, mib, 5, 1.05},
		{"20 MB in 1 MiB", 20 * mib, mib, mib, 5, 1.05},
		{"20 MB in one PATCH", 20_000_000, 20_000_000, mib, 5, 1},
		{"without inline: 256 KiB", 2 * mib, 256 * kib, 0, 8, 2},
		{"without inline: one PATCH", 2 * mib, 2 * mib, 0, 1, 1},
		{"exactly a part", 8 * mib, 8 * mib, mib, 1, 1},
		{"exactly two parts", 16 * mib, 16 * mib, mib, 4, 1},
		{"empty", 0, 1, mib, 1, 1},
	}
	onServers(t, func(t *testing.T, server *s3test.Server) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				proxy, l := server.Proxy(t), newLedger()
				s := newStore(t, proxy.URL(server.Bucket(t)), func(o *Options) { o.Ledger, o.InlineBytes = l, tt.inline })
				u := newUpload(t, l, tt.size, false)
				u.patches(tt.patch, s)
				if err := s.Assemble(t.Context(), u.row); err != nil {
					t.Fatal(err)
				}
				counts := proxy.Counts()
				u.wantObject(s)
				wantNoMemory(t, s)
				if counts.Total() > tt.requests {
					t.Errorf("%d requests, want %d: %v", counts.Total(), tt.requests, counts.Requests)
				}
				// Complete has a body that lists the parts.
				if want := int64(tt.bytesPerByte*float64(tt.size)) + 4096; counts.SentBytes > want {
					t.Errorf("%d bytes sent for %d, want %d at most", counts.SentBytes, tt.size, want)
				}
			})
		}
	})
}
