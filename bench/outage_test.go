package bench_test

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"math"
	"net/http"
	"path"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"reprise/app"
	"reprise/auth"
	"reprise/config"
	"reprise/internal/neo4jserver"
	"reprise/internal/pgtest"
)

// BenchmarkGraphOutage measures what a Neo4j that hangs costs uploads, and the way from the
// last byte to ready: the same server in alternating rounds, with Neo4j well, stopped, and
// well again. A ratio of 1 is no cost; that of both well rounds says how much is noise.
func BenchmarkGraphOutage(b *testing.B) {
	const rounds, clients, uploads = 8, 2, 15
	neo4j, err := neo4jserver.Start(b.Context(), neo4jserver.Options{Dir: b.TempDir()})
	must(b, err)
	b.Cleanup(neo4j.Kill)
	s := serveWithGraph(b, neo4j.Where())
	s.round(b, clients, uploads) // warm
	for b.Loop() {
		var well, hung, again outage
		for range rounds {
			well.add(s.round(b, clients, uploads))
			neo4j.Freeze()
			hung.add(s.round(b, clients, uploads))
			neo4j.Thaw()
			s.caughtUp(b)
			again.add(s.round(b, clients, uploads))
		}
		for name, m := range map[string][3]*measure{
			"upload": {&well.upload, &hung.upload, &again.upload}, "ready": {&well.ready, &hung.ready, &again.ready},
		} {
			for _, p := range []int{50, 99} {
				what := name + "-p" + strconv.Itoa(p)
				b.ReportMetric(ms(m[0].percentile(p)), what+"-ms")
				b.ReportMetric(ratio(m[1].percentile(p), m[0].percentile(p)), what+"-hung/well")
				b.ReportMetric(ratio(m[2].percentile(p), m[0].percentile(p)), what+"-well/well")
			}
		}
		b.ReportMetric(0, "ns/op")
	}
}

// outage is how long uploads took, and then the pipeline.
type outage struct{ upload, ready measure }

func (o *outage) add(other outage) {
	o.upload.add(other.upload)
	o.ready.add(other.ready)
}

// graphServer is a whole server that keeps a graph.
type graphServer struct {
	url, token string
	pool       *pgxpool.Pool
}

func serveWithGraph(b *testing.B, at neo4jserver.Where) *graphServer {
	b.Helper()
	key := make([]byte, 32)
	cfg := config.Default()
	databaseURL := pgtest.NewURL(b)
	cfg.Addr, cfg.AdminAddr = "127.0.0.1:0", "127.0.0.1:0"
	cfg.DatabaseURL, cfg.StorageURL = config.Secret(databaseURL), "file://"+b.TempDir()
	cfg.AITranscription = "off"
	cfg.DevKey = config.Secret(hex.EncodeToString(key))
	cfg.UserRate, cfg.AddressRate = 0, 0
	cfg.Neo4jURL, cfg.Neo4jUser, cfg.Neo4jPassword = at.URL, at.User, config.Secret(at.Password)
	must(b, cfg.Check())
	log := slog.New(slog.DiscardHandler)
	must(b, app.Migrate(b.Context(), cfg, log))
	ctx, stop := context.WithCancel(b.Context())
	started, ended := make(chan app.Addresses, 1), make(chan error, 1)
	go func() {
		ended <- app.Serve(ctx, app.Options{
			Config: cfg, API: true, Worker: true, Version: "bench", Log: log, Started: func(at app.Addresses) { started <- at },
		})
	}()
	b.Cleanup(func() {
		client.CloseIdleConnections()
		stop()
		must(b, <-ended)
	})
	pool, err := pgxpool.New(b.Context(), databaseURL)
	must(b, err)
	b.Cleanup(pool.Close)
	token, err := auth.IssueDevToken(key, "bench", time.Hour, time.Now())
	must(b, err)
	select {
	case at := <-started:
		return &graphServer{url: at.PublicURL, token: token, pool: pool}
	case err := <-ended:
		ended <- nil
		b.Fatal(err)
		return nil
	}
}

// round lets clients upload a second of sound each, some times, and wait until it is ready.
func (s *graphServer) round(b *testing.B, clients, uploads int) (o outage) {
	b.Helper()
	data := tone(time.Second)
	var mu sync.Mutex
	var wait sync.WaitGroup
	for range clients {
		wait.Go(func() {
			for range uploads {
				upload, ready := s.upload(b, data)
				mu.Lock()
				o.upload.latencies = append(o.upload.latencies, upload)
				o.ready.latencies = append(o.ready.latencies, ready)
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return o
}

// upload returns how long an upload in 16 KiB PATCHes took, and then the pipeline.
func (s *graphServer) upload(b *testing.B, data []byte) (upload, ready time.Duration) {
	b.Helper()
	authorization := []string{"Authorization", "Bearer " + s.token}
	began := time.Now()
	at := call(b, http.MethodPost, s.url+"/files/", nil, append(authorization, "Upload-Length", strconv.Itoa(len(data)))...).Get("Location")
	for from := 0; from < len(data); from += 16 << 10 {
		call(b, http.MethodPatch, at, data[from:min(from+16<<10, len(data))],
			append(authorization, "Upload-Offset", strconv.Itoa(from), "Content-Type", "application/offset+octet-stream")...)
	}
	upload = time.Since(began)
	for id := uuid.MustParse(path.Base(at)); ; time.Sleep(20 * time.Millisecond) {
		var took *float64
		must(b, s.pool.QueryRow(b.Context(), `
			SELECT (SELECT extract(epoch FROM r.at - e.at)::float8 FROM events r WHERE r.recording_id = e.recording_id AND r.type = 'recording.ready')
			FROM events e JOIN uploads u USING (recording_id) WHERE u.id = $1 AND e.type = 'upload.received'`, id).Scan(&took))
		if took != nil {
			return upload, time.Duration(*took * float64(time.Second))
		}
	}
}

// caughtUp waits until nothing is left to be written into the graph.
func (s *graphServer) caughtUp(b *testing.B) {
	b.Helper()
	for waiting := 1; waiting > 0; time.Sleep(50 * time.Millisecond) {
		must(b, s.pool.QueryRow(b.Context(), `SELECT count(*) FROM graph_outbox`).Scan(&waiting))
	}
}

// tone is a WAV file of one channel at 44.1 kHz.
func tone(length time.Duration) []byte {
	const rate = 44100
	samples := int(length.Seconds() * rate)
	data := append([]byte("RIFF"), binary.LittleEndian.AppendUint32(nil, uint32(36+2*samples))...)
	data = append(data, "WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"...)
	data = binary.LittleEndian.AppendUint32(data, rate)
	data = binary.LittleEndian.AppendUint32(data, 2*rate)
	data = append(data, "\x02\x00\x10\x00data"...)
	data = binary.LittleEndian.AppendUint32(data, uint32(2*samples))
	for i := range samples {
		data = binary.LittleEndian.AppendUint16(data, uint16(int16(8000*math.Sin(2*math.Pi*440*float64(i)/rate))))
	}
	return data
}
