package crash

import (
	"fmt"
	"os/exec"
	"testing"

	"reprise/internal/neo4jtest"
)

// TestGraphAck kills one server after the other between what it has written into the
// graph and its note of that: what was written is written again, and both sides are equal.
func TestGraphAck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := neo4jtest.Shared(t)
	w.settings = []string{"REPRISE_NEO4J_URL=" + at.URL, "REPRISE_NEO4J_USER=" + at.User, "REPRISE_NEO4J_PASSWORD=" + at.Password}
	migrate := exec.Command(program(t), "migrate")
	migrate.Env = w.env("migrate")
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	p := w.phone("alice", wav(t, 0, clipSeconds, 1), way{})
	s := w.start("server 1", "graph.ack") // at the user's own row, or later
	wait := w.begin(p)
	s.awaitDeath()
	w.start("server 2", "graph.ack").awaitDeath() // at what server 1 has written
	if query[int](w, `SELECT count(*) FROM graph_outbox`) == 0 {
		t.Error("a server that died has noted what it wrote")
	}
	s = w.start("server 3", "")
	wait()
	w.awaitReady(p)
	w.eventually("nothing waits for the graph", func() bool { return query[int](w, `SELECT count(*) FROM graph_outbox`) == 0 })
	w.finish([]*server{s}, p)

	want := list[string](w, `SELECT id || ' ' || version FROM graph_versions ORDER BY id`)
	got := neo4jtest.Query(t, at, `MATCH (n:Projected) WHERE n.id IN $ids
		WITH n ORDER BY n.id RETURN collect(n.id + ' ' + n.version) AS versions`,
		map[string]any{"ids": list[string](w, `SELECT id::text FROM graph_versions`)})[0]["versions"]
	if len(want) < 2 || fmt.Sprint(want) != fmt.Sprint(got) {
		t.Errorf("the graph has the versions %v, want %v", got, want)
	}
}
