package clients

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reprise/auth"
)

// The token dies right after the creation, and the line again and again. What
// docs/clients.md shows brings the upload to its end with the ticket alone.
func TestTicketOutlivesTheToken(t *testing.T) {
	t.Parallel()
	l := &line{life: func() int64 { return 400_000 }}
	s := newServerBehind(t, l)
	u := s.user(t, "alice")
	wav := makeBigWAV(t)
	expired, err := auth.IssueDevToken(s.key, "alice", time.Hour, time.Now().Add(-2*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir() // the snippet finds its package as if it were of e2e
	modules, err := filepath.Abs("../node_modules")
	if err == nil {
		err = os.Symlink(modules, filepath.Join(dir, "node_modules"))
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "tus.mjs"), []byte(snippet(t, "../../docs/clients.md", "tus.mjs")), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	client := exec.CommandContext(t.Context(), "node", "tickets.mjs")
	client.Env = append(os.Environ(), "SNIPPET="+filepath.Join(dir, "tus.mjs"), "FILE="+wav, "SERVER="+s.line, "TOKEN="+u.token, "EXPIRED="+expired)
	out, err := client.Output()
	var said struct {
		Recording string
		Asked     int
	}
	if err != nil || json.Unmarshal(out, &said) != nil {
		t.Fatalf("the client said %s: %v", out, err)
	}
	u.checkStored(said.Recording, wav)
	if said.Asked != 1 || l.breaks.Load() < 3 {
		t.Errorf("a token was asked for %d times; the line broke %d times", said.Asked, l.breaks.Load())
	}
	dead := user{t: t, s: s, token: expired}
	if got := dead.do(http.MethodGet, "/v1/me", nil); got.status != http.StatusUnauthorized {
		t.Errorf("the expired token: %v", got)
	}
}

// snippet returns the code below a page's marker of this name.
func snippet(t *testing.T, page, name string) string {
	t.Helper()
	_, rest, found := strings.Cut(string(readFile(t, page)), "<!-- snippet: "+name+" -->\n```js\n")
	code, _, ended := strings.Cut(rest, "\n```\n")
	if !found || !ended {
		t.Fatalf("%s has no snippet %s", page, name)
	}
	return code + "\n"
}
