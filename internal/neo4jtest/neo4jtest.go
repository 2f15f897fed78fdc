// Package neo4jtest gives tests real Neo4j servers.
//
// One server is shared by all tests: that of `go run ./internal/testenv`, or without
// it one that the test binary starts at the first need. It has one database, so tests
// make owners and ids of their own, and look only at those. Another server is for
// tests that need a whole graph, or do something to the server: it is one of the test
// binary's own, and one test has it at a time.
//
// A package that uses neo4jtest calls [With] in its TestMain.
package neo4jtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"reprise/internal/neo4jserver"
	"reprise/internal/ondemand"
)

const (
	envURL = "REPRISE_TEST_NEO4J_URL"

	setupTime = 4 * time.Minute
)

// servers are those of this test binary.
var servers struct {
	sync.Mutex
	tmp    string // "" if the package doesn't call With
	shared lazy[neo4jserver.Where]
	own    []*neo4jserver.Server // to end with the tests

	// alone is the server that one test has at a time: its channel has it while nobody
	// does, or nil if it was not started yet.
	alone chan *neo4jserver.Server
}

// lazy is something that is made at the first need, once.
type lazy[T any] struct {
	tried bool
	value T
	err   error
}

// Tests are a package's tests: a *testing.M, or what is wrapped around one.
type Tests interface{ Run() int }

// With runs the package's tests and ends the servers that they started:
//
//	func TestMain(m *testing.M) { pgtest.Main(neo4jtest.With(m)) }
func With(m Tests) Tests { return withServers{m} }

type withServers struct{ tests Tests }

func (w withServers) Run() (code int) {
	tmp, err := os.MkdirTemp("", "reprise-neo4jtest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "neo4jtest:", err)
		return 1
	}
	defer func() {
		if err := os.RemoveAll(tmp); err != nil {
			fmt.Fprintln(os.Stderr, "neo4jtest:", err)
			code = max(code, 1)
		}
	}()
	servers.Lock()
	servers.tmp = tmp
	servers.alone = make(chan *neo4jserver.Server, 1)
	servers.alone <- nil
	servers.Unlock()
	code = w.tests.Run()
	servers.Lock()
	defer servers.Unlock()
	for _, s := range servers.own {
		s.Kill()
	}
	return code
}

// Shared returns the server that all tests share.
func Shared(t testing.TB) neo4jserver.Where {
	t.Helper()
	servers.Lock()
	defer servers.Unlock()
	s := &servers.shared
	if !s.tried {
		s.tried = true
		s.value, s.err = findShared()
	}
	if s.err != nil {
		t.Fatalf("neo4jtest: %v", s.err)
	}
	return s.value
}

// findShared is Shared for the holder of the lock.
func findShared() (where neo4jserver.Where, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), setupTime)
	defer cancel()
	if url := os.Getenv(envURL); url != "" {
		return ondemand.Ask[neo4jserver.Where](ctx, url)
	}
	server, err := start(ctx, "shared")
	if err != nil {
		return where, err
	}
	return server.Where(), nil
}

// start starts a server of this test binary, for the holder of the lock.
func start(ctx context.Context, name string) (*neo4jserver.Server, error) {
	if servers.tmp == "" {
		return nil, errors.New("call neo4jtest.With(m) in this package's TestMain")
	}
	server, err := neo4jserver.Start(ctx, neo4jserver.Options{Dir: filepath.Join(servers.tmp, name)})
	if err == nil {
		servers.own = append(servers.own, server)
	}
	return server, err
}

// Alone returns a server that only this test has until it ends. The test may stop,
// freeze and kill it. Nothing is in it but the schema that earlier tests have migrated
// it to, because making that takes seconds; a test that adds to it takes that away.
func Alone(t testing.TB) *neo4jserver.Server {
	t.Helper()
	if servers.alone == nil {
		t.Fatal("neo4jtest: call neo4jtest.With(m) in this package's TestMain")
	}
	server := <-servers.alone
	t.Cleanup(func() { servers.alone <- server })
	ctx, cancel := context.WithTimeout(context.Background(), setupTime)
	defer cancel()
	var err error
	if server == nil {
		servers.Lock()
		server, err = start(ctx, "alone")
		servers.Unlock()
	} else {
		server.Thaw()
		select {
		case <-server.Done():
			err = server.Restart(ctx)
		default:
		}
	}
	if err != nil {
		t.Fatalf("neo4jtest: %v", err)
	}
	Query(t, server.Where(), "MATCH (n) WHERE NOT n:Migration AND NOT n:MigrationLock CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 10000 ROWS", nil)
	return server
}

// Empty removes everything from a server that the test has alone, the schema too.
func Empty(t testing.TB, at neo4jserver.Where) {
	t.Helper()
	for _, row := range Query(t, at, "SHOW CONSTRAINTS YIELD name", nil) {
		Query(t, at, fmt.Sprintf("DROP CONSTRAINT `%s`", row["name"]), nil)
	}
	for _, row := range Query(t, at, "SHOW INDEXES YIELD name, type WHERE type <> 'LOOKUP'", nil) {
		Query(t, at, fmt.Sprintf("DROP INDEX `%s`", row["name"]), nil)
	}
	Query(t, at, "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 10000 ROWS", nil)
}

// Query runs a statement and returns its rows.
func Query(t testing.TB, at neo4jserver.Where, statement string, params map[string]any) []map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	driver, err := neo4j.NewDriverWithContext(at.URL, neo4j.BasicAuth(at.User, at.Password, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer driver.Close(ctx)
	session := driver.NewSession(ctx, neo4j.SessionConfig{DatabaseName: "neo4j"})
	defer session.Close(ctx)
	result, err := session.Run(ctx, statement, params)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	records, err := result.Collect(ctx)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	var rows []map[string]any
	for _, record := range records {
		rows = append(rows, record.AsMap())
	}
	return rows
}
