package s3

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reprise/internal/s3test"
	"reprise/storage/storagetest"
)

func TestMain(m *testing.M) {
	s3test.AtOnce(4) // the tests wait for servers half of their time
	s3test.Main(m)
}

// onServers runs a test on each server.
func onServers(t *testing.T, test func(t *testing.T, server *s3test.Server)) {
	t.Helper()
	for _, server := range s3test.Servers(t) {
		t.Run(server.Name, func(t *testing.T) {
			t.Parallel()
			test(t, server)
		})
	}
}

// newStore opens a store at a storage URL, and closes it when the test ends.
func newStore(t *testing.T, url string, changes ...func(*Options)) *Store {
	t.Helper()
	location, err := ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Location: location, Ledger: &storagetest.Ledger{},
		MemoryBytes: 64 << 20, InlineBytes: 1 << 20, InlineRate: 64 << 20,
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Now: time.Now,
	}
	for _, change := range changes {
		change(&o)
	}
	s, err := New(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
