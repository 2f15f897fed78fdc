package clients

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reprise/internal/s3test"
)

// checkNoPieces checks that nothing of partial uploads is left in storage.
func (s *server) checkNoPieces(t *testing.T) {
	t.Helper()
	for _, path := range s.stored(t) {
		if strings.Contains(path, "/uploads/") || strings.Contains(path, "/parts/") {
			t.Errorf("left in storage: %s", path)
		}
	}
}

// A file sent as three uploads at a time becomes one recording.
func TestParallelUploads(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	u := s.user(t, "alice")
	extensions := strings.Split(u.do(http.MethodOptions, "/files/", nil).header.Get("Tus-Extension"), ",")
	if !slices.Contains(extensions, "concatenation") {
		t.Errorf("Tus-Extension is %v", extensions)
	}
	c := tusCase{File: makeBigWAV(t), ParallelUploads: 3, Metadata: map[string]string{"filename": "speech.wav", "title": "In three"}}
	p := u.startClient(c)
	url := p.mustSucceed()
	u.checkStored(p.recording(), c.File)
	if diff := cmp.Diff([]string{p.recording()}, u.recordings()); diff != "" {
		t.Errorf("recordings (-want +got):\n%s", diff)
	}
	if got := u.recording(p.recording()).Title; got != "In three" {
		t.Errorf("title is %q", got)
	}
	if got := p.count(http.MethodPost, http.StatusCreated); got != 4 {
		t.Errorf("%d creations, want three partial and a final one: %s", got, p)
	}
	if h := u.head(url).header; len(strings.Fields(h.Get("Upload-Concat"))) != 3 || h.Get("Upload-Length") != h.Get("Upload-Offset") {
		t.Errorf("HEAD of the final upload says %v", h)
	}
	s.checkNoPieces(t)
}

// The same in object storage, where pieces are multipart uploads, or tails in the
// ledger.
func TestParallelUploadsOnS3(t *testing.T) {
	t.Parallel()
	large := makeAudio(t, "large.wav", "-stream_loop", "-1", "-t", "32", "-i", speech, "-ar", "96000", "-ac", "2", "-c:a", "pcm_s24le") // 18 MB
	small := makeBigWAV(t)
	onEachS3(t, func(t *testing.T, storage *s3test.Server) {
		bucket := storage.Bucket(t)
		s := newServer(t, onS3(storage.URL(bucket, "part-size=5MiB"), "server"))
		u := s.user(t, "alice")
		for _, c := range []tusCase{
			{File: large, ParallelUploads: 3}, {File: large, ParallelUploads: 2, ChunkSize: 3_000_000}, {File: small, ParallelUploads: 3, ChunkSize: 100_000},
		} {
			p := u.startClient(c)
			p.mustSucceed()
			u.checkStored(p.recording(), c.File)
		}
		if got := u.recordings(); len(got) != 3 {
			t.Errorf("%d recordings", len(got))
		}
		for _, key := range storage.Keys(t, bucket) {
			if strings.Contains(key, "uploads/") || strings.Contains(key, "parts/") {
				t.Errorf("left in storage: %s", key)
			}
		}
		if left := storage.Multiparts(t, bucket); len(left) != 0 {
			t.Errorf("left in storage: %v", left)
		}
	})
}

// Connections break at random, that of the final upload's creation too: the client
// asks for it again, and it is the same one.
func TestParallelUploadsOverABadLine(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var mu sync.Mutex
	l := &line{life: func() int64 {
		mu.Lock()
		defer mu.Unlock()
		if random.IntN(3) == 0 { // within the first headers, or their answer
			return random.Int64N(1500)
		}
		return random.Int64N(300_000)
	}}
	s := newServerBehind(t, l)
	wav := makeBigWAV(t)
	t.Run("clients", func(t *testing.T) {
		for i := range rounds(4, 200) {
			c := tusCase{File: wav, Retries: 50, ParallelUploads: 3, ChunkSize: []int{0, 123_457}[i%2]}
			t.Run(fmt.Sprint(i), func(t *testing.T) {
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
	if n := l.breaks.Load(); n < 5 {
		t.Errorf("only %d connections have broken", n)
	}
}

// A client that is killed goes on with all three in another process.
func TestParallelUploadsKilledClient(t *testing.T) {
	t.Parallel()
	l := &line{bytesPerSecond: 300_000}
	s := newServerBehind(t, l)
	u := s.user(t, "alice")
	c := tusCase{File: makeBigWAV(t), ParallelUploads: 3, ChunkSize: 50_000, Storage: t.TempDir() + "/urls.json"}
	first := u.startClient(c)
	first.until(150_000)
	first.kill()
	second := u.startClient(c)
	second.mustSucceed()
	if second.count(http.MethodPost, 0) != 1 || second.count(http.MethodHead, http.StatusOK) != 3 {
		t.Errorf("the second client did not resume: %s", second)
	}
	u.checkStored(second.recording(), c.File)
}

// Giving up in the middle leaves nothing.
func TestParallelUploadsAborted(t *testing.T) {
	t.Parallel()
	l := &line{bytesPerSecond: 300_000}
	s := newServerBehind(t, l)
	u := s.user(t, "alice")
	p := u.startClient(tusCase{File: makeBigWAV(t), ParallelUploads: 3, AbortAfterMs: 500, Retries: 3})
	if end := p.end(); end.Aborted == nil || p.count(http.MethodDelete, http.StatusNoContent) != 3 {
		t.Fatalf("not aborted: %s", p)
	}
	if got := u.recordings(); len(got) != 0 {
		t.Errorf("recordings afterwards: %v", got)
	}
	deadline := time.Now().Add(patience)
	for files := s.stored(t); len(files) > 0; files = s.stored(t) {
		if time.Now().After(deadline) {
			t.Fatalf("in storage afterwards: %v", files)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
