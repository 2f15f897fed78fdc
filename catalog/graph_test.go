package catalog_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"reprise/catalog"
	"reprise/migrations"
	"reprise/recording"
)

// TestDrainGraph: rows come coalesced and in order; what was not acknowledged comes again.
func TestDrainGraph(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	g := newGraph()
	id := r.ready(r.alice, recording.NewID())
	for _, title := range []string{"One", "Two", "Three"} {
		r.retitle(id, title)
	}
	r.analyse(id, about("Anna"))
	waiting := r.count(`SELECT count(*) FROM graph_outbox`)

	// Applied, and then the process dies: the same comes again.
	dying, die := context.WithCancel(ctx)
	n, err := r.DrainGraph(dying, 100, func(ctx context.Context, rows []recording.GraphRow) ([]recording.GraphRefusal, error) {
		defer die()
		return g.apply(ctx, rows)
	})
	if err == nil || n != 0 || len(g.batches) != 1 {
		t.Errorf("drained %d, %v", n, err)
	}
	for r.count(`SELECT count(*) FROM (SELECT FROM graph_outbox FOR UPDATE SKIP LOCKED) free`) < waiting {
		time.Sleep(5 * time.Millisecond) // until the database has seen that it is dead
	}
	// The graph can't be reached: its own error, and nothing counts.
	unreachable := errors.New("unreachable")
	n, err = r.DrainGraph(ctx, 100, func(context.Context, []recording.GraphRow) ([]recording.GraphRefusal, error) { return nil, unreachable })
	if err != unreachable || n != 0 || r.count(`SELECT count(*) FROM graph_outbox WHERE attempts = 0`) != waiting {
		t.Errorf("drained %d, %v", n, err)
	}
	// Touched while it is applied: it comes again.
	n, err = r.DrainGraph(ctx, 100, func(ctx context.Context, rows []recording.GraphRow) ([]recording.GraphRefusal, error) {
		r.retitle(id, "Four")
		return g.apply(ctx, rows)
	})
	if err != nil || n != waiting {
		t.Errorf("drained %d of %d, %v", n, waiting, err)
	}
	if diff := cmp.Diff(g.batches[0], g.batches[1]); diff != "" {
		t.Errorf("the second time: %s", diff)
	}
	var kinds []recording.GraphKind
	for _, row := range g.batches[1] {
		kinds = append(kinds, row.Kind)
	}
	if diff := cmp.Diff(recording.GraphKinds(), kinds); diff != "" { // one of each
		t.Error(diff)
	}
	r.equal(g)
	if row := g.rows[recording.GraphRef{Kind: recording.GraphRecording, ID: id}]; row.Name != "Four" {
		t.Errorf("in the graph: %+v", row)
	}
	if n, err := r.DrainGraph(ctx, 100, nil); n != 0 || err != nil { // nothing is applied
		t.Errorf("drained %d, %v", n, err)
	}
}

func (r *rig) retitle(id uuid.UUID, title string) {
	r.t.Helper()
	_, err := r.PatchRecording(r.t.Context(), r.alice, id, recording.RecordingPatch{Title: &title})
	must(r.t, err)
}

// TestDrainersShare: while one applies its rows another one gets others.
func TestDrainersShare(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	g := newGraph()
	for range 9 { // and the user
		r.ready(r.alice, uuid.Nil)
	}
	second, third := -1, -1
	first, err := r.DrainGraph(ctx, 6, func(ctx context.Context, rows []recording.GraphRow) ([]recording.GraphRefusal, error) {
		var err, also error
		second, err = r.DrainGraph(ctx, 6, func(ctx context.Context, rows []recording.GraphRow) ([]recording.GraphRefusal, error) {
			third, also = r.DrainGraph(ctx, 6, g.apply)
			return g.apply(ctx, rows)
		})
		must(t, errors.Join(err, also))
		return g.apply(ctx, rows)
	})
	if err != nil || first != 6 || second != 4 || third != 0 || len(g.rows) != 10 {
		t.Errorf("%d, %d, %d rows; %d in the graph; %v", first, second, third, len(g.rows), err)
	}
	r.equal(g)
}

// TestSlowGraph: the graph may take longer than a client of the database may be silent.
func TestSlowGraph(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	config := r.pool.Config().Copy()
	config.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "50ms"
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(pool.Close)
	c, err := catalog.New(catalog.Options{Pool: pool})
	must(t, err)
	n, err := c.DrainGraph(t.Context(), 10, func(context.Context, []recording.GraphRow) ([]recording.GraphRefusal, error) {
		time.Sleep(200 * time.Millisecond)
		return nil, nil
	})
	if n != 1 || err != nil {
		t.Errorf("drained %d, %v", n, err)
	}
}

func TestGraphRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	g := newGraph()
	id, other := r.ready(r.alice, uuid.Nil), r.ready(r.alice, uuid.Nil)
	bad := recording.GraphRef{Kind: recording.GraphRecording, ID: id}
	refuse := func(ctx context.Context, rows []recording.GraphRow) ([]recording.GraphRefusal, error) {
		var good []recording.GraphRow
		var refused []recording.GraphRefusal
		for _, row := range rows {
			if row.GraphRef == bad {
				refused = append(refused, recording.GraphRefusal{Ref: bad, Version: row.Version, Reason: "too large"})
			} else {
				good = append(good, row)
			}
		}
		_, _ = g.apply(ctx, good)
		return refused, nil
	}
	drain := func() int {
		t.Helper()
		n, err := r.DrainGraph(ctx, 100, refuse)
		must(t, err)
		return n
	}
	r.retitle(id, "Again") // two rows of it: they are one to refuse
	if n := drain(); n != 4 {
		t.Errorf("drained %d", n)
	}
	if _, ok := g.rows[recording.GraphRef{Kind: recording.GraphRecording, ID: other}]; !ok {
		t.Error("what was refused stands in the way of others")
	}
	began := r.clock
	for _, pause := range []time.Duration{10, 40, 160, 640} {
		r.clock = r.clock.Add(pause*time.Second - time.Millisecond)
		if n := drain(); n != 0 {
			t.Errorf("it comes again before %v s", pause)
		}
		b, err := r.Catalog.GraphBacklog(ctx)
		must(t, err)
		if diff := cmp.Diff(recording.GraphBacklog{Rows: 1, Oldest: began}, b); diff != "" {
			t.Error(diff)
		}
		if mark, err := r.GraphWatermark(ctx); err != nil || !mark.Equal(began) {
			t.Errorf("watermark %v, %v", mark, err)
		}
		r.clock = r.clock.Add(time.Millisecond)
		if n := drain(); n != 1 {
			t.Errorf("%d come again after %v s", n, pause)
		}
	}
	dead := func(n int64) {
		t.Helper()
		b, err := r.Catalog.GraphBacklog(ctx)
		must(t, err)
		if b.Rows != 0 || b.Dead != n || !b.Oldest.IsZero() {
			t.Errorf("%+v, want %d dead", b, n)
		}
	}
	dead(1)
	if mark, err := r.GraphWatermark(ctx); err != nil || !mark.Equal(r.clock) {
		t.Errorf("watermark %v, %v", mark, err)
	}
	if got := r.texts(`SELECT kind || ' ' || reason || ' ' || attempts FROM graph_dead_letters`); !cmp.Equal(got, []string{"recording too large 5"}) {
		t.Errorf("dead letters %q", got)
	}
	// Another chain of attempts.
	if n, err := r.RetryGraph(ctx); n != 1 || err != nil {
		t.Errorf("retried %d, %v", n, err)
	}
	for range 5 {
		if n := drain(); n != 1 {
			t.Errorf("drained %d", n)
		}
		r.clock = r.clock.Add(time.Hour)
	}
	dead(1)
	// What is taken after the next change is dead no more.
	r.retitle(id, "Small")
	r.equal(g)
	dead(0)
	if n, err := r.RetryGraph(ctx); n != 0 || err != nil {
		t.Errorf("retried %d, %v", n, err)
	}
}

// TestGraphRowsOf: rows of what was never touched, and of what Postgres has never known; and
// where a rebuild is.
func TestGraphRowsOf(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	g := newGraph()
	bob, err := r.EnsureUser(ctx, "dev:bob")
	must(t, err)
	mine, theirs := r.ready(r.alice, uuid.Nil), r.ready(bob, uuid.Nil)
	r.equal(g)
	_, err = r.pool.Exec(ctx, `DELETE FROM graph_versions WHERE id = $1`, theirs) // as a process of an older version would have left it
	must(t, err)
	unknown := recording.NewID()
	refs := []recording.GraphRef{
		{Kind: recording.GraphRecording, ID: mine}, {Kind: recording.GraphRecording, ID: theirs}, {Kind: recording.GraphEntity, ID: unknown},
		{Kind: recording.GraphUser, ID: bob}, {Kind: recording.GraphRecording, ID: mine},
	}
	rows, err := r.GraphRowsOf(ctx, refs)
	must(t, err)
	if len(rows) != 4 || rows[0].ID != bob || !rows[1].Deleted || rows[1].Version != 0 || rows[1].ID != unknown || rows[3].OwnerID != bob || rows[3].Version != 0 {
		t.Errorf("rows %+v", rows)
	}
	if _, err := r.GraphRows(ctx, "no kind", uuid.Nil, 10); err == nil {
		t.Error("a kind that there isn't")
	}

	for _, want := range []recording.GraphRebuild{
		{}, {StartedAt: r.clock, Kind: recording.GraphUser}, {StartedAt: r.clock, Kind: recording.GraphRecording, After: mine}, {},
	} {
		must(t, r.SaveGraphRebuild(ctx, want))
		rebuild, err := r.GraphRebuild(ctx)
		must(t, err)
		if diff := cmp.Diff(want, rebuild); diff != "" {
			t.Error(diff)
		}
	}
}

// TestGraphOfUsers: their names follow what their tokens say.
func TestGraphOfUsers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	g := newGraph()
	p := recording.Profile{Subject: "dev:bob", Name: "Bob", IssuedAt: r.clock}
	bob, err := r.SeeUser(ctx, p)
	must(t, err)
	r.equal(g)
	p.Email, p.IssuedAt = "bob@example.com", r.clock.Add(time.Minute)
	_, err = r.SeeUser(ctx, p)
	must(t, err)
	if n := r.count(`SELECT count(*) FROM graph_outbox`); n != 0 {
		t.Errorf("%d are touched for an address", n)
	}
	p.Name, p.IssuedAt = "Robert", r.clock.Add(2*time.Minute)
	_, err = r.SeeUser(ctx, p)
	must(t, err)
	r.equal(g)
	if row := g.rows[recording.GraphRef{Kind: recording.GraphUser, ID: bob.ID}]; row.Name != "Robert" {
		t.Errorf("in the graph: %+v", row)
	}
}

// TestGraphOfBefore: what was there before the migration is shown once it has run.
func TestGraphOfBefore(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	bob, err := r.EnsureUser(ctx, "dev:bob")
	must(t, err)
	story := recording.NewID()
	var ids []uuid.UUID
	for _, owner := range []uuid.UUID{r.alice, bob} {
		for range 2 {
			id := r.ready(owner, story)
			r.analyse(id, about("Anna", "Bert"))
			ids = append(ids, id)
		}
		r.ready(owner, uuid.Nil) // without an analysis
		r.receive(owner)
	}
	must(t, r.DeleteRecording(ctx, r.alice, ids[0]))
	before := newGraph()
	r.equal(before)

	text, err := migrations.Postgres.ReadFile("postgres/00009_graph.sql")
	must(t, err)
	_, down, _ := strings.Cut(string(text), "-- +goose Down")
	_, err = r.pool.Exec(ctx, down+`; DELETE FROM goose_db_version WHERE version_id = 9`)
	must(t, err)
	r.pool.Reset()
	must(t, catalog.Migrate(ctx, r.pool, slog.New(slog.DiscardHandler)))
	r.pool.Reset()
	r.clock = time.Now() // that of the migration
	after := newGraph()
	r.equal(after)
	// Keys, ids and versions are new; the rest is the same.
	count := func(g *graph) map[recording.GraphKind]int {
		n := map[recording.GraphKind]int{}
		for _, row := range g.shown() {
			n[row.Kind]++
		}
		return n
	}
	if diff := cmp.Diff(count(before), count(after)); diff != "" {
		t.Error(diff)
	}
	for _, id := range ids[1:] {
		if diff := cmp.Diff(before.mentioned(id), after.mentioned(id)); diff != "" {
			t.Error(diff)
		}
		was, is := before.facts(id), after.facts(id)
		if (was.Story == uuid.Nil) != (is.Story == uuid.Nil) || !was.At.Equal(is.At) || was.DurationMs != is.DurationMs {
			t.Errorf("%+v, was %+v", is, was)
		}
	}
	for _, key := range r.texts(`SELECT key::text FROM stories`) {
		if id := uuid.MustParse(key); id.Version() != 7 || id.Variant() != uuid.RFC4122 {
			t.Errorf("key %s", key)
		}
	}
	if n := r.count(`SELECT count(*) FROM graph_backlog`); n != 0 {
		t.Errorf("%d in the backlog", n)
	}
}

// What a database in another time zone says of a time is the same time, also before there
// was standard time, when offsets had seconds.
func TestGraphRowsOfAnyTimeZone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.ready(r.alice, uuid.Nil)
	at := time.Date(1880, 5, 1, 12, 0, 0, 123456000, time.UTC)
	for _, sql := range []string{
		`UPDATE recordings SET recorded_at = '1880-05-01T12:00:00.123456Z'`,
		`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), 'Europe/Vienna'); END $$`,
	} {
		if _, err := r.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	r.pool.Reset()
	rows, err := r.GraphRowsOf(t.Context(), []recording.GraphRef{{Kind: recording.GraphRecording, ID: id}})
	if err != nil || len(rows) != 1 || rows[0].Recording == nil || !rows[0].Recording.At.Equal(at) {
		t.Errorf("got %+v, %v", rows, err)
	}
}

// A ready recording whose artifacts are made anew is not shown until it is ready again.
func TestGraphWhileRemade(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := newGraph()
	id := r.ready(r.alice, uuid.Nil)
	r.drain(g)
	if changed, err := r.RemakeArtifacts(t.Context(), id); !changed || err != nil {
		t.Fatalf("remade: %v, %v", changed, err)
	}
	r.drain(g)
	if row := g.rows[recording.GraphRef{Kind: recording.GraphRecording, ID: id}]; !row.Deleted {
		t.Errorf("the graph shows %+v", row)
	}
}
