package graphsync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"reprise/internal/neo4jtest"
	"reprise/migrations"
)

// files are migrations whose statements are given.
func files(statements ...string) fstest.MapFS {
	list := fstest.MapFS{}
	for i, s := range statements {
		list[fmt.Sprintf("%05d_step.cypher", i+1)] = &fstest.MapFile{Data: []byte(s)}
	}
	return list
}

const (
	constrainA = "// A.\nCREATE CONSTRAINT a_id IF NOT EXISTS\n  FOR (n:A) REQUIRE n.id IS UNIQUE;\n"
	fillA      = "UNWIND range(1, 2500) AS i MERGE (:A {id: i});\n"
	// A data migration goes in batches, and only over what is left to do.
	doubleA = "MATCH (n:A) WHERE n.twice IS NULL CALL (n) { SET n.twice = 2 * n.id } IN TRANSACTIONS OF 1000 ROWS;\n"
)

func TestMigrate(t *testing.T) {
	t.Parallel()
	server := neo4jtest.Alone(t)
	t.Cleanup(func() { neo4jtest.Empty(t, server.Where()) })
	g := open(t, server.Where())
	all := []string{constrainA, fillA, doubleA}
	for from := range len(all) + 1 { // each version that a graph may have
		neo4jtest.Empty(t, server.Where())
		for _, upTo := range []int{from, len(all), len(all)} {
			if err := g.migrate(t.Context(), files(all[:upTo]...), quiet()); err != nil {
				t.Fatalf("from %d to %d: %v", from, upTo, err)
			}
		}
		got := neo4jtest.Query(t, server.Where(), "MATCH (n:A) RETURN count(n) AS n, sum(n.twice) AS sum", nil)
		if got[0]["n"] != int64(2500) || got[0]["sum"] != int64(2500*2501) {
			t.Errorf("from version %d: %v", from, got)
		}
	}

	changed := files(all...)
	changed["00002_step.cypher"].Data = []byte(strings.Replace(fillA, "2500", "2501", 1))
	if err := g.migrate(t.Context(), changed, quiet()); err == nil || !strings.Contains(err.Error(), "00002_step.cypher has changed") {
		t.Errorf("a changed file: %v", err)
	}
	if err := g.migrate(t.Context(), files("CREATE CONSTRAINT b IF NOT EXISTS;"), quiet()); err == nil {
		t.Error("a broken file was applied")
	}
}

// Two replicas that start at once: one migrates, the other waits for it.
func TestMigrateTogether(t *testing.T) {
	t.Parallel()
	server := neo4jtest.Alone(t)
	neo4jtest.Empty(t, server.Where())
	t.Cleanup(func() { neo4jtest.Empty(t, server.Where()) })
	var replicas sync.WaitGroup
	errs := make([]error, 3)
	for i := range errs {
		g := open(t, server.Where())
		replicas.Go(func() {
			errs[i] = g.migrate(t.Context(), files(constrainA, "CREATE (:B);\n"+fillA), quiet())
		})
	}
	replicas.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if got := neo4jtest.Query(t, server.Where(), "MATCH (n:B) RETURN count(n) AS n", nil); got[0]["n"] != int64(1) {
		t.Errorf("it was applied %v times", got[0]["n"])
	}

	// What this program brings, and a migrator that ends while another waits.
	first, second := open(t, server.Where()), open(t, server.Where())
	neo4jtest.Empty(t, server.Where())
	if err := first.CheckMigrated(t.Context()); !errors.Is(err, errNotMigrated) {
		t.Errorf("an empty graph: %v", err)
	}
	ctx, die := context.WithCancel(t.Context())
	die()
	if err := first.Migrate(ctx, quiet()); err == nil {
		t.Error("it migrated although it was told to end")
	}
	if err := second.Migrate(t.Context(), quiet()); err != nil {
		t.Fatal(err)
	}
	if err := first.CheckMigrated(t.Context()); err != nil {
		t.Error(err)
	}
}

// Each version that this program ever had comes to the same schema.
func TestMigrateFromEachVersion(t *testing.T) {
	t.Parallel()
	server := neo4jtest.Alone(t)
	neo4jtest.Empty(t, server.Where())
	t.Cleanup(func() { neo4jtest.Empty(t, server.Where()) })
	g := open(t, server.Where())
	dir, err := fs.Sub(migrations.Neo4j, "neo4j")
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(dir, "*.cypher")
	if err != nil || len(names) < 2 {
		t.Fatalf("there are %v, %v", names, err)
	}
	var schema any
	for from := len(names); from >= 0; from-- {
		neo4jtest.Empty(t, server.Where())
		earlier := fstest.MapFS{}
		for _, name := range names[:from] {
			text, err := fs.ReadFile(dir, name)
			if err != nil {
				t.Fatal(err)
			}
			earlier[name] = &fstest.MapFile{Data: text}
		}
		if err := errors.Join(g.migrate(t.Context(), earlier, quiet()), g.Migrate(t.Context(), quiet()), g.CheckMigrated(t.Context())); err != nil {
			t.Fatalf("from version %d: %v", from, err)
		}
		got := neo4jtest.Query(t, server.Where(), "SHOW INDEXES YIELD name, labelsOrTypes, properties, state WHERE labelsOrTypes IS NOT NULL RETURN * ORDER BY name", nil)
		if schema == nil {
			schema = got
		}
		if diff := cmp.Diff(schema, any(got)); diff != "" {
			t.Errorf("from version %d (-from the newest +got):\n%s", from, diff)
		}
	}
}
