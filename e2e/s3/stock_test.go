package s3_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tus/tusd/v2/pkg/handler"
	"github.com/tus/tusd/v2/pkg/memorylocker"
	"github.com/tus/tusd/v2/pkg/s3store"
	tuslog "golang.org/x/exp/slog"

	"reprise/internal/s3test"
)

// stock uploads data to stock tusd on its s3store, in PATCHes of chunk bytes, and
// returns what that cost.
func stock(t *testing.T, server *s3test.Server, data []byte, chunk int) s3test.Counts {
	t.Helper()
	proxy := server.Proxy(t)
	store := s3store.New(server.Bucket(t), proxy.Client())
	composer := handler.NewStoreComposer()
	store.UseIn(composer)
	memorylocker.New().UseIn(composer)
	tusd, err := handler.NewHandler(handler.Config{
		BasePath: "/files/", StoreComposer: composer,
		Logger: tuslog.New(tuslog.NewTextHandler(io.Discard, &tuslog.HandlerOptions{Level: tuslog.LevelError})),
	})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(http.StripPrefix("/files/", tusd))
	t.Cleanup(front.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	p := &phone{bases: []string{front.URL}, http: &http.Client{Transport: transport}, data: data, chunk: chunk}
	if err := p.upload(t.Context()); err != nil {
		t.Fatalf("stock tusd: %v", err)
	}
	return proxy.Counts()
}
