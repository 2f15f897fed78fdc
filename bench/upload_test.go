// Package bench measures Reprise against its peers in the same run: what is
// reported are ratios, because the machines are shared and noisy.
package bench_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tus/tusd/v2/pkg/filestore"
	"github.com/tus/tusd/v2/pkg/handler"
	"github.com/tus/tusd/v2/pkg/memorylocker"
	"go.uber.org/goleak"
	tuslog "golang.org/x/exp/slog"

	"reprise/api"
	"reprise/auth"
	"reprise/catalog"
	"reprise/hooks"
	"reprise/internal/pgtest"
	"reprise/internal/s3test"
	"reprise/processing/sandbox"
	"reprise/recording"
	"reprise/storage/disk"
	"reprise/upload"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	pgtest.Main(s3test.With(m), goleak.IgnoreAnyFunction("github.com/tus/tusd/v2/pkg/handler.newDelayedContext.func1"))
}

type noTicks struct{}

func (noTicks) Publish(context.Context, recording.Event) {}

const maxSize = 1 << 30

// client keeps a connection for each of many clients.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// reprise is our server as `reprise serve` has it, without workers: durable
// commits in Postgres, bytes fsynced before them, digest computed.
func reprise(b *testing.B) string {
	pool := pgtest.New(b)
	c, err := catalog.New(catalog.Options{Pool: pool})
	must(b, err)
	store, err := disk.New(b.TempDir())
	must(b, err)
	log := slog.New(slog.DiscardHandler)
	s, err := upload.New(upload.Options{
		Ledger: c, Storage: store, Hooks: hooks.New(maxSize), Ticks: noTicks{}, WriteProblem: api.NewProblems(log).Write,
		BasePath: "/files/", MaxSizeBytes: maxSize, Expiry: time.Hour, Log: log, Metrics: prometheus.NewRegistry(),
	})
	must(b, err)
	user, err := c.EnsureUser(b.Context(), "dev:bench")
	must(b, err)
	return listen(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r.WithContext(auth.NewContext(r.Context(), auth.Principal{UserID: user})))
	}))
}

// tusd is stock tusd on its filestore, which syncs nothing.
func tusd(b *testing.B) string {
	composer := handler.NewStoreComposer()
	filestore.New(b.TempDir()).UseIn(composer)
	memorylocker.New().UseIn(composer)
	h, err := handler.NewHandler(handler.Config{
		BasePath: "/files/", StoreComposer: composer,
		Logger: tuslog.New(tuslog.NewTextHandler(io.Discard, &tuslog.HandlerOptions{Level: tuslog.LevelError})),
	})
	must(b, err)
	return listen(b, http.StripPrefix("/files/", h))
}

func listen(b *testing.B, h http.Handler) string {
	srv := httptest.NewServer(h)
	b.Cleanup(srv.Close)
	b.Cleanup(client.CloseIdleConnections)
	return srv.URL + "/files/"
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// send uploads data in PATCHes of chunk bytes and returns how long it took, from
// before the creation to after the last answer.
func send(b *testing.B, url string, data []byte, chunk int) time.Duration {
	b.Helper()
	_, took := sendTo(b, url, data, chunk)
	return took
}

// sendTo is send that also returns the upload's URL.
func sendTo(b *testing.B, url string, data []byte, chunk int) (location string, took time.Duration) {
	b.Helper()
	began := time.Now()
	location = call(b, http.MethodPost, url, nil, "Upload-Length", strconv.Itoa(len(data))).Get("Location")
	for at := 0; at < len(data); at += chunk {
		call(b, http.MethodPatch, location, data[at:min(at+chunk, len(data))],
			"Upload-Offset", strconv.Itoa(at), "Content-Type", "application/offset+octet-stream")
	}
	return location, time.Since(began)
}

func call(b *testing.B, method, url string, body []byte, header ...string) http.Header {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), method, url, bytes.NewReader(body))
	must(b, err)
	req.Header.Set("Tus-Resumable", "1.0.0")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	must(b, err)
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(resp.Body)
		b.Fatalf("%s: %d %s", method, resp.StatusCode, text)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	must(b, err)
	return resp.Header
}

// BenchmarkUpload reports the throughput of an upload to disk as a ratio to
// stock tusd's: above 1 is faster. Pairs alternate, the median of both counts.
// Stock tusd neither syncs nor digests; what SHA-256 alone does on one core is
// reported beside, since client and server share the machine's cores.
func BenchmarkUpload(b *testing.B) {
	for _, c := range []struct {
		name        string
		size, chunk int
		pairs       int
	}{
		{"200MB_one_PATCH", 200 << 20, 200 << 20, 7},
		{"20MB_in_1MiB_PATCHes", 20 << 20, 1 << 20, 15},
		{"2MB_one_PATCH", 2 << 20, 2 << 20, 40},
		{"2MB_in_256KiB_PATCHes", 2 << 20, 256 << 10, 30},
	} {
		b.Run(c.name, func(b *testing.B) {
			ours, theirs := reprise(b), tusd(b)
			data := make([]byte, c.size)
			_, _ = rand.NewChaCha8([32]byte{}).Read(data)
			copy(data, "fLaC")
			for b.Loop() {
				var a, t []time.Duration
				for range c.pairs {
					t = append(t, send(b, theirs, data, c.chunk))
					a = append(a, send(b, ours, data, c.chunk))
				}
				slices.Sort(a)
				slices.Sort(t)
				x, y := a[len(a)/2], t[len(t)/2]
				mbs := func(d time.Duration) float64 { return float64(c.size) / 1e6 / d.Seconds() }
				b.ReportMetric(mbs(x), "reprise-MB/s")
				b.ReportMetric(mbs(y), "tusd-MB/s")
				b.ReportMetric(float64(y)/float64(x), "ratio")
				began := time.Now()
				sha256.Sum256(data)
				b.ReportMetric(mbs(time.Since(began)), "sha256-MB/s")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}
