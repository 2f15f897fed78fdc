package clients

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"reprise/app"
	"reprise/config"
	"reprise/internal/neo4jtest"
)

// A server whose Neo4j hangs serves as ever, and says how far the graph is behind. When
// Neo4j is back the graph catches up by itself, and an operator can compare, mend and
// rebuild it.
func TestGraph(t *testing.T) {
	t.Parallel()
	neo4j := neo4jtest.Alone(t)
	at := neo4j.Where()
	var cfg *config.Config
	s := newServer(t, func(c *config.Config) {
		cfg = c
		c.Neo4jURL, c.Neo4jUser, c.Neo4jPassword = at.URL, at.User, config.Secret(at.Password)
		quiet := slog.New(slog.DiscardHandler)
		if err := app.Migrate(t.Context(), *c, quiet); err != nil { // twice is once
			t.Fatal(err)
		}
		neo4j.Freeze()
	})
	u := s.user(t, "alice")
	w := u.watch(100)
	id, _ := u.upload(makeFLAC(t), map[string]string{"title": "The oven"})
	w.reached(t, id, "recording.ready")
	if status, ready := s.readyz(t); status != http.StatusOK || !strings.Contains(ready.Checks["graph"], "rows behind, by ") || !strings.HasSuffix(ready.Checks["graph"], "Neo4j does not answer") {
		t.Errorf("with a graph that hangs: %d %v", status, ready)
	}
	if text := string(u.do(http.MethodGet, s.admin+"/metrics", nil).body); !strings.Contains(text, "reprise_graph_backlog_rows 2\n") {
		t.Error("/metrics does not say that the user and the recording wait")
	}

	neo4j.Thaw()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		status, ready := s.readyz(t)
		if status == http.StatusOK && ready.Checks["graph"] == "up to date" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not catch up: %v", ready)
		}
	}
	titles := func() any {
		return neo4jtest.Query(t, at, "MATCH (:User)-[:TOLD]->(r:Recording) RETURN collect(r.title) AS titles", nil)[0]["titles"]
	}
	if got, ok := titles().([]any); !ok || len(got) != 1 || got[0] != "The oven" {
		t.Errorf("the graph has %v", got)
	}

	var out bytes.Buffer
	o := app.GraphOptions{Config: *cfg, JSON: true, Out: &out, Progress: &bytes.Buffer{}, Log: slog.New(slog.DiscardHandler)}
	verify := func(repair bool, want int) {
		t.Helper()
		out.Reset()
		found, err := app.VerifyGraph(t.Context(), o, repair)
		var report struct{ Found, Repaired int }
		if err := json.Unmarshal(out.Bytes(), &report); err != nil {
			t.Fatal(err)
		}
		if err != nil || found != want || report.Found != want || repair && report.Repaired != want {
			t.Errorf("found %d, %+v, %v; want %d", found, report, err, want)
		}
	}
	verify(false, 0)
	neo4jtest.Query(t, at, "MATCH (r:Recording) SET r.title = 'Spoilt'", nil)
	verify(true, 1)
	verify(false, 0)
	neo4jtest.Query(t, at, "MATCH (n:Projected) DETACH DELETE n", nil)
	if err := app.RebuildGraph(t.Context(), o, false); err != nil {
		t.Error(err)
	}
	verify(false, 0)
	o.JSON = false
	out.Reset()
	if err := app.RetryGraph(t.Context(), o); err != nil || out.String() != "0 dead letters are tried again\n" {
		t.Errorf("%v, %q", err, out.String())
	}
}
