package limits

import (
	"net"
	"net/netip"
	"sync"

	"reprise/recording"
)

// sendBufferBytes is how much of an answer the kernel holds for one client; left to
// itself it takes megabytes for one that doesn't read. It also tells the server of
// progress only when a good part of that has gone, so with less a slow reader is seen
// to read. 512 KiB still fill a line of 40 Mbit/s over 100 ms.
const sendBufferBytes = 512 << 10

// ConnectionOptions say how many connections are open at a time; 0 is no limit.
type ConnectionOptions struct {
	Max        int // in all
	PerAddress int
	// Proxies are let in without PerAddress: their connections are those of many.
	Proxies Proxies
	// Refused is called with the limit for each connection that is not let in.
	Refused func(recording.LimitName)
}

// Listen bounds the connections that l accepts. One too many is closed at once, so
// that whoever is served already goes on being served.
func Listen(l net.Listener, o ConnectionOptions) net.Listener {
	return &listener{Listener: l, o: o, open: make(map[netip.Addr]int)}
}

type listener struct {
	net.Listener
	o ConnectionOptions

	mu    sync.Mutex
	total int
	open  map[netip.Addr]int
}

// Accept returns the next connection that is let in.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok { // no other kind has an address
			return c, nil
		}
		from := parseAddr(c.RemoteAddr().String())
		if limit := l.enter(from); limit != "" {
			l.o.Refused(limit)
			_ = c.Close() // nothing was sent yet
			continue
		}
		_ = tcp.SetWriteBuffer(sendBufferBytes) // a connection that is gone already says so when it is read
		return &conn{TCPConn: tcp, leave: sync.OnceFunc(func() { l.leave(from) })}, nil
	}
}

// enter counts a connection, or returns the limit that it is beyond.
func (l *listener) enter(from netip.Addr) (limit recording.LimitName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := networkOf(from)
	switch {
	case l.o.Max > 0 && l.total >= l.o.Max:
		return recording.LimitConnections
	case l.o.PerAddress > 0 && l.open[key] >= l.o.PerAddress && !l.o.Proxies.Contains(from):
		return recording.LimitAddressConnections
	}
	l.total++
	l.open[key]++
	return ""
}

func (l *listener) leave(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	key := networkOf(from)
	if l.open[key]--; l.open[key] == 0 {
		delete(l.open, key)
	}
}

// conn is a connection that is counted. It is a TCPConn in all else: net/http closes
// one half of those first, so that an answer gets to a client that is still sending.
type conn struct {
	*net.TCPConn
	leave func()
}

func (c *conn) Close() error {
	defer c.leave()
	return c.TCPConn.Close()
}
