package bench_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/tus/tusd/v2/pkg/handler"
	"github.com/tus/tusd/v2/pkg/memorylocker"
	"github.com/tus/tusd/v2/pkg/s3store"
	tuslog "golang.org/x/exp/slog"

	"reprise/api"
	"reprise/auth"
	"reprise/catalog"
	"reprise/hooks"
	"reprise/internal/pgtest"
	"reprise/internal/s3test"
	"reprise/recording"
	"reprise/storage/s3"
	"reprise/upload"
)

// s3Peer is a server that keeps its uploads in S3.
type s3Peer struct {
	url string
	// store makes the object of an upload that was received, if the server leaves
	// that to a job. It is part of the work that is measured.
	store func(ctx context.Context, url string) error
	// verified does what the job after it does to the ledger.
	verified func(ctx context.Context, url string) error
}

// repriseS3 is our server on S3 as `reprise serve` has it.
func repriseS3(b *testing.B, storageURL string) s3Peer {
	peer, _ := repriseOn(b, storageURL, 1<<20)
	return peer
}

// repriseOn is repriseS3 with the bound of what is kept in the ledger.
func repriseOn(b *testing.B, storageURL string, inlineBytes int64) (s3Peer, *pgxpool.Pool) {
	pool := pgtest.New(b)
	c, err := catalog.New(catalog.Options{Pool: pool})
	must(b, err)
	location, err := s3.ParseURL(storageURL)
	must(b, err)
	log := slog.New(slog.DiscardHandler)
	store, err := s3.New(b.Context(), s3.Options{
		Location: location, Ledger: c, MemoryBytes: 256 << 20, InlineBytes: inlineBytes, InlineRate: 64 << 20,
		Log: log, Metrics: prometheus.NewRegistry(),
	})
	must(b, err)
	b.Cleanup(func() { must(b, store.Close()) })
	s, err := upload.New(upload.Options{
		Ledger: c, Storage: store, Hooks: hooks.New(maxSize), Ticks: noTicks{}, WriteProblem: api.NewProblems(log).Write,
		BasePath: "/files/", MaxSizeBytes: maxSize, Expiry: time.Hour, Log: log, Metrics: prometheus.NewRegistry(),
	})
	must(b, err)
	user, err := c.EnsureUser(b.Context(), "dev:bench")
	must(b, err)
	url := listen(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r.WithContext(auth.NewContext(r.Context(), auth.Principal{UserID: user})))
	}))
	find := func(ctx context.Context, url string) (recording.Upload, error) {
		return c.FindUpload(ctx, user, uuid.MustParse(path.Base(url)))
	}
	return s3Peer{
		url: url,
		store: func(ctx context.Context, url string) error {
			u, err := find(ctx, url)
			if err != nil {
				return err
			}
			if err := store.Assemble(ctx, u); err != nil {
				return err
			}
			return c.CompleteStage(ctx, u.RecordingID, recording.StageStore, recording.StageResult{Next: recording.StageVerify})
		},
		verified: func(ctx context.Context, url string) error {
			u, err := find(ctx, url)
			if err != nil {
				return err
			}
			return c.CompleteStage(ctx, u.RecordingID, recording.StageVerify, recording.StageResult{Next: recording.StageProbe})
		},
	}, pool
}

// tusdS3 is stock tusd on its s3store. It makes a CRC32 and a SHA-256 of each part, as
// our server makes a SHA-256, unless the storage URL says that there are no checksums.
func tusdS3(b *testing.B, storageURL string) s3Peer {
	location, err := s3.ParseURL(storageURL)
	must(b, err)
	cfg, err := awsconfig.LoadDefaultConfig(b.Context(), awsconfig.WithRegion(location.Region))
	must(b, err)
	client := awss3.NewFromConfig(cfg, func(o *awss3.Options) {
		o.BaseEndpoint, o.UsePathStyle, o.HTTPClient = aws.String(location.Endpoint), true, client
		if !location.Checksum {
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
		}
	})
	composer := handler.NewStoreComposer()
	store := s3store.New(location.Bucket, client)
	store.UseIn(composer)
	memorylocker.New().UseIn(composer)
	h, err := handler.NewHandler(handler.Config{
		BasePath: "/files/", StoreComposer: composer,
		Logger: tuslog.New(tuslog.NewTextHandler(io.Discard, &tuslog.HandlerOptions{Level: tuslog.LevelError})),
	})
	must(b, err)
	return s3Peer{url: listen(b, http.StripPrefix("/files/", h))}
}

// measure is what some clients have seen of a peer.
type measure struct {
	took      time.Duration // until every object was in the bucket
	bytes     int
	urls      []string
	latencies []time.Duration // of each upload: from before its creation to its last answer
}

func (m *measure) add(other measure) {
	m.took += other.took
	m.bytes += other.bytes
	m.latencies = append(m.latencies, other.latencies...)
}

func (m *measure) mbPerSecond() float64 { return float64(m.bytes) / 1e6 / m.took.Seconds() }

func (m *measure) percentile(p int) time.Duration {
	if len(m.latencies) == 0 {
		return 0
	}
	slices.Sort(m.latencies)
	return m.latencies[min(len(m.latencies)*p/100, len(m.latencies)-1)]
}

// run lets clients upload at once, each some files one after the other.
func (p s3Peer) run(b *testing.B, c s3Case) measure {
	b.Helper()
	data := make([]byte, c.size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	copy(data, "fLaC")
	m := measure{bytes: c.size * c.clients * c.uploads}
	var mu sync.Mutex
	var clients, jobs sync.WaitGroup
	received := make(chan string, c.clients*c.uploads)
	for range 2 { // as many jobs at a time as the machine has cores
		jobs.Go(func() {
			for url := range received {
				if err := p.store(b.Context(), url); err != nil {
					b.Error(err)
				}
			}
		})
	}
	began := time.Now()
	for range c.clients {
		clients.Go(func() {
			for range c.uploads {
				url, took := sendTo(b, p.url, data, c.chunk)
				mu.Lock()
				m.latencies, m.urls = append(m.latencies, took), append(m.urls, url)
				mu.Unlock()
				if p.store != nil {
					received <- url
				}
			}
		})
	}
	clients.Wait()
	close(received)
	jobs.Wait()
	m.took = time.Since(began)
	return m
}

// s3Case is one cell of the table.
type s3Case struct {
	name        string
	size, chunk int
	clients     int
	uploads     int // of each client in a round
	latency     time.Duration
	extra       []string // parameters of our storage URL
}

func s3Cases() []s3Case {
	var cases []s3Case
	for _, latency := range []time.Duration{20 * time.Millisecond, 0} {
		for _, c := range []s3Case{
			{name: "2 MB in one PATCH", size: 2e6, chunk: 2e6, uploads: 10},
			{name: "2 MB in 256 KiB PATCHes", size: 2e6, chunk: 256 << 10, uploads: 4},
			{name: "2 MB in 64 KiB PATCHes", size: 2e6, chunk: 64 << 10, uploads: 2},
			{name: "20 MB in 1 MB PATCHes", size: 20e6, chunk: 1e6, uploads: 2},
			{name: "100 MB in one PATCH", size: 100e6, chunk: 100e6, uploads: 1},
			// These servers have no TLS, which spares parts a SHA-256 of their own, on both sides.
			{name: "100 MB in one PATCH, as over TLS", size: 100e6, chunk: 100e6, uploads: 1, extra: []string{"checksum=none"}},
		} {
			c.latency = latency
			for _, c.clients = range []int{2, 16} {
				if c.clients == 16 {
					c.uploads = max(c.uploads/4, 1)
				}
				cases = append(cases, c)
			}
		}
	}
	return cases
}

// BenchmarkS3 measures uploads into S3 against stock tusd's s3store: the same S3
// server, the same process, in alternating rounds. A ratio of throughput above 1
// and one of latency below 1 are in our favour. It prints the table of
// docs/performance.md.
func BenchmarkS3(b *testing.B) {
	const rounds = 3
	for _, server := range s3test.Servers(b) {
		table := []string{fmt.Sprintf("| on %s | added | clients | MB/s | stock | **ratio** | p50 ms | stock | **ratio** | p99 ms | stock | **ratio** |", server.Name), "|---|---|---|---|---|---|---|---|---|---|---|---|"}
		for _, c := range s3Cases() {
			name := fmt.Sprintf("%s/%s/%d_clients/%v_added", server.Name, c.name, c.clients, c.latency)
			b.Run(name, func(b *testing.B) {
				proxy := server.Proxy(b)
				proxy.Delay(c.latency)
				ours, theirs := repriseS3(b, proxy.URL(server.Bucket(b), c.extra...)), tusdS3(b, proxy.URL(server.Bucket(b), c.extra...))
				for b.Loop() {
					var x, y measure
					for range rounds {
						y.add(theirs.run(b, c))
						x.add(ours.run(b, c))
					}
					throughput := x.mbPerSecond() / y.mbPerSecond()
					p50, p99 := ratio(x.percentile(50), y.percentile(50)), ratio(x.percentile(99), y.percentile(99))
					b.ReportMetric(throughput, "throughput-ratio")
					b.ReportMetric(p50, "p50-ratio")
					b.ReportMetric(p99, "p99-ratio")
					b.ReportMetric(0, "ns/op")
					table = append(table, fmt.Sprintf("| %s | %d ms | %d | %.1f | %.1f | **%.2f** | %.0f | %.0f | **%.2f** | %.0f | %.0f | **%.2f** |",
						c.name, c.latency.Milliseconds(), c.clients, x.mbPerSecond(), y.mbPerSecond(), throughput,
						ms(x.percentile(50)), ms(y.percentile(50)), p50, ms(x.percentile(99)), ms(y.percentile(99)), p99))
				}
			})
		}
		fmt.Println(strings.Join(table, "\n"))
	}
}

func ratio(x, y time.Duration) float64 { return float64(x) / float64(y) }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
