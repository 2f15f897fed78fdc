package upload_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reprise/api"
	"reprise/auth"
)

// TestTokenExpiresInTheBody: a token counts when its request starts. The body may
// come in long after its end, as a slow phone's does; only the next request is refused.
func TestTokenExpiresInTheBody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var clock atomic.Int64
	now := func() time.Time { return time.Unix(clock.Load(), 0) }
	clock.Store(time.Now().Unix())
	key := bytes.Repeat([]byte{7}, 32)
	verifier, err := auth.NewDevVerifier(key, now)
	must(t, err)
	token, err := auth.IssueDevToken(key, "alice", time.Minute, now())
	must(t, err)
	authenticator := auth.New(auth.Options{Verifier: verifier, Users: r.catalog, WriteProblem: api.NewProblems(slog.New(slog.DiscardHandler)).Write})
	admitted := make(chan struct{}, 1)
	server := httptest.NewServer(authenticator.Middleware(authenticator.RequirePrincipal(
		http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			admitted <- struct{}{}
			r.server.ServeHTTP(w, req)
		}))))
	t.Cleanup(server.Close)

	data := audio(60_000)
	path := strings.TrimPrefix(r.create(len(data)), r.url)
	send := func(offset int64, body io.Reader) answer {
		return r.do(http.MethodPatch, server.URL+path, body, "Test-User", "", "Authorization", "Bearer "+token, "Upload-Offset", strconv.FormatInt(offset, 10))
	}
	body, phone := io.Pipe()
	go func() {
		defer phone.Close()
		_, _ = phone.Write(data[:20_000]) // the answer says what came in
		select {
		case <-admitted:
		case <-t.Context().Done():
		}
		clock.Add(int64(time.Hour / time.Second))
		_, _ = phone.Write(data[20_000:40_000])
	}()
	if a := send(0, body); a.status != http.StatusNoContent || a.header.Get("Upload-Offset") != "40000" {
		t.Errorf("the request that had begun: %d at %s: %s", a.status, a.header.Get("Upload-Offset"), a.body)
	}
	if a := send(40_000, bytes.NewReader(data[40_000:])); a.status != http.StatusUnauthorized || a.code != "unauthenticated" {
		t.Errorf("the next request: %d %s", a.status, a.body)
	}
	if at := r.row(server.URL + path).Offset; at != 40_000 {
		t.Errorf("the offset is %d then", at)
	}
}
