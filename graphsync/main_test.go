package graphsync

import (
	"context"
	"log/slog"
	"testing"

	"reprise/internal/neo4jserver"
	"reprise/internal/neo4jtest"
	"reprise/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(neo4jtest.With(m)) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// open opens a graph for until the test ends.
func open(t testing.TB, at neo4jserver.Where) *Graph {
	t.Helper()
	g, err := Open(Options{URL: at.URL, User: at.User, Password: at.Password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close(context.WithoutCancel(t.Context())) })
	return g
}

// shared opens the graph that all tests share, with its schema.
func shared(t testing.TB) *Graph {
	t.Helper()
	g := open(t, neo4jtest.Shared(t))
	if err := g.Migrate(t.Context(), quiet()); err != nil {
		t.Fatal(err)
	}
	return g
}
