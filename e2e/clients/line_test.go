package clients

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// line is the network between a client and a server: a TCP proxy that can be
// slow and can break.
type line struct {
	addr string
	// dial connects to the server.
	dial func() (net.Conn, error)
	// life says how many bytes the next connection carries, in both directions
	// together, before it breaks; less than 0 is for ever. Nil is the same.
	life func() int64
	// bytesPerSecond bounds what one connection carries to the server; 0 doesn't.
	bytesPerSecond int

	breaks atomic.Int64 // connections that broke
	down   atomic.Bool  // nobody gets through

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// newLine opens a line, whose dial is set.
func newLine(t *testing.T, l *line) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.addr, l.conns = listener.Addr().String(), map[net.Conn]struct{}{}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil { // closed
				return
			}
			running.Go(func() { l.carry(c) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		l.cut()
		running.Wait()
	})
	return l
}

// cut breaks every connection there is.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		destroy(c)
	}
}

// destroy ends a connection the hard way: the peer gets a reset.
func destroy(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is closed the other way, then
	}
	c.Close()
}

func (l *line) keep(c net.Conn) (forget func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.conns, c)
	}
}

var errWornOut = errors.New("the connection's life is over")

// carry serves one connection until it ends or breaks.
func (l *line) carry(client net.Conn) {
	defer client.Close()
	if l.down.Load() {
		destroy(client)
		return
	}
	server, err := l.dial()
	if err != nil {
		destroy(client)
		return
	}
	defer server.Close()
	defer l.keep(client)()
	defer l.keep(server)()
	left := &atomic.Int64{}
	left.Store(-1)
	if l.life != nil {
		left.Store(l.life())
	}
	mortal := left.Load() >= 0
	var both sync.WaitGroup
	pump := func(dst, src net.Conn, rate int) {
		err := move(dst, src, rate, left, mortal)
		if errors.Is(err, errWornOut) {
			l.breaks.Add(1)
			destroy(client)
			destroy(server)
			return
		}
		if tcp, ok := dst.(*net.TCPConn); ok && err == nil {
			_ = tcp.CloseWrite()
			return
		}
		client.Close()
		server.Close()
	}
	both.Go(func() { pump(server, client, l.bytesPerSecond) })
	both.Go(func() { pump(client, server, 0) })
	both.Wait()
}

// move copies until src ends or the connection's life does.
func move(dst, src net.Conn, rate int, left *atomic.Int64, mortal bool) error {
	buf := make([]byte, 8<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			worn := mortal && left.Add(-int64(n)) < 0
			if worn { // what was left of its life still gets through
				n = max(0, n+int(left.Load()))
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
			if worn {
				return errWornOut
			}
			if rate > 0 {
				time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
