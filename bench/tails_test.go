package bench_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"reprise/internal/s3test"
)

// BenchmarkTails measures what small tails cost Postgres: write-ahead log per
// uploaded byte, and what the table keeps after the uploads are stored, before
// and after a vacuum. With segments they cost S3 requests instead.
func BenchmarkTails(b *testing.B) {
	server := s3test.Servers(b)[0]
	for _, c := range []s3Case{
		{name: "2 MB in one PATCH", size: 2e6, chunk: 2e6},
		{name: "2 MB in 256 KiB PATCHes", size: 2e6, chunk: 256 << 10},
		{name: "2 MB in 64 KiB PATCHes", size: 2e6, chunk: 64 << 10},
		{name: "20 MB in 1 MB PATCHes", size: 20e6, chunk: 1e6},
	} {
		for _, form := range []struct {
			name  string
			bytes int64
		}{{"inline", 1 << 20}, {"segments", 0}} {
			b.Run(c.name+"/"+form.name, func(b *testing.B) {
				c.clients, c.uploads = 4, max(int(20e6)/c.size, 1)
				for b.Loop() {
					peer, pool := repriseOn(b, server.URL(server.Bucket(b)), form.bytes)
					before := lsn(b, pool)
					m := peer.run(b, c)
					wal := lsn(b, pool) - before
					for _, url := range m.urls {
						must(b, peer.verified(b.Context(), url))
					}
					dead := tableBytes(b, pool)
					vacuum(b, pool)
					again := peer.run(b, c) // into the room that the first ones have left
					grown := tableBytes(b, pool)
					b.ReportMetric(float64(wal)/float64(m.bytes), "wal-bytes/byte")
					b.ReportMetric(float64(dead)/float64(m.bytes), "table-bytes/byte")
					b.ReportMetric(float64(grown)/float64(dead), "growth-after-vacuum")
					b.ReportMetric((m.mbPerSecond()+again.mbPerSecond())/2, "MB/s")
					b.ReportMetric(0, "ns/op")
				}
			})
		}
	}
}

// lsn is how much write-ahead log there has been, in bytes.
func lsn(b *testing.B, pool *pgxpool.Pool) (bytes int64) {
	b.Helper()
	must(b, pool.QueryRow(b.Context(), `SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint`).Scan(&bytes))
	return bytes
}

// tableBytes is the size of the table of parts with all that belongs to it.
func tableBytes(b *testing.B, pool *pgxpool.Pool) (bytes int64) {
	b.Helper()
	must(b, pool.QueryRow(b.Context(), `SELECT pg_total_relation_size('upload_parts')`).Scan(&bytes))
	return bytes
}

// vacuum does what autovacuum does in its own time.
func vacuum(b *testing.B, pool *pgxpool.Pool) {
	b.Helper()
	began := time.Now()
	_, err := pool.Exec(b.Context(), `VACUUM upload_parts`)
	must(b, err)
	b.ReportMetric(ms(time.Since(began)), "vacuum-ms")
}
