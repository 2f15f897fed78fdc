package graphsync

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/neo4j/neo4j-go-driver/v5/neo4j"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"reprise/internal/neo4jtest"
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
	w.age(id)
	d := w.drainer()
	w.must(d.purge(t.Context()))
	if got := tombstones(); got != int64(2) || testutil.ToFloat64(d.metrics.purged) != 1 {
		t.Errorf("%v tombstones are left, %v counted", got, testutil.ToFloat64(d.metrics.purged))
	}
	w.equal()
}

// age makes a tombstone old enough to be purged.
func (w *world) age(id uuid.UUID) {
	w.t.Helper()
	w.query("MATCH (n:Projected {id: $id}) SET n.deletedAt = n.deletedAt - duration('PT61M')", map[string]any{"id": id.String()})
}

// What was an old tombstone and is alive again, or about to be, outlives a purge.
func TestPurgeSparesTheLiving(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice")
	w.analyse(alice, w.ready(alice, uuid.Nil), "bread", "Anna", "Grandma")
	anna, grandma := w.entity(alice, "anna"), w.entity(alice, "grandma")
	merge := func() {
		_, err := w.MergeEntities(t.Context(), alice, grandma, anna)
		w.must(err)
		w.drain()
		w.age(anna)
		_, err = w.SplitEntity(t.Context(), alice, grandma, anna)
		w.must(err)
	}

	// Another replica has the entity's row, while the recording's leads to it again.
	merge()
	other, err := w.pool.Begin(t.Context())
	w.must(err)
	defer other.Rollback(context.WithoutCancel(t.Context()))
	_, err = other.Exec(t.Context(), `SELECT FROM graph_outbox WHERE kind = 'entity' FOR UPDATE`)
	w.must(err)
	w.drain()
	if _, err := w.graph.purge(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	w.must(other.Rollback(t.Context()))
	w.drain()
	w.equal()

	// The purge has seen it, and waits for the batch that gives it life.
	merge()
	session := w.graph.driver.NewSession(t.Context(), neo4j.SessionConfig{})
	defer session.Close(t.Context())
	batched, err := session.BeginTransaction(t.Context())
	w.must(err)
	defer batched.Close(t.Context())
	for _, statement := range []string{lockNodes, "UNWIND $ids AS id MATCH (n:Projected {id: id}) SET n:Entity:Person REMOVE n.deletedAt"} {
		result, err := batched.Run(t.Context(), statement, map[string]any{"ids": []string{anna.String()}})
		w.must(err)
		_, err = result.Consume(t.Context())
		w.must(err)
	}
	purged := make(chan error, 1)
	go func() { _, err := w.graph.purge(t.Context(), time.Now()); purged <- err }()
	select {
	case err := <-purged:
		t.Fatalf("the purge does not wait: %v", err)
	case <-time.After(time.Second):
	}
	w.must(batched.Commit(t.Context()))
	w.must(<-purged)
	w.drain()
	w.equal()
}

// A graph that was emptied, or is another one, is not written to before it is migrated.
func TestEmptied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("alice")
	d := w.drainer()
	if _, err := d.runOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	neo4jtest.Empty(t, w.server.Where())
	w.user("bob")
	if _, err := d.runOnce(t.Context()); !errors.Is(err, errNotMigrated) {
		t.Errorf("an emptied graph: %v", err)
	}
	if n := w.query("MATCH (n) RETURN count(n) AS n", nil)[0]["n"]; n != int64(0) {
		t.Errorf("it has %v nodes", n)
	}
	w.must(w.graph.Migrate(t.Context(), quiet()))
	w.drain()
	w.verify(true)
	w.equal()
}

// Wrong credentials are told apart from a server that is away.
func TestCredentials(t *testing.T) {
	t.Parallel()
	at := neo4jtest.Shared(t)
	g, err := Open(Options{URL: at.URL, User: "nobody", Password: "wrong"})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close(t.Context())
	if err := g.Ping(t.Context()); !errors.Is(err, ErrCredentials) || recording.CodeOf(err) != recording.CodeUnavailable {
		t.Errorf("ping: %v", err)
	}
	q := NewQuestions(g, time.Minute)
	for range 10 { // more than the server allows, if each asked it
		_, err = q.Timeline(t.Context(), recording.NewID(), recording.Timeline{Limit: 1})
		if recording.CodeOf(err) != recording.CodeGraphUnavailable || strings.Contains(err.Error(), "RateLimit") {
			t.Errorf("a question: %v", err)
		}
	}
}

// Everything can be asked once before somebody asks it.
func TestWarm(t *testing.T) {
	t.Parallel()
	if err := NewQuestions(shared(t), time.Minute).warm(t.Context()); err != nil {
		t.Error(err)
	}
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
