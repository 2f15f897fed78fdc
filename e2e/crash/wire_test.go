package crash

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// wire is the network between servers and their database: a TCP proxy that breaks
// connections between a commit and its answer.
type wire struct {
	addr string
	dial func() (net.Conn, error)
	// breaks is asked about each commit that is done and not yet answered; offset says
	// that it is a single CommitChunk.
	breaks func(offset bool) bool

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// wireUp has the world's servers reach the database through a wire.
func (w *world) wireUp(breaks func(offset bool) bool) {
	w.t.Helper()
	config, err := pgconn.ParseConfig(w.databaseURL)
	if err != nil {
		w.t.Fatal(err)
	}
	network, address := pgconn.NetworkAddress(config.Host, config.Port)
	x := newWire(w.t, breaks, func() (net.Conn, error) { return (&net.Dialer{}).DialContext(context.Background(), network, address) })
	database, err := url.Parse(w.databaseURL)
	if err != nil {
		w.t.Fatal(err)
	}
	query := database.Query()
	query.Del("host")
	query.Del("port")
	query.Set("sslmode", "disable")
	database.Host, database.RawQuery = x.addr, query.Encode()
	w.databaseURL = database.String()
}

func newWire(t *testing.T, breaks func(bool) bool, dial func() (net.Conn, error)) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := &wire{addr: listener.Addr().String(), dial: dial, breaks: breaks, conns: map[net.Conn]struct{}{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil { // closed
				return
			}
			running.Go(func() { x.carry(client) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		x.mu.Lock()
		for c := range x.conns {
			c.Close()
		}
		x.mu.Unlock()
		running.Wait()
	})
	return x
}

// carry serves one connection until one of its ends closes it, or it breaks.
func (x *wire) carry(client net.Conn) {
	defer x.keep(client)()
	database, err := x.dial()
	if err != nil {
		return
	}
	defer x.keep(database)()
	moves := &atomic.Bool{} // the statement under way is CommitChunk's
	var both sync.WaitGroup
	both.Go(func() {
		defer database.Close()
		defer client.Close()
		ask(database, client, moves)
	})
	both.Go(func() {
		defer client.Close()
		defer database.Close()
		x.answer(client, database, moves)
	})
	both.Wait()
}

func (x *wire) keep(c net.Conn) (forget func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.conns[c] = struct{}{}
	return func() {
		c.Close()
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.conns, c)
	}
}

// ask passes on what the client says, and notes whether it executes a statement that
// moves an upload's offset.
func ask(database io.Writer, client io.Reader, moves *atomic.Bool) {
	movers := map[string]bool{} // names of prepared statements
	in := bufio.NewReader(client)
	for started := false; ; started = true {
		message, err := readMessage(in, started)
		if err != nil {
			return
		}
		switch kind, body := message[0], message[min(5, len(message)):]; {
		case !started:
		case kind == 'P':
			var parse pgproto3.Parse
			if parse.Decode(body) == nil {
				movers[parse.Name] = strings.Contains(parse.Query, "INSERT INTO upload_parts")
			}
		case kind == 'B':
			var bind pgproto3.Bind
			if bind.Decode(body) == nil {
				moves.Store(movers[bind.PreparedStatement])
			}
		case kind == 'Q':
			moves.Store(false)
		}
		if _, err := database.Write(message); err != nil {
			return
		}
	}
}

// answer passes on what the database says. From the end of a statement on it holds it
// until the database is ready for the next: then what was to be committed is.
func (x *wire) answer(client io.Writer, database io.Reader, moves *atomic.Bool) {
	in := bufio.NewReader(database)
	var held []byte
	committed := false
	for {
		message, err := readMessage(in, true)
		if err != nil {
			return
		}
		held = append(held, message...)
		switch message[0] {
		case 'C': // CommandComplete
			committed = bytes.HasPrefix(message[5:], []byte("COMMIT\x00")) || moves.Load()
			continue
		case 'Z': // ReadyForQuery
			const outside = 'I' // of a transaction
			if committed && message[5] == outside && x.breaks(moves.Load()) {
				return
			}
			committed = false
		default:
			if committed {
				continue
			}
		}
		if _, err := client.Write(held); err != nil {
			return
		}
		held = held[:0]
	}
}

// readMessage reads a message of PostgreSQL's protocol, version 3. The first of a
// client has no type in front of its length.
func readMessage(r io.Reader, typed bool) ([]byte, error) {
	head := make([]byte, 4, 5)
	if typed {
		head = head[:5]
	}
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(head[len(head)-4:])) - 4
	if size < 0 || size > 1<<30 {
		return nil, io.ErrUnexpectedEOF
	}
	message := append(head, make([]byte, size)...)
	_, err := io.ReadFull(r, message[len(head):])
	return message, err
}
