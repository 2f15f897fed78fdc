package client

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxy is a bad network: a TCP proxy that is told, for each connection, after
// how many bytes towards the server to break it.
type proxy struct {
	listener net.Listener
	target   string
	limit    func(connection int) int64 // -1 for none
	stall    bool                       // falls silent at the limit, instead of breaking
	pause    time.Duration              // between reads of 16 KiB: slow

	open  sync.WaitGroup
	mu    sync.Mutex
	conns []net.Conn
}

func newProxy(t *testing.T, p *proxy, target string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.listener, p.target = listener, strings.TrimPrefix(target, "http://")
	p.open.Go(p.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.open.Wait()
	})
	return "http://" + listener.Addr().String()
}

func (p *proxy) serve() {
	for n := 0; ; n++ {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		limit := p.limit(n)
		p.open.Go(func() { p.up(server, client, limit) })
		p.open.Go(func() {
			_, _ = io.Copy(client, server)
			_ = client.Close()
		})
	}
}

func (p *proxy) up(server, client net.Conn, limit int64) {
	defer server.Close()
	buffer := make([]byte, 16<<10)
	for limit != 0 {
		n, err := client.Read(buffer)
		if limit > 0 {
			n = int(min(int64(n), limit))
			limit -= int64(n)
		}
		if _, werr := server.Write(buffer[:n]); err != nil || werr != nil {
			_ = client.Close()
			return
		}
		time.Sleep(p.pause)
	}
	if p.stall {
		_, _ = io.Copy(struct{ io.Writer }{io.Discard}, blocked{client})
	}
	_ = client.Close()
}

// blocked reads nothing until the connection is closed.
type blocked struct{ conn net.Conn }

func (b blocked) Read([]byte) (int, error) {
	for {
		time.Sleep(5 * time.Millisecond)
		if err := b.conn.SetReadDeadline(time.Time{}); err != nil {
			return 0, err
		}
	}
}
