package clients

import (
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
// tus-js-client, whose connections break.
func TestReplicasOnS3(t *testing.T) {
	t.Parallel()
	wav := makeBigWAV(t)
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
				return random.Int64N(700_000)
			},
		})
		bucket, databaseURL := storage.Bucket(t), pgtest.NewURL(t)
		var replicas []*server
		for i := range 2 {
			addr := freeAddr(t)
			replicas = append(replicas, newServer(t, onS3(storage.URL(bucket, "part-size=5MiB"), "server"), func(c *config.Config) {
				c.Addr, c.DatabaseURL, c.PublicURL = addr, config.Secret(databaseURL), "http://"+l.addr
				if i == 1 {
					c.InlineBytes = 0 // what one keeps in the ledger, the other keeps in segments
				}
			}))
			replicas[i].url = "http://" + addr // past the line
		}
		served := alternate(t, balancer, replicas)
		t.Run("clients", func(t *testing.T) {
			for i := range rounds(3, 60) {
				c := tusCase{
					File: wav, Retries: 50, ChunkSize: []int{0, 100_000, 400_000}[i%3],
					Metadata: map[string]string{"clientId": fmt.Sprint(i)},
				}
				t.Run(fmt.Sprint(i, " in chunks of ", c.ChunkSize), func(t *testing.T) {
					t.Parallel()
					u := replicas[i%2].user(t, fmt.Sprint(i))
					p := u.startClient(c)
					p.mustSucceed()
					u.checkStored(p.recording(), wav)
					if diff := cmp.Diff([]string{p.recording()}, u.recordings()); diff != "" {
						t.Errorf("recordings (-want +got):\n%s", diff)
					}
				})
			}
		})
		if served[0].Load() == 0 || served[1].Load() == 0 || l.breaks.Load() == 0 {
			t.Errorf("the replicas served %d and %d requests, %d connections broke", served[0].Load(), served[1].Load(), l.breaks.Load())
		}
		if left := storage.Multiparts(t, bucket); len(left) != 0 {
			t.Errorf("left in storage: %v", left)
		}
	})
}
