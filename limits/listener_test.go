package limits

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reprise/recording"
)

const patience = 20 * time.Second

// TestConnectionsAreLimited: one too many is closed at once, and each that ends makes
// room for another.
func TestConnectionsAreLimited(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		o    ConnectionOptions
		want recording.LimitName
	}{
		"in all":     {ConnectionOptions{Max: 2}, recording.LimitConnections},
		"an address": {ConnectionOptions{Max: 100, PerAddress: 2}, recording.LimitAddressConnections},
		"a proxy":    {ConnectionOptions{PerAddress: 2, Proxies: Proxies{netip.MustParsePrefix("127.0.0.0/8")}}, ""},
		"none":       {ConnectionOptions{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var refused []recording.LimitName
			tt.o.Refused = func(name recording.LimitName) {
				mu.Lock()
				defer mu.Unlock()
				refused = append(refused, name)
			}
			tcp, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			l := Listen(tcp, tt.o)
			t.Cleanup(func() { l.Close() })
			go echo(l)
			first, second := dial(t, l), dial(t, l)
			if !answers(first) || !answers(second) {
				t.Fatal("the first two are not served")
			}
			third := dial(t, l)
			if got := answers(third); got != (tt.want == "") {
				t.Errorf("the third is served: %v", got)
			}
			if tt.want == "" {
				return
			}
			first.Close()
			for deadline := time.Now().Add(patience); !answers(dial(t, l)); {
				if time.Now().After(deadline) {
					t.Fatal("there is no room after one has ended")
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if diff := cmp.Diff(tt.want, refused[0]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// echo serves each connection by sending back what comes.
func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(c, c)
			_ = c.Close()
			_ = c.Close() // as net/http may do; counts once
		}()
	}
}

func dial(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func answers(c net.Conn) bool {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte{1}); err != nil {
		return false
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err == nil
}
