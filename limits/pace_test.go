package limits

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// serve returns the address of a server whose handler is paced with little patience.
func serve(t *testing.T, h http.HandlerFunc, o PaceOptions) string {
	t.Helper()
	if o.Long == nil {
		o.Long = func(*http.Request) bool { return false }
	}
	srv := httptest.NewUnstartedServer(Pace(h, o))
	srv.Listener = Listen(srv.Listener, ConnectionOptions{})
	srv.Config.WriteTimeout = o.Write
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

func open(t *testing.T, address, request string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return c
}

// ends wants the server to close the connection, whatever it answers before.
func ends(t *testing.T, c net.Conn) (answer string) {
	t.Helper()
	text, err := io.ReadAll(c)
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Fatalf("the connection is still open; it has given %q", text)
	}
	return string(text)
}

// TestBodiesThatDontCome: nobody waits for ever for a body, whether or not anybody
// reads it.
func TestBodiesThatDontCome(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		read bool
		send string
	}{
		"read":             {true, "Content-Length: 100\r\n\r\nhalf"},
		"not read":         {false, "Content-Length: 100\r\n\r\nhalf"},
		"chunks, read":     {true, "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"},
		"chunks, not read": {false, "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if tt.read {
					if _, err := io.ReadAll(r.Body); err == nil {
						t.Error("the body came to its end")
					}
				}
				w.WriteHeader(http.StatusNoContent)
			}, PaceOptions{Body: 100 * time.Millisecond, Write: patience})
			ends(t, open(t, address, "POST / HTTP/1.1\r\nHost: x\r\n"+tt.send))
		})
	}
}

// TestHandlersMayTakeLonger than a body, or than anything the client does: their
// context goes on, and the connection serves the next request.
func TestHandlersMayTakeLonger(t *testing.T) {
	t.Parallel()
	const pause = 100 * time.Millisecond
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		select {
		case <-r.Context().Done():
			t.Errorf("%s: the context ended", r.Method)
		case <-time.After(4 * pause):
		}
		_, _ = io.WriteString(w, "done")
	}, PaceOptions{Body: pause, Write: 2 * pause})
	c := open(t, address, "")
	for _, request := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"} {
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "done" {
			t.Errorf("got %q, %v", text, err)
		}
	}
}

// TestAnswersThatNobodyTakes: a socket that never reads doesn't hold its handler, and
// one that reads slowly gets everything, however long it takes in all.
func TestAnswersThatNobodyTakes(t *testing.T) {
	t.Parallel()
	const size, reads = 24 << 20, 12 // more than the kernels hold
	const patient = time.Second
	failed := make(chan error, 2)
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, err := io.Copy(w, io.LimitReader(zeros{}, size))
		failed <- err
	}, PaceOptions{Body: patience, Write: patient})

	c := open(t, address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Fatalf("nobody reads, and the handler got %v", err)
	}
	c.Close()

	slow := open(t, address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(slow), nil)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range reads {
		if n, err := io.CopyN(io.Discard, resp.Body, size/reads); err != nil {
			t.Fatalf("after %d bytes: %v", n, err)
		}
		time.Sleep(patient / 5)
	}
	if took := time.Since(began); took < 2*patient {
		t.Errorf("it took %v, which shows nothing", took)
	}
	if err := <-failed; err != nil {
		t.Errorf("a slow reader's handler got %v", err)
	}
}

// zeros is an endless file.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestLongBodies: a body whose handler looks after it has as long as that wants.
func TestLongBodies(t *testing.T) {
	t.Parallel()
	const pause = 100 * time.Millisecond
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience))
		text, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %v", text, err)
	}, PaceOptions{Body: pause, Write: patience, Long: func(*http.Request) bool { return true }})
	c := open(t, address, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbo")
	time.Sleep(3 * pause)
	if _, err := io.WriteString(c, "dy"); err != nil {
		t.Fatal(err)
	}
	if got := ends(t, c); !strings.HasSuffix(got, "body <nil>") {
		t.Errorf("got %q", got)
	}
}
