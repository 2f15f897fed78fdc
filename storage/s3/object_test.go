package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reprise/internal/s3test"
	"reprise/storage"
	"reprise/storage/storagetest"
)

func put(t *testing.T, s *Store, key string, p []byte) {
	t.Helper()
	if _, err := s.Put(t.Context(), key, bytes.NewReader(p)); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

// readAll opens an object and reads it.
func readAll(ctx context.Context, s *Store, key string) ([]byte, error) {
	o, err := s.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	return io.ReadAll(o)
}

// wantBytes compares without printing megabytes.
func wantBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes that are not the %d expected", what, len(got), len(want))
	}
}

// wantCounts compares the requests since the last call.
func wantCounts(t *testing.T, what string, p *s3test.Proxy, want map[string]int) {
	t.Helper()
	if diff := cmp.Diff(want, p.Counts().Requests); diff != "" {
		t.Errorf("%s: requests (-want +got):\n%s", what, diff)
	}
	p.ResetCounts()
}

func TestReadRequests(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		proxy := server.Proxy(t)
		s := newStore(t, proxy.URL(server.Bucket(t)))
		for n, want := range map[int]map[string]int{
			0:             {"GetObject": 1, "HeadObject": 1},
			1:             {"GetObject": 1},
			headBytes:     {"GetObject": 1},
			headBytes + 1: {"GetObject": 2},
			1 << 20:       {"GetObject": 2},
		} {
			put(t, s, "object", storagetest.Pattern(1, n))
			proxy.ResetCounts()
			got, err := readAll(t.Context(), s, "object")
			if err != nil {
				t.Errorf("read %d bytes: %v", n, err)
			}
			wantBytes(t, "read", got, storagetest.Pattern(1, n))
			wantCounts(t, "read", proxy, want)
		}
	})
}

// A download that breaks off goes on where it was.
func TestReadBroken(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		proxy := server.Proxy(t)
		s := newStore(t, proxy.URL(server.Bucket(t)))
		s.timeout = testTimeout
		want := storagetest.Pattern(1, 1<<20)
		put(t, s, "object", want)
		for _, fault := range s3test.Faults() {
			for n := 1; n <= 2; n++ {
				proxy.ResetCounts()
				proxy.Fail(s3test.Nth("GetObject", n, fault))
				got, err := readAll(t.Context(), s, "object")
				if err != nil {
					t.Errorf("read with %v of request %d: %v", fault, n, err)
				}
				wantBytes(t, fault.String(), got, want)
			}
		}
		proxy.Fail(s3test.Every("GetObject", s3test.Reset().After()))
		if _, err := readAll(t.Context(), s, "object"); err == nil {
			t.Error("reading succeeds though each answer breaks off")
		}
		proxy.Fail(nil)
		proxy.ResetCounts()
		proxy.Fail(s3test.Nth("GetObject", 2, s3test.Reset().After()))
		path := filepath.Join(t.TempDir(), "file")
		if err := s.Fetch(t.Context(), "object", path); err != nil {
			t.Errorf("Fetch: %v", err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		wantBytes(t, "Fetch", got, want)
	})
}

func TestFetchFails(t *testing.T) {
	t.Parallel()
	server := s3test.Servers(t)[0]
	proxy := server.Proxy(t)
	s := newStore(t, proxy.URL(server.Bucket(t)))
	put(t, s, "object", storagetest.Pattern(1, 1<<20))
	proxy.ResetCounts()
	proxy.Fail(func(r s3test.Request) s3test.Fault {
		if r.N == 1 {
			return s3test.Fault{}
		}
		return s3test.InternalError()
	})
	path := filepath.Join(t.TempDir(), "file")
	if err := s.Fetch(t.Context(), "object", path); err == nil {
		t.Error("Fetch succeeds without the bytes")
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Fetch left a file: %v", err)
	}
}

// After a Seek the bytes of the object that was opened are gone with it.
func TestReadReplaced(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		s := newStore(t, server.URL(server.Bucket(t)))
		put(t, s, "object", storagetest.Pattern(1, 1<<20))
		o, err := s.Open(t.Context(), "object")
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		put(t, s, "object", storagetest.Pattern(2, 1<<20))
		if _, err := o.Seek(-100, io.SeekEnd); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(o); len(got) > 0 || !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("read %d bytes and %v, want ErrNotFound", len(got), err)
		}
	})
}

func TestReadCanceled(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		s := newStore(t, server.URL(server.Bucket(t)))
		put(t, s, "object", storagetest.Pattern(1, 8<<20))
		ctx, cancel := context.WithCancel(t.Context())
		o, err := s.Open(ctx, "object")
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		if _, err := io.CopyN(io.Discard, o, 1<<20); err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := io.Copy(io.Discard, o); !errors.Is(err, context.Canceled) {
			t.Errorf("reading ends with %v, want context.Canceled", err)
		}
	})
}

// A body that stalls is the server's failure, not its reader's end.
func TestStalledBody(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	defer w.Close()
	const limit = 10 * time.Millisecond
	idle := time.AfterFunc(limit, func() { r.CloseWithError(context.Canceled) })
	idle.Stop()
	d := &download{ReadCloser: r, cancel: func() {}, idle: idle, limit: limit}
	if _, err := d.Read(make([]byte, 1)); !away(err) {
		t.Errorf("Read = %v, want an error that says to try again", err)
	}
}
