package bench_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"reprise/catalog"
	"reprise/graphsync"
	"reprise/internal/neo4jserver"
	"reprise/internal/pgtest"
	"reprise/recording"
)

// What is connected: one owner has half of the recordings. With -short there is a
// hundredth of it, to see that everything runs.
const (
	graphRecordings = 100_000
	graphOwners     = 20
	graphMentions   = 10     // of a recording
	graphOutage     = 50_000 // rows that wait when the graph is back
	graphCurve      = 10_000 // rows for each size of batches
)

func graphScale(n int) int {
	if testing.Short() {
		return n / 100
	}
	return n
}

// graphWorld is Postgres and Neo4j, with an owner who has much and one who has less.
type graphWorld struct {
	pool      *pgxpool.Pool
	catalog   *catalog.Catalog
	graph     *graphsync.Graph
	questions *graphsync.Questions
	much, few uuid.UUID
}

// BenchmarkGraph measures the graph of 100,000 recordings that mention things a million
// times: a rebuild, how the rate depends on the size of batches, what happens after an
// outage, and every question.
func BenchmarkGraph(b *testing.B) {
	w := newGraphWorld(b)
	b.Run("rebuild", w.rebuild)
	for _, rows := range []int{100, 500, 1000, 5000} {
		b.Run(fmt.Sprintf("batches of %d", rows), func(b *testing.B) { w.drain(b, graphScale(graphCurve), rows) })
	}
	b.Run("after an outage", func(b *testing.B) { w.drain(b, graphScale(graphOutage), 500) })
	for name, owner := range map[string]uuid.UUID{"half of all": w.much, "a share": w.few} {
		w.ask(b, name, owner)
	}
}

func newGraphWorld(b *testing.B) *graphWorld {
	pool := pgtest.New(b)
	c, err := catalog.New(catalog.Options{Pool: pool})
	must(b, err)
	server, err := neo4jserver.Start(b.Context(), neo4jserver.Options{Dir: b.TempDir(), Fast: true})
	must(b, err)
	b.Cleanup(server.Kill)
	at := server.Where()
	graph, err := graphsync.Open(graphsync.Options{URL: at.URL, User: at.User, Password: at.Password})
	must(b, err)
	b.Cleanup(func() { _ = graph.Close(context.WithoutCancel(b.Context())) })
	must(b, graph.Migrate(b.Context(), slog.New(slog.DiscardHandler)))
	w := &graphWorld{pool: pool, catalog: c, graph: graph, questions: graphsync.NewQuestions(graph, 3*time.Second)}
	owners := make([]uuid.UUID, graphOwners)
	for i := range owners {
		owners[i] = recording.NewID()
	}
	w.much, w.few = owners[0], owners[1]
	w.fill(b, owners)
	return w
}

// fill writes the rows that analyses make, but all at once. An owner has an entity for
// each five recordings, and some are mentioned far more often than others: the first in
// about a third of them.
func (w *graphWorld) fill(b *testing.B, owners []uuid.UUID) {
	b.Helper()
	tx, err := w.pool.Begin(b.Context())
	must(b, err)
	defer tx.Rollback(context.WithoutCancel(b.Context()))
	exec := func(sql string, args ...any) {
		b.Helper()
		_, err := tx.Exec(b.Context(), sql, args...)
		must(b, err)
	}
	recordings := graphScale(graphRecordings)
	exec(`SET LOCAL session_replication_role = replica`) // no checks of foreign keys: every row is made of those it names
	exec(`SELECT setseed(0.5)`)
	exec(`INSERT INTO users (id, subject, name) SELECT id, 'dev:' || n, 'Teller ' || n FROM unnest($1::uuid[]) WITH ORDINALITY AS o(id, n)`, owners)
	// The even numbers are those of the first owner. number counts an owner's own.
	exec(`CREATE TEMP TABLE laid ON COMMIT DROP AS
		SELECT n, gen_random_uuid() AS id, CASE n % 2 WHEN 0 THEN 1 ELSE 2 + n / 2 % $1 END AS owner, CASE n % 2 WHEN 0 THEN n / 2 ELSE n / 2 / $1 END AS number
		FROM generate_series(0, $2 - 1) n`, graphOwners-1, recordings)
	exec(`CREATE TEMP TABLE things ON COMMIT DROP AS
		SELECT owner, n, gen_random_uuid() AS id, size, ('{person,place,organization,date,topic}'::text[])[1 + n % 5] AS kind
		FROM (SELECT owner, greatest(20, count(*)::int / 5) AS size FROM laid GROUP BY owner) o, generate_series(0, size - 1) n`)
	exec(`CREATE INDEX ON things (owner, n)`)
	exec(`ANALYZE laid`)
	exec(`ANALYZE things`)
	exec(`INSERT INTO stories (owner_id, id, key, title, created_at, updated_at)
		SELECT ($1::uuid[])[owner], md5('story' || owner || '-' || number / 50)::uuid, gen_random_uuid(), 'Story ' || number / 50, now(), now()
		FROM laid GROUP BY owner, number / 50`, owners)
	exec(`INSERT INTO recordings (id, owner_id, state, title, object_key, story_id, recorded_at, media)
		SELECT id, ($1::uuid[])[owner], 'ready', 'Recording ' || number, '', md5('story' || owner || '-' || number / 50)::uuid,
			timestamptz '1950-01-01Z' + number * interval '6 hours', '{"durationMs":63000}' FROM laid`, owners)
	exec(`INSERT INTO entities (id, owner_id, kind, key, name, created_at)
		SELECT id, ($1::uuid[])[owner], kind, kind || ' ' || n, kind || ' ' || n, now() FROM things`, owners)
	exec(`INSERT INTO mentions (recording_id, entity_id, count, at_ms, weight)
		SELECT DISTINCT ON (r.id, t.id) r.id, t.id, r.count, ARRAY(SELECT 1000 * i FROM generate_series(1, r.count) i), CASE t.kind WHEN 'topic' THEN 0.5 END
		FROM (SELECT laid.id, laid.owner, size, floor(size * random() ^ 3)::int AS pick, 1 + floor(3 * random())::int AS count
			FROM laid JOIN (SELECT DISTINCT owner, size FROM things) o USING (owner), generate_series(1, $1::int)) r
		JOIN things t ON t.owner = r.owner AND t.n = r.pick`, graphMentions+1) // some are picked twice
	for kind, what := range map[recording.GraphKind]string{
		"user": "SELECT id, id AS owner_id FROM users", "story": "SELECT key, owner_id FROM stories",
		"entity": "SELECT id, owner_id FROM entities", "recording": "SELECT id, owner_id FROM recordings",
	} {
		exec(`INSERT INTO graph_versions (kind, id, owner_id, version) SELECT $1, n.*, nextval('graph_version') FROM (`+what+`) n`, string(kind))
	}
	must(b, tx.Commit(b.Context()))
	_, err = w.pool.Exec(b.Context(), `ANALYZE`)
	must(b, err)
	var sizes string
	must(b, w.pool.QueryRow(b.Context(), `SELECT format('%s recordings, %s mentions, %s entities', (SELECT count(*) FROM recordings), (SELECT count(*) FROM mentions), (SELECT count(*) FROM entities))`).Scan(&sizes))
	fmt.Println("there are", sizes)
}

func (w *graphWorld) rebuild(b *testing.B) {
	for b.Loop() {
		var most uint64
		began := time.Now()
		var wrote time.Duration
		var rows int64
		refused, sum, err := graphsync.Rebuild(b.Context(), graphsync.RebuildOptions{
			Graph: w.graph, Source: w.catalog, Restart: true, Report: graphsync.NewTable(io.Discard),
			Progress: func(p graphsync.Progress) {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse)
				wrote, rows = p.Took, p.Written
			},
		})
		must(b, err)
		if len(refused) > 0 || sum.Differences > sum.Repaired {
			b.Fatalf("%d rows are refused, %+v", len(refused), sum)
		}
		b.ReportMetric(float64(rows)/wrote.Seconds(), "rows/s")
		b.ReportMetric(wrote.Seconds(), "s-writing")
		b.ReportMetric((time.Since(began) - wrote).Seconds(), "s-comparing")
		b.ReportMetric(float64(most)/(1<<20), "MB-heap")
		b.ReportMetric(0, "ns/op")
	}
}

// drain has recordings change, and measures how long it takes until the graph shows it.
func (w *graphWorld) drain(b *testing.B, rows, batch int) {
	for b.Loop() {
		_, err := w.pool.Exec(b.Context(), `
			WITH touched AS (
				UPDATE graph_versions SET version = nextval('graph_version')
				WHERE kind = 'recording' AND id IN (SELECT id FROM graph_versions WHERE kind = 'recording' ORDER BY random() LIMIT $1) RETURNING kind, id, version
			)
			INSERT INTO graph_outbox (kind, id, version, at, not_before) SELECT kind, id, version, now(), now() FROM touched`, rows)
		must(b, err)
		began := time.Now()
		applied := 0
		for {
			n, err := w.catalog.DrainGraph(b.Context(), batch, func(ctx context.Context, rows []recording.GraphRow) ([]recording.GraphRefusal, error) {
				return w.graph.Apply(ctx, time.Now(), rows)
			})
			must(b, err)
			if applied += n; n < batch {
				break
			}
		}
		took := time.Since(began)
		if applied != rows {
			b.Errorf("%d rows were applied of %d", applied, rows)
		}
		b.ReportMetric(float64(applied)/took.Seconds(), "rows/s")
		b.ReportMetric(took.Seconds(), "s")
		b.ReportMetric(0, "ns/op")
	}
}

// ask measures each question of an owner. Recordings and entities are asked for at
// random: most entities are in few recordings; "the commonest" is in the most.
func (w *graphWorld) ask(b *testing.B, name string, owner uuid.UUID) {
	b.Helper()
	ids := func(sql string) (list []uuid.UUID) {
		rows, err := w.pool.Query(b.Context(), sql, owner)
		must(b, err)
		defer rows.Close()
		for rows.Next() {
			var id uuid.UUID
			must(b, rows.Scan(&id))
			list = append(list, id)
		}
		must(b, rows.Err())
		return list
	}
	recordings := ids(`SELECT id FROM recordings WHERE owner_id = $1 ORDER BY random() LIMIT 300`)
	entities := ids(`SELECT id FROM entities e WHERE owner_id = $1 AND EXISTS (SELECT FROM mentions WHERE entity_id = e.id) ORDER BY random() LIMIT 300`)
	common := ids(`SELECT entity_id FROM mentions JOIN entities e ON e.id = entity_id WHERE owner_id = $1 GROUP BY 1 ORDER BY count(*) DESC LIMIT 1`)
	stories := ids(`SELECT id FROM stories WHERE owner_id = $1 ORDER BY random() LIMIT 300`)
	at := func(list []uuid.UUID, i int) uuid.UUID { return list[i%len(list)] }
	ctx, q := b.Context(), w.questions
	for _, question := range []struct {
		name string
		ask  func(i int) error
	}{
		{"related", func(i int) error { _, err := q.Related(ctx, owner, at(recordings, i), 20, ""); return err }},
		{"entities", func(int) error { _, err := q.Entities(ctx, owner, recording.EntityQuery{Limit: 50}); return err }},
		{"entities by prefix", func(i int) error {
			_, err := q.Entities(ctx, owner, recording.EntityQuery{Kind: "place", Prefix: fmt.Sprint("place ", i%10), Limit: 50})
			return err
		}},
		{"entity", func(i int) error { _, err := q.Entity(ctx, owner, at(entities, i), 50); return err }},
		{"the commonest entity", func(i int) error { _, err := q.Entity(ctx, owner, common[0], 50); return err }},
		{"path", func(i int) error {
			_, err := q.Path(ctx, owner, at(recordings, i), at(entities, i+rand.IntN(300)))
			return err
		}},
		{"neighborhood, depth 1", func(i int) error { _, err := q.Neighborhood(ctx, owner, at(entities, i), 1, 200); return err }},
		{"neighborhood, depth 2", func(i int) error { _, err := q.Neighborhood(ctx, owner, at(recordings, i), 2, 200); return err }},
		{"timeline", func(i int) error {
			from := time.Date(1950, 1, 1+10*i, 0, 0, 0, 0, time.UTC)
			_, err := q.Timeline(ctx, owner, recording.Timeline{From: &from, Limit: 50})
			return err
		}},
		{"timeline of an entity", func(i int) error {
			_, err := q.Timeline(ctx, owner, recording.Timeline{EntityID: at(entities, i), Limit: 50})
			return err
		}},
		{"timeline of the commonest", func(int) error {
			_, err := q.Timeline(ctx, owner, recording.Timeline{EntityID: common[0], Limit: 50})
			return err
		}},
		{"timeline of a story", func(i int) error {
			_, err := q.Timeline(ctx, owner, recording.Timeline{StoryID: at(stories, i), Limit: 50})
			return err
		}},
	} {
		b.Run(question.name+", "+name, func(b *testing.B) {
			for b.Loop() {
				measureQuestion(b, question.ask)
			}
		})
	}
}

// measureQuestion counts those that took too long instead of failing.
func measureQuestion(b *testing.B, ask func(i int) error) {
	const rounds, warm = 300, 50
	var took []time.Duration
	timeouts := 0
	for i := range warm + rounds {
		began := time.Now()
		err := ask(i)
		if i < warm {
			continue
		}
		took = append(took, time.Since(began))
		if recording.CodeOf(err) == recording.CodeGraphTimeout {
			timeouts++
			continue
		}
		must(b, err)
	}
	slices.Sort(took)
	b.ReportMetric(ms(took[rounds/2]), "p50-ms")
	b.ReportMetric(ms(took[rounds*99/100]), "p99-ms")
	b.ReportMetric(float64(timeouts), "timeouts")
	b.ReportMetric(0, "ns/op")
}
