package s3server_test

import (
	"context"
	"net/http"
	"testing"

	"go.uber.org/goleak"

	"reprise/internal/s3server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServersRunUntilStopped(t *testing.T) {
	t.Parallel()
	servers, err := s3server.Start(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer servers.Stop()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, server := range servers.All() {
		res, err := client.Get(server.Endpoint)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: an unsigned request got %d, want 403", server.Name, res.StatusCode)
		}
	}
	servers.Stop()
	for _, server := range servers.All() {
		if res, err := client.Get(server.Endpoint); err == nil {
			res.Body.Close()
			t.Errorf("%s still answers", server.Name)
		}
	}
}
