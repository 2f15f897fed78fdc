package graphsync

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

// Each kind of difference is found, and mended.
func TestVerify(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(4)
	w.drain()
	w.equal()
	nodes := w.query("MATCH (n:Recording) RETURN n.id AS id, n.version AS version ORDER BY id LIMIT 1", nil)[0]
	r := map[string]any{"id": nodes["id"]}
	stranger := map[string]any{"id": recording.NewID().String()}

	for _, tt := range []struct {
		name, spoil string
		params      map[string]any
		want        DifferenceKind
	}{
		{"a node is gone", "MATCH (n {id: $id}) DETACH DELETE n", r, MissingNode},
		{"a node has nothing but its id", "MATCH (n {id: $id}) REMOVE n:Recording SET n = {id: $id}", r, MissingNode},
		{"a tombstone in its place", "MATCH (n {id: $id}) REMOVE n:Recording SET n = {id: $id, version: n.version + 10, deletedAt: datetime()}", r, MissingNode},
		{"nobody's node", "CREATE (:Projected:Recording {id: $id, version: 3, ownerId: $id, title: 'x'})", stranger, ExtraNode},
		{"a stranger's node", "CREATE (:Projected:Person {id: 'secret 1', name: 'x'})", map[string]any{"id": uuid.Nil.String()}, ExtraNode},
		{"nobody's bare node", "CREATE (:Projected {id: $id})", stranger, ExtraNode},
		{"an old version", "MATCH (n {id: $id}) SET n.version = 0", r, OldVersion},
		{"a newer version", "MATCH (n {id: $id}) SET n.version = n.version + 1000", r, NewVersion},
		{"another title", "MATCH (n {id: $id}) SET n.title = 'secret'", r, ChangedProperty},
		{"another time", "MATCH (n {id: $id}) SET n.at = n.at + duration('PT0.000001S')", r, ChangedProperty},
		{"another owner", "MATCH (n {id: $id}) SET n.ownerId = 'x'", r, ChangedProperty},
		{"one more property", "MATCH (n {id: $id}) SET n.mood = 'x'", r, ChangedProperty},
		{"another label", "MATCH (n {id: $id}) REMOVE n:Recording SET n:Story", r, ChangedLabels},
		{"an edge is gone", "MATCH ({id: $id})-[r:MENTIONS]->() WITH r LIMIT 1 DELETE r", r, MissingEdge},
		{"it hangs on nothing", "MATCH ({id: $id})<-[r]-() DELETE r", r, MissingEdge},
		{"one more edge", "MATCH (n {id: $id}) MATCH (p:Topic) WHERE NOT (n)-[:ABOUT]->(p) WITH n, p LIMIT 1 CREATE (n)-[:ABOUT {weight: 1}]->(p)", r, ExtraEdge},
		{"the same edge twice", "MATCH (n {id: $id})-[:ABOUT]->(p) CREATE (n)-[:ABOUT {weight: 1}]->(p)", r, ExtraEdge},
		{"another count", "MATCH ({id: $id})-[r:MENTIONS]->() WITH r LIMIT 1 SET r.count = 7", r, ChangedEdge},
	} {
		w.query(tt.spoil, tt.params)
		found := w.verify(false)
		ok := false
		for _, d := range found {
			ok = ok || d.Kind == tt.want && d.ID.String() == tt.params["id"]
			if d.Repaired || d.Kind != ExtraNode && strings.Contains(d.Detail, "secret") {
				t.Errorf("%s: %+v", tt.name, d)
			}
		}
		if !ok {
			t.Errorf("%s: found %+v, want %s", tt.name, found, tt.want)
		}
		for _, d := range w.verify(true) {
			if !d.Repaired {
				t.Errorf("%s is not repaired: %+v", tt.name, d)
			}
		}
		if left := w.verify(false); len(left) > 0 {
			t.Errorf("%s: after the repair there is %+v", tt.name, left)
		}
	}
	// What is mended can still be changed.
	id := uuid.MustParse(nodes["id"].(string))
	var owner uuid.UUID
	w.must(w.pool.QueryRow(t.Context(), `SELECT owner_id FROM recordings WHERE id = $1`, id).Scan(&owner))
	title := "Changed"
	_, err := w.PatchRecording(t.Context(), owner, id, recording.RecordingPatch{Title: &title})
	w.must(err)
	w.drain()
	w.equal()
}

// What is on its way is no difference.
func TestVerifyWhileDraining(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(1)
	stop := w.background()
	w.settle = time.Minute
	w.equal()
	stop()
	w.settle = time.Second

	// With nobody who drains it is one, after a while.
	owner := w.user("carol")
	found := w.verify(false)
	if len(found) != 1 || found[0].Kind != MissingNode || found[0].ID != owner {
		t.Errorf("found %+v", found)
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	d := Difference{Kind: ChangedEdge, Of: recording.GraphRecording, ID: uuid.Nil, Version: 3, Graph: 2, Detail: "MENTIONS a->b", Repaired: true}
	sum := Summary{Rows: 10, Nodes: 9, Differences: 1, Repaired: 1, Complete: true, StartedAt: time.Unix(0, 0), Took: 1500 * time.Millisecond}
	var table, doc, empty bytes.Buffer
	for _, report := range []Report{NewTable(&table), NewJSON(&doc)} {
		if err := errors.Join(report.Difference(d), report.Done(sum)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"changed_edge", "3/2", "MENTIONS a->b", "Compared 10 rows of the database with 9 nodes of the graph; 1.5s.", "Differences found: 1, repaired: 1."} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
	table.Reset()
	if err := NewTable(&table).Done(Summary{Complete: true, Unsettled: 2}); err != nil || strings.Contains(table.String(), "equal") || !strings.Contains(table.String(), "2 rows changed") {
		t.Errorf("%v: it says of what is not known:\n%s", err, table.String())
	}
	if err := NewJSON(&empty).Done(Summary{Complete: true}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []*bytes.Buffer{&doc, &empty} {
		var got struct {
			Differences []Difference
			Found       int
			Complete    bool
		}
		if err := json.Unmarshal(text.Bytes(), &got); err != nil || got.Found != len(got.Differences) || !got.Complete {
			t.Errorf("%v: %s", err, text)
		}
	}
}

// Nobody is waited for twice who does not come, and not at all for what was refused.
func TestVerifyWaitsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settle = 2 * time.Second
	w.query("UNWIND range(1, $n) AS i CREATE (:Projected:Recording {id: randomUUID(), version: 3})", map[string]any{"n": 3 * pageRows})
	verify := func() time.Duration {
		began := time.Now()
		if found := w.verify(false); len(found) < 3*pageRows {
			t.Errorf("found %d", len(found))
		}
		return time.Since(began)
	}
	w.user("alice") // which nobody applies
	if took := verify(); took < w.settle || took > 3*w.settle {
		t.Errorf("it took %v, want to wait %v once", took, w.settle)
	}
	_, err := w.pool.Exec(t.Context(), `UPDATE graph_outbox SET attempts = 1, not_before = now() + interval '1 hour'`)
	w.must(err)
	w.settle = time.Minute
	if took := verify(); took > w.settle {
		t.Errorf("it took %v with a refused row", took)
	}
}

// A rebuild that is killed goes on where it was, and ends with the graph that there
// should be, whatever was in it.
func TestRebuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(6)
	w.query("CREATE (:Projected:Recording {id: $id, version: 3})", map[string]any{"id": recording.NewID().String()})

	var l list
	ctx, kill := context.WithCancel(t.Context())
	options := RebuildOptions{Graph: w.graph, Source: w.Catalog, BatchRows: 3, Report: &l, SettleTime: time.Second, Progress: func(p Progress) {
		if p.Kind == recording.GraphEntity && p.Written > 8 {
			kill()
		}
	}}
	if _, _, err := Rebuild(ctx, options); !errors.Is(err, context.Canceled) {
		t.Fatalf("it was killed: %v", err)
	}
	at, err := w.GraphRebuild(t.Context())
	w.must(err)
	if at.Kind != recording.GraphEntity || at.After == uuid.Nil {
		t.Fatalf("it is noted to be at %+v", at)
	}
	before := w.query("MATCH (n:Entity) RETURN count(n) AS n", nil)[0]["n"].(int64)

	var last Progress
	options.Progress = func(p Progress) { last = p }
	refused, _, err := Rebuild(t.Context(), options)
	w.must(err)
	if len(refused) > 0 || !last.Resumed || last.Written != last.Total {
		t.Errorf("refused %v, %+v", refused, last)
	}
	entities, err := w.GraphCounts(t.Context())
	w.must(err)
	if all := entities[recording.GraphEntity] + entities[recording.GraphRecording]; last.Written >= all || last.Written < all-before {
		t.Errorf("it wrote %d of %d rows, with %d written before", last.Written, all, before)
	}
	if at, err := w.GraphRebuild(t.Context()); err != nil || !at.StartedAt.IsZero() {
		t.Errorf("afterwards it is at %+v, %v", at, err)
	}
	w.equal() // though nothing was drained

	w.drain() // which changes nothing
	w.equal()
}
