package neo4jtest_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"reprise/internal/neo4jtest"
)

func TestMain(m *testing.M) {
	code := neo4jtest.With(m).Run()
	if err := goleak.Find(); code == 0 && err != nil {
		println(err.Error())
		code = 1
	}
	os.Exit(code)
}

// A server that one test has alone is empty, and goes on if it was frozen. (Tests that
// kill one are in graphsync: a start is dear.)
func TestAlone(t *testing.T) {
	t.Parallel()
	t.Run("first", func(t *testing.T) {
		s := neo4jtest.Alone(t)
		neo4jtest.Query(t, s.Where(), "CREATE CONSTRAINT a FOR (n:A) REQUIRE n.id IS UNIQUE", nil)
		neo4jtest.Empty(t, s.Where())
		neo4jtest.Query(t, s.Where(), "CREATE (:A {id: 1})", nil)
		s.Freeze()
	})
	t.Run("second", func(t *testing.T) {
		s := neo4jtest.Alone(t)
		if got := neo4jtest.Query(t, s.Where(), "MATCH (n) RETURN count(n) AS n", nil); got[0]["n"] != int64(0) {
			t.Errorf("the next test finds %v nodes", got)
		}
		if got := neo4jtest.Query(t, s.Where(), "SHOW CONSTRAINTS", nil); len(got) != 0 {
			t.Errorf("the next test finds %v", got)
		}
	})
}

func TestShared(t *testing.T) {
	t.Parallel()
	if got := neo4jtest.Query(t, neo4jtest.Shared(t), "RETURN 1 AS one", nil); got[0]["one"] != int64(1) {
		t.Errorf("got %v", got)
	}
}
