package clients

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reprise/config"
)

// newServerBehind starts a server that tus clients reach over the line.
func newServerBehind(t *testing.T, l *line) *server {
	t.Helper()
	addr := freeAddr(t)
	l.dial = func() (net.Conn, error) { return (&net.Dialer{}).DialContext(context.Background(), "tcp", addr) }
	newLine(t, l)
	s := newServer(t, func(c *config.Config) { c.Addr, c.PublicURL = addr, "http://"+l.addr })
	s.url = "http://" + addr
	return s
}

// freeAddr returns an address that nobody listens on. The kernel gives no port
// again so soon unless it is asked for by name.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Connections break after a random number of bytes, in headers and bodies of
// both directions, and the clients go on until the files are there.
func TestDestroyedSockets(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var mu sync.Mutex
	l := &line{life: func() int64 {
		mu.Lock()
		defer mu.Unlock()
		if random.IntN(4) == 0 { // within the first headers
			return random.Int64N(1000)
		}
		return random.Int64N(400_000)
	}}
	s := newServerBehind(t, l)
	wav := makeBigWAV(t)
	t.Run("clients", func(t *testing.T) {
		for i := range rounds(6, 300) {
			c := tusCase{
				File: wav, Retries: 50,
				// Without it a creation whose answer was lost would leave a second upload.
				Metadata:  map[string]string{"clientId": fmt.Sprint(i)},
				ChunkSize: []int{0, 64 << 10, 123_457, 1 << 20}[i%4],
				// A creation that carries more than the line ever does can't succeed.
				UploadDataDuringCreation: i%4 == 1 || i%4 == 2,
			}
			t.Run(fmt.Sprint(i, " in chunks of ", c.ChunkSize), func(t *testing.T) {
				t.Parallel()
				u := s.user(t, fmt.Sprint(i))
				p := u.startClient(c)
				p.mustSucceed()
				u.checkStored(p.recording(), wav)
				if diff := cmp.Diff([]string{p.recording()}, u.recordings()); diff != "" {
					t.Errorf("recordings (-want +got):\n%s", diff)
				}
			})
		}
	})
	if n := l.breaks.Load(); n < 10 {
		t.Errorf("only %d connections have broken", n)
	}
}

// A client that is killed goes on in another process from the URL it has kept.
func TestKilledClient(t *testing.T) {
	t.Parallel()
	l := &line{bytesPerSecond: 1_000_000}
	s := newServerBehind(t, l)
	u := s.user(t, "alice")
	c := tusCase{File: makeBigWAV(t), ChunkSize: 100_000, Storage: t.TempDir() + "/urls.json"}
	first := u.startClient(c)
	first.until(300_000)
	first.kill()
	second := u.startClient(c)
	second.mustSucceed()
	if second.count(http.MethodPost, 0) != 0 || second.count(http.MethodHead, http.StatusOK) != 1 {
		t.Errorf("the second client did not resume: %s", second)
	}
	if offset := second.said[0].Answer.Offset; offset == nil || *offset < 300_000 {
		t.Errorf("the second client does not go on from 300000 bytes or more: %s", second)
	}
	u.checkStored(first.recording(), c.File)
}

// Giving up in the middle leaves nothing.
func TestAbort(t *testing.T) {
	t.Parallel()
	l := &line{bytesPerSecond: 1_000_000}
	s := newServerBehind(t, l)
	for _, chunkSize := range []int{0, 100_000} {
		t.Run(fmt.Sprint("chunks of ", chunkSize), func(t *testing.T) {
			u := s.user(t, fmt.Sprint("alice", chunkSize))
			p := u.startClient(tusCase{File: makeBigWAV(t), ChunkSize: chunkSize, AbortAfterMs: 500, Retries: 3})
			end := p.end()
			if end.Aborted == nil || p.count(http.MethodDelete, http.StatusNoContent) != 1 {
				t.Fatalf("not aborted: %s", p)
			}
			if got := u.head(end.Aborted.URL); got.status != http.StatusGone {
				t.Errorf("HEAD afterwards: %v", got)
			}
			if got := u.patch(end.Aborted.URL, 0, []byte("x")); got.status != http.StatusGone || got.code() != "upload_gone" {
				t.Errorf("PATCH afterwards: %v", got)
			}
			if got := u.recordings(); len(got) != 0 {
				t.Errorf("recordings afterwards: %v", got)
			}
			if got := get[page[uploadView]](u, "/v1/uploads").Items; len(got) != 0 {
				t.Errorf("uploads afterwards: %v", got)
			}
			if got := u.do(http.MethodGet, "/v1/recordings/"+p.recording(), nil); got.status != http.StatusNotFound {
				t.Errorf("the recording afterwards: %v", got)
			}
			deadline := time.Now().Add(patience)
			for files := s.stored(t); len(files) > 0; files = s.stored(t) {
				if time.Now().After(deadline) {
					t.Fatalf("in storage afterwards: %v", files)
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
}

// Two clients send the same file to one upload at the same time: each takes it
// over from the other again and again, and both end well.
func TestTwoClientsOnOneUpload(t *testing.T) {
	t.Parallel()
	for _, chunkSize := range []int{0, 50_000} {
		t.Run(fmt.Sprint("chunks of ", chunkSize), func(t *testing.T) {
			t.Parallel()
			l := &line{bytesPerSecond: 2_000_000}
			s := newServerBehind(t, l)
			u := s.user(t, "alice")
			wav := makeBigWAV(t)
			url, id := u.create(len(readFile(t, wav)), nil)
			c := tusCase{File: wav, UploadURL: url, ChunkSize: chunkSize, Retries: 100}
			one, two := u.startClient(c), u.startClient(c)
			one.mustSucceed()
			two.mustSucceed()
			u.checkStored(id, wav)
			if diff := cmp.Diff([]string{id}, u.recordings()); diff != "" {
				t.Errorf("recordings (-want +got):\n%s", diff)
			}
			received := 0
			for _, e := range u.events(id) {
				if e.Type == "upload.received" {
					received++
				}
			}
			if received != 1 {
				t.Errorf("%d times received", received)
			}
			t.Logf("takeovers: %d and %d", one.count(http.MethodPatch, http.StatusConflict), two.count(http.MethodPatch, http.StatusConflict))
		})
	}
}

// The same clientId is the same upload: begun by one device, sent again whole by
// another, and once more when it is complete.
func TestClientIDMakesCreationIdempotent(t *testing.T) {
	t.Parallel()
	l := &line{bytesPerSecond: 1_000_000}
	s := newServerBehind(t, l)
	u := s.user(t, "alice")
	c := tusCase{File: makeBigWAV(t), ChunkSize: 100_000, Retries: 5, Metadata: map[string]string{"clientId": "tape 7, side A"}}
	first := u.startClient(c)
	first.until(200_000)
	first.kill()
	urls := map[string]bool{}
	for _, during := range []bool{false, true, true, false} {
		c.UploadDataDuringCreation = during
		p := u.startClient(c)
		urls[p.mustSucceed()] = true
		if p.recording() != first.recording() {
			t.Errorf("recording %s, want %s", p.recording(), first.recording())
		}
	}
	if len(urls) != 1 {
		t.Errorf("uploads %v, want one", urls)
	}
	u.checkStored(first.recording(), c.File)
	if diff := cmp.Diff([]string{first.recording()}, u.recordings()); diff != "" {
		t.Errorf("recordings (-want +got):\n%s", diff)
	}
	// It is the owner's own name: somebody else's is another upload.
	bob := s.user(t, "bob")
	c.File = speech
	p := bob.startClient(c)
	p.mustSucceed()
	if strings.Contains(p.recording(), first.recording()) {
		t.Error("bob has got alice's recording")
	}
	// And it can't become another file's.
	c.File = makeAudio(t, "other.wav", "-t", "1", "-i", speech)
	again := bob.startClient(c)
	if end := again.end(); end.Failure == nil || end.Failure.Status != http.StatusConflict {
		t.Errorf("another file under the same clientId: %s", again)
	}
}
