package clients

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reprise/app"
	"reprise/config"
	"reprise/internal/pgtest"
	"reprise/internal/s3test"
)

// alternate is a load balancer at addr that gives each request to the next server.
func alternate(t *testing.T, addr string, servers []*server) (served []*atomic.Int64) {
	t.Helper()
	transport := &http.Transport{}
	var backends []http.Handler
	for _, s := range servers {
		target, err := url.Parse(s.url)
		if err != nil {
			t.Fatal(err)
		}
		backends = append(backends, &httputil.ReverseProxy{
			Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
			Transport: transport, ErrorLog: log.New(io.Discard, "", 0), FlushInterval: -1,
		})
		served = append(served, &atomic.Int64{})
	}
	var turn atomic.Int64
	balancer := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := int(turn.Add(1)) % len(backends)
		served[i].Add(1)
		backends[i].ServeHTTP(w, r)
	}))
	var err error
	balancer.Listener.Close()
	if balancer.Listener, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	balancer.Start()
	t.Cleanup(func() { balancer.Close(); transport.CloseIdleConnections() })
	return served
}

// Two replicas on one database and one bucket take turns at the requests of
// tus-js-client, whose connections break. Some files make parts, of requests and of
// tails of both replicas.
func TestReplicasOnS3(t *testing.T) {
	t.Parallel()
	small := makeBigWAV(t)
	large := makeAudio(t, "large.wav", "-t", "8", "-i", speech, "-ar", "192000", "-ac", "2", "-c:a", "pcm_s32le") // 12 MB: two parts and a tail
	cases := []tusCase{
		{File: small, ChunkSize: 100_000},
		{File: large},
		{File: large, ChunkSize: 400_000},
	}
	onEachS3(t, func(t *testing.T, storage *s3test.Server) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		var mu sync.Mutex
		balancer := freeAddr(t)
		l := newLine(t, &line{
			dial: func() (net.Conn, error) { return (&net.Dialer{}).DialContext(context.Background(), "tcp", balancer) },
			life: func() int64 {
				mu.Lock()
				defer mu.Unlock()
				if random.IntN(4) == 0 {
					return 4_000_000 + random.Int64N(5_000_000)
				}
				return random.Int64N(700_000)
			},
		})
		proxy, bucket, databaseURL := storage.Proxy(t), storage.Bucket(t), pgtest.NewURL(t)
		var replicas []*server
		for i := range 2 {
			addr := freeAddr(t)
			replicas = append(replicas, newServer(t, onS3(proxy.URL(bucket, "part-size=5MiB"), "server"), func(c *config.Config) {
				c.Addr, c.DatabaseURL, c.PublicURL = addr, config.Secret(databaseURL), "http://"+l.addr
				if i == 1 {
					c.InlineBytes = 0 // what one keeps in the ledger, the other keeps in segments
				}
			}))
			replicas[i].url = "http://" + addr // past the line
		}
		served := alternate(t, balancer, replicas)
		clients := rounds(3, 60)
		t.Run("clients", func(t *testing.T) {
			for i := range clients {
				c := cases[i%len(cases)]
				c.Retries, c.Metadata = 50, map[string]string{"clientId": fmt.Sprint(i)}
				t.Run(fmt.Sprint(i, " in chunks of ", c.ChunkSize), func(t *testing.T) {
					t.Parallel()
					u := replicas[i%2].user(t, fmt.Sprint(i))
					p := u.startClient(c)
					p.mustSucceed()
					u.checkStored(p.recording(), c.File)
					if diff := cmp.Diff([]string{p.recording()}, u.recordings()); diff != "" {
						t.Errorf("recordings (-want +got):\n%s", diff)
					}
				})
			}
		})
		if served[0].Load() == 0 || served[1].Load() == 0 || l.breaks.Load() == 0 {
			t.Errorf("the replicas served %d and %d requests, %d connections broke", served[0].Load(), served[1].Load(), l.breaks.Load())
		}
		requests, many := proxy.Counts().Requests, clients*2/3
		if requests["UploadPart"] < 3*many || requests["CompleteMultipartUpload"] < many {
			t.Errorf("%d large files made these requests: %v", many, requests)
		}
		t.Logf("%d connections broke; requests to the storage: %v", l.breaks.Load(), requests)
		checkNothingLeft(t, storage, bucket, databaseURL)
	})
}

// checkNothingLeft wants the storage to hold nothing but what recordings that are
// ready own, and all of that, once what an interrupted request has begun there is gone:
// S3 may have made a multipart upload whose answer nobody waited for. The janitor
// aborts it a day later, and fsck when it is told not to wait.
func checkNothingLeft(t *testing.T, storage *s3test.Server, bucket, databaseURL string) {
	t.Helper()
	cfg := config.Default()
	cfg.DatabaseURL, cfg.StorageURL = config.Secret(databaseURL), storage.URL(bucket)
	check := func(o app.FsckOptions) (problems int, report string) {
		var out bytes.Buffer
		o.Config, o.Out, o.Log = cfg, &out, slog.New(slog.DiscardHandler)
		problems, err := app.Fsck(t.Context(), o)
		if err != nil {
			t.Error(err)
		}
		return problems, out.String()
	}
	if problems, report := check(app.FsckOptions{Repair: true, OlderThan: time.Nanosecond}); problems != len(regexp.MustCompile(`(?m)^orphan_multipart +yes `).FindAllString(report, -1)) {
		t.Errorf("fsck found more than multipart uploads:\n%s", report)
	}
	if left := storage.Multiparts(t, bucket); len(left) != 0 {
		t.Errorf("multipart uploads are left: %v", left)
	}
	if keys := storage.Keys(t, bucket); slices.ContainsFunc(keys, func(key string) bool { return strings.HasPrefix(key, "parts/") }) {
		t.Errorf("segments are left: %v", keys)
	}
	if problems, report := check(app.FsckOptions{Verify: true}); problems != 0 {
		t.Errorf("fsck:\n%s", report)
	}
}
