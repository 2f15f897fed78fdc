package bench_test

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"reprise/internal/s3test"
)

// BenchmarkGrowth measures one small PATCH with 1 thousand and with 1 million
// uploads in the ledger, in turn: a ratio of 1 says that cost does not grow.
func BenchmarkGrowth(b *testing.B) {
	const rows, patches, size = 1_000_000, 300, 16 << 10
	server := s3test.Servers(b)[0]
	small, smallPool := repriseOn(b, server.URL(server.Bucket(b)), 1<<20)
	large, largePool := repriseOn(b, server.URL(server.Bucket(b)), 1<<20)
	fill(b, smallPool, rows/1000)
	fill(b, largePool, rows)
	for b.Loop() {
		data := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{}).Read(data)
		urls := map[string]string{}
		for name, peer := range map[string]s3Peer{"small": small, "large": large} {
			urls[name] = call(b, http.MethodPost, peer.url, nil, "Upload-Length", strconv.Itoa((patches+1)*size)).Get("Location")
		}
		took := map[string][]time.Duration{}
		for i := range patches {
			copy(data, "fLaC")
			for _, name := range []string{"small", "large"} {
				began := time.Now()
				call(b, http.MethodPatch, urls[name], data, "Upload-Offset", strconv.Itoa(i*size), "Content-Type", "application/offset+octet-stream")
				took[name] = append(took[name], time.Since(began))
			}
		}
		for _, times := range took {
			slices.Sort(times)
		}
		b.ReportMetric(ms(took["small"][patches/2]), "1k-p50-ms")
		b.ReportMetric(ms(took["large"][patches/2]), "1M-p50-ms")
		b.ReportMetric(ratio(took["large"][patches/2], took["small"][patches/2]), "p50-ratio")
		b.ReportMetric(ratio(took["large"][patches*99/100], took["small"][patches*99/100]), "p99-ratio")
		b.ReportMetric(0, "ns/op")
	}
}

// fill puts uploads that are done into the ledger, and one in ten that are not.
func fill(b *testing.B, pool *pgxpool.Pool, rows int) {
	b.Helper()
	for _, sql := range []string{
		`INSERT INTO users (id, subject) SELECT gen_random_uuid(), 'dev:fill' || i FROM generate_series(1, 1 + $1::int / 100) i`,
		`CREATE TABLE filled AS SELECT i, gen_random_uuid() AS recording, gen_random_uuid() AS upload,
			(SELECT array_agg(id) FROM users)[1 + i % (1 + $1::int / 100)] AS owner FROM generate_series(1, $1::int) i`,
		`INSERT INTO recordings (id, owner_id, state, object_key)
			SELECT recording, owner, CASE WHEN i % 10 = 0 THEN 'uploading' ELSE 'ready' END, 'recordings/' || recording FROM filled WHERE $1::int > 0`,
		`INSERT INTO uploads (id, recording_id, owner_id, state, length, committed_offset, object_key, expires_at)
			SELECT upload, recording, owner, CASE WHEN i % 10 = 0 THEN 'receiving' ELSE 'stored' END, 1000, CASE WHEN i % 10 = 0 THEN 500 ELSE 1000 END,
				'recordings/' || recording, now() + interval '1 day' FROM filled WHERE $1::int > 0`,
		`INSERT INTO upload_parts (upload_id, number, size, ref) SELECT upload, 1, 500, 'segment-1' FROM filled WHERE i % 10 = 0 AND $1::int > 0`,
	} {
		_, err := pool.Exec(b.Context(), sql, rows)
		must(b, err)
	}
	_, err := pool.Exec(b.Context(), `DROP TABLE filled`)
	must(b, err)
	_, err = pool.Exec(b.Context(), `VACUUM ANALYZE`)
	must(b, err)
}
