package graphsync

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"reprise/recording"
)

// Whatever happens to Neo4j while it is drained, the rest arrives by itself.
func TestOutages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(1)
	stop := w.background()
	defer stop()
	w.caughtUp()
	alice := w.user("alice")

	for name, happen := range map[string]func(back func()){
		"killed": func(back func()) {
			w.server.Kill()
			back()
			w.must(w.server.Restart(t.Context()))
		},
		"frozen": func(back func()) {
			w.server.Freeze()
			back()
			time.Sleep(500 * time.Millisecond) // that a batch is on its way
			w.server.Thaw()
		},
	} {
		happen(func() {
			// Writers don't notice.
			began := time.Now()
			w.analyse(alice, w.ready(alice, uuid.Nil), "war", "Anna", name)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s: an analysis took %v", name, took)
			}
		})
		w.caughtUp()
	}
	w.equal()
}

// Two replicas share what there is.
func TestDrainersShare(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(6)
	first, second := w.background(), w.background()
	w.fill(2)
	w.caughtUp()
	first()
	second()
	w.equal()
}

// A row that the graph refuses holds nothing else up, is given up after some attempts,
// and arrives when it is tried again and nothing is in its way any more.
func TestPoison(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice")
	w.query("CREATE CONSTRAINT one_anna FOR (n:Person) REQUIRE n.name IS UNIQUE", nil)
	w.query("CREATE (:Person {name: 'Anna'})", nil)
	w.analyse(alice, w.ready(alice, uuid.Nil), "bread", "Anna", "Otto")
	d := w.drainer()
	for range 5 {
		_, err := d.runOnce(t.Context())
		w.must(err)
		_, err = w.pool.Exec(t.Context(), `UPDATE graph_outbox SET not_before = now()`) // its pause is over
		w.must(err)
	}
	b, err := w.GraphBacklog(t.Context())
	w.must(err)
	if b.Rows != 0 || b.Dead != 1 {
		t.Errorf("the backlog is %+v, want one dead letter", b)
	}
	if applied, refused := testutil.ToFloat64(d.metrics.rows.WithLabelValues("applied")), testutil.ToFloat64(d.metrics.rows.WithLabelValues("refused")); applied != 4 || refused != 5 {
		t.Errorf("%v rows are counted as applied, %v as refused; want 4 (user, Otto, bread, recording) and 5", applied, refused)
	}
	anna := w.entity(alice, "anna")
	if found := w.verify(false); len(found) != 1 || found[0].ID != anna || found[0].Kind != MissingNode {
		t.Errorf("found %+v", found)
	}
	w.query("DROP CONSTRAINT one_anna", nil)
	w.query("MATCH (n:Person) WHERE n.id IS NULL DELETE n", nil)
	if n, err := w.RetryGraph(t.Context()); n != 1 || err != nil {
		t.Errorf("%d rows are tried again, %v", n, err)
	}
	w.drain()
	w.equal()
}

// Tombstones go when they are an hour older than what waits.
func TestPurge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice")
	id := w.ready(alice, uuid.Nil)
	w.analyse(alice, id, "bread", "Anna")
	w.drain()
	w.must(w.DeleteRecording(t.Context(), alice, id))
	w.drain()
	w.equal()
	tombstones := func() any {
		return w.query("MATCH (n:Projected) WHERE n.deletedAt IS NOT NULL RETURN count(n) AS n", nil)[0]["n"]
	}
	if got := tombstones(); got != int64(3) {
		t.Errorf("there are %v tombstones, want those of the recording, Anna and bread", got)
	}
	w.query("MATCH (n:Projected {id: $id}) SET n.deletedAt = n.deletedAt - duration('PT61M')", map[string]any{"id": id.String()})
	d := w.drainer()
	w.must(d.purge(t.Context()))
	if got := tombstones(); got != int64(2) || testutil.ToFloat64(d.metrics.purged) != 1 {
		t.Errorf("%v tombstones are left, %v counted", got, testutil.ToFloat64(d.metrics.purged))
	}
	w.equal()
}

// A graph that is not migrated, or not there, takes nothing, and nothing is lost.
func TestNotMigrated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.query("MATCH (m:Migration) DELETE m", nil)
	w.user("alice")
	if _, err := w.drainer().runOnce(t.Context()); err == nil || recording.CodeOf(err) == recording.CodeUnavailable {
		t.Errorf("a graph without a schema: %v", err)
	}
	nowhere, err := Open(Options{URL: "bolt://127.0.0.1:1", User: "neo4j", Password: "x"})
	w.must(err)
	defer nowhere.Close(t.Context())
	d := w.drainer()
	d.o.Graph = nowhere
	if _, err := d.runOnce(t.Context()); recording.CodeOf(err) != recording.CodeUnavailable {
		t.Errorf("no graph: %v", err)
	}
	if b, err := w.GraphBacklog(t.Context()); err != nil || b.Rows != 1 {
		t.Errorf("%+v, %v", b, err)
	}
}
