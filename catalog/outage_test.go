package catalog_test

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"reprise/catalog"
	"reprise/recording"
)

// network stands between a catalog and its database.
type network struct {
	net.Listener
	silent atomic.Bool // it takes what is sent and brings nothing back
	closed atomic.Int64

	mu    sync.Mutex
	conns []net.Conn // of the catalog
}

// throughNetwork returns a catalog on r's database by way of a network.
func throughNetwork(t *testing.T, r *rig) (*catalog.Catalog, *network) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	n := &network{Listener: l}
	t.Cleanup(func() { l.Close() })
	cfg := r.pool.Config().Copy()
	kind, addr := pgconn.NetworkAddress(cfg.ConnConfig.Host, cfg.ConnConfig.Port)
	go n.run(kind, addr)
	host, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	number, err := strconv.ParseUint(port, 10, 16)
	must(t, err)
	cfg.ConnConfig.Host, cfg.ConnConfig.Port, cfg.ConnConfig.Fallbacks = host, uint16(number), nil
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	must(t, err)
	t.Cleanup(pool.Close)
	c, err := catalog.New(catalog.Options{Pool: pool, Now: func() time.Time { return r.clock }})
	must(t, err)
	return c, n
}

func (n *network) run(kind, addr string) {
	for {
		client, err := n.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial(kind, addr)
		if err != nil {
			client.Close()
			continue
		}
		n.mu.Lock()
		n.conns = append(n.conns, client)
		n.mu.Unlock()
		go func() {
			_, _ = io.Copy(server, client)
			n.closed.Add(1)
			server.Close()
		}()
		go func() {
			defer client.Close()
			buf := make([]byte, 4096)
			for {
				k, err := server.Read(buf)
				if err != nil {
					return
				}
				if !n.silent.Load() {
					_, _ = client.Write(buf[:k])
				}
			}
		}()
	}
}

// cut ends every connection without a word.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		c.Close()
	}
}

// TestConnectionCut: a connection ends while the database works. Nobody knows
// what came of it; the client is to come back and ask.
func TestConnectionCut(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	u := r.create(r.alice)
	c, network := throughNetwork(t, r)
	must(t, c.Ping(ctx))
	tx, err := r.pool.Begin(ctx)
	must(t, err)
	_, err = tx.Exec(ctx, `SELECT FROM uploads WHERE id = $1 FOR UPDATE`, u.ID)
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- c.CommitChunk(ctx, recording.Chunk{UploadID: u.ID, ExpiresAt: r.clock.Add(time.Hour)}) }()
	for r.count(`SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT granted AND a.datname = current_database()`) == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	network.cut()
	if err := <-done; recording.CodeOf(err) != recording.CodeUnavailable {
		t.Errorf("got %v", err)
	}
	must(t, tx.Rollback(ctx))
}

// TestWorkerLockOnSilentNetwork: the connection that holds the lock brings no
// answers any more. It is given up, or the worker would look dead once the
// database has given it up, for as long as TCP takes to notice.
func TestWorkerLockOnSilentNetwork(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c, network := throughNetwork(t, r)
	release, err := c.HoldWorkerLock(t.Context(), "unheard")
	must(t, err)
	defer release()
	network.silent.Store(true)
	for range 200 {
		if network.closed.Load() > 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("the silent connection was not given up within 20 seconds")
}

// TestListenOnSilentNetwork: whoever listens learns that nothing can come any
// more, and connects again.
func TestListenOnSilentNetwork(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c, network := throughNetwork(t, r)
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	defer cancel()
	heard := make(chan string, 10)
	ended := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		ended <- c.Listen(ctx, func() { close(started) }, func(payload string) { heard <- payload })
	}()
	<-started
	time.Sleep(time.Second)
	must(t, r.Notify(ctx, "first"))
	if got := <-heard; got != "first" {
		t.Errorf("heard %q", got)
	}
	network.silent.Store(true)
	<-ended
	if ctx.Err() != nil {
		t.Error("a silent connection was listened to for 25 seconds")
	}
}
