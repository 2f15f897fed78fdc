package clients

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"reprise/config"
)

// TestSlowConnections: connections whose headers, and whose bodies, come a byte at a
// time, and such as ask and never read, cost the server a bounded amount of memory
// each, and somebody who uploads meanwhile is served. With REPRISE_SOAK=1 they are
// 5,000, and the good client's p99 stays within twice of what it has alone.
//
// It is not parallel: it measures.
func TestSlowConnections(t *testing.T) {
	count := rounds(150, 5000)
	s := newServer(t, func(c *config.Config) {
		c.AddressConnections, c.AddressRate, c.UserRate = 0, 0, 0 // the attackers and the client have one address here
	})
	good := s.user(t, "good")
	asks := rounds(20, 500)
	good.begin(asks / 4)
	alone := good.p99(asks)
	idle := memory()

	attack := newAttack(t, s, count)
	time.Sleep(time.Duration(rounds(1, 10)) * time.Second)
	beside, early := good.p99(asks), memory()
	good.begin(asks / 4)
	time.Sleep(time.Duration(rounds(1, 40)) * time.Second)
	later := memory()
	perConnection := (max(early, later) - idle) / int64(count)
	t.Logf("%d slow connections: p99 alone %v, beside them %v; %d KiB each, then %+d KiB in all", count, alone, beside, perConnection>>10, (later-early)>>10)
	attack.stop()
	// What a connection may hold at once: both its ends, which are in this process,
	// stacks, and the buffers of an upload or of an answer.
	if perConnection > 256<<10 {
		t.Errorf("a slow connection costs %d KiB", perConnection>>10)
	}
	if later > early+int64(count)*16<<10 {
		t.Errorf("memory has grown by %d KiB while nothing else came", (later-early)>>10)
	}
	if os.Getenv("REPRISE_SOAK") != "" && beside > 2*alone {
		t.Errorf("the good client's p99 is %v beside slow connections, %v alone", beside, alone)
	}
}

// TestTooManyConnections: with as many connections as there may be, others are closed
// at once and counted, and whoever is connected goes on being served.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *config.Config) { c.AddressConnections = 20 })
	good := s.user(t, "good")
	good.do(http.MethodGet, "/v1/me", nil) // its connection stays
	var held []net.Conn
	for range 60 {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		held = append(held, c)
	}
	closed := 0
	for _, c := range held {
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); err != nil && !os.IsTimeout(err) {
			closed++
		}
	}
	if closed < 41 { // of 60, with one of the client's own and 20 in all
		t.Errorf("%d of 60 connections were closed", closed)
	}
	if a := good.do(http.MethodGet, "/v1/me", nil); a.status != http.StatusOK {
		t.Errorf("the good client: %v", a)
	}
	metrics := user{t: t, s: s}.do(http.MethodGet, s.admin+"/metrics", nil)
	if want := `reprise_limit_refusals_total{limit="address_connections"} 4`; !strings.Contains(string(metrics.body), want) {
		t.Errorf("the metrics lack %s", want)
	}
}

// TestRequestLimits: the answer to one request too many says which limit and until
// when, also to a page of another origin; and a header that anybody can write makes
// nobody another client.
func TestRequestLimits(t *testing.T) {
	t.Parallel()
	const origin = "https://app.example.com"
	s := newServer(t, func(c *config.Config) {
		c.UserRate, c.UserBurst, c.AddressRate, c.AddressBurst = 1, 5, 1, 40
		c.AllowedOrigins = []string{origin}
	})
	alice := s.user(t, "alice")
	until := func(u user, max int, method string) (a answer, served int) {
		for range max {
			a = u.do(method, "/v1/me", nil, "Origin", origin, "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", served), "Access-Control-Request-Method", "GET")
			if a.status == http.StatusTooManyRequests {
				break
			}
			served++
		}
		return a, served
	}
	a, served := until(alice, 30, http.MethodGet)
	if served < 5 || served > 15 || !strings.Contains(string(a.body), `"limitName":"user_requests","limit":1`) {
		t.Errorf("alice: %d served, then %v", served, a)
	}
	if b, served := until(s.user(t, "bob"), 3, http.MethodGet); served != 3 {
		t.Errorf("bob: %v", b)
	}
	until(user{t: t, s: s}, 40, http.MethodOptions)
	b := s.user(t, "carol").do(http.MethodGet, "/v1/me", nil, "Origin", origin)
	if !strings.Contains(string(b.body), `"limitName":"address_requests"`) {
		t.Errorf("carol, of the same address: %v", b)
	}
	for _, a := range []answer{a, b} {
		if a.code() != "rate_limited" || a.header.Get("Retry-After") != "1" || a.header.Get("Access-Control-Allow-Origin") != origin {
			t.Errorf("got %v", a)
		}
	}
}

// slowPause is between two bytes of a connection: little less than the server waits
// for an upload, which is how an attacker has most connections for the least work.
const slowPause = 50 * time.Second

// attack is slow connections of many users.
type attack struct {
	t     *testing.T
	s     *server
	conns []net.Conn
	done  chan struct{}
	wait  sync.WaitGroup
}

func newAttack(t *testing.T, s *server, count int) *attack {
	t.Helper()
	a := &attack{t: t, s: s, done: make(chan struct{})}
	for i := range count {
		a.open(i)
	}
	a.wait.Go(func() {
		tick := time.NewTicker(slowPause / time.Duration(count)) // evenly
		defer tick.Stop()
		for i := 0; ; i = (i + 1) % count {
			select {
			case <-a.done:
				return
			case <-tick.C:
			}
			// One of the header's is closed after 10 seconds, and another takes its place.
			if _, err := a.conns[i].Write([]byte("x")); err != nil && i%3 == 0 {
				a.conns[i].Close()
				a.conns[i] = a.dial("GET /v1/me HTTP/1.1\r\nHost: x\r\nX-Slow: ")
			}
		}
	})
	t.Cleanup(a.stop)
	return a
}

func (a *attack) open(i int) {
	request := "GET /v1/me HTTP/1.1\r\nHost: x\r\nX-Slow: "
	switch i % 3 {
	case 1:
		slow := a.s.user(a.t, fmt.Sprint("slow", i/100))
		created := slow.do(http.MethodPost, "/files/", nil, "Tus-Resumable", "1.0.0", "Upload-Length", "50000000")
		path := strings.TrimPrefix(created.header.Get("Location"), a.s.url)
		request = "PATCH " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + slow.token + "\r\nTus-Resumable: 1.0.0\r\n" +
			"Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: 50000000\r\n\r\nfLaC"
	case 2:
		request = strings.Repeat("GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n", 60) // 5 MB
	}
	a.conns = append(a.conns, a.dial(request))
}

func (a *attack) dial(request string) net.Conn {
	c, err := net.Dial("tcp", strings.TrimPrefix(a.s.url, "http://"))
	if err != nil {
		a.t.Error(err)
		return a.conns[0]
	}
	_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, request); err != nil {
		a.t.Error(err)
	}
	return c
}

func (a *attack) stop() {
	select {
	case <-a.done:
		return
	default:
	}
	close(a.done)
	a.wait.Wait()
	for _, c := range a.conns {
		c.Close()
	}
}

// p99 is the 99th percentile of the time that some requests take, the middle one of
// five: a moment in which the machine does something else is nobody's fault.
func (u user) p99(count int) time.Duration {
	u.t.Helper()
	var rounds []time.Duration
	for range 5 {
		rounds = append(rounds, u.p99Once(count))
		time.Sleep(time.Duration(count) * time.Millisecond)
	}
	slices.Sort(rounds)
	return rounds[2]
}

func (u user) p99Once(count int) time.Duration {
	u.t.Helper()
	took := make([]time.Duration, count)
	for i := range took {
		began := time.Now()
		if a := u.do(http.MethodGet, "/v1/me", nil); a.status != http.StatusOK {
			u.t.Errorf("the good client: %v", a)
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took[count*99/100]
}

// begin sends the first 64 KiB of some uploads, which end before their last byte so that
// nothing has to be processed.
func (u user) begin(count int) {
	u.t.Helper()
	data := append([]byte("fLaC"), make([]byte, 64<<10)...)
	for range count {
		created := u.do(http.MethodPost, "/files/", nil, "Tus-Resumable", "1.0.0", "Upload-Length", "1000000")
		a := u.do(http.MethodPatch, created.header.Get("Location"), data, "Tus-Resumable", "1.0.0", "Upload-Offset", "0",
			"Content-Type", "application/offset+octet-stream")
		if a.status != http.StatusNoContent {
			u.t.Errorf("the good client uploads: %v", a)
		}
	}
}

// memory is what this process uses, without what is only kept for later.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
