// Package graphsync keeps a graph in Neo4j that shows what is ready in Postgres: users,
// stories, entities and recordings, and how they are connected. It applies what has
// changed, makes the whole anew, and compares both sides.
//
// Postgres is the truth, and the graph can always be made of it alone. Nothing waits for
// the graph: while it is away, changes wait in Postgres.
//
// What it promises:
//   - Each node has the version of the row that it shows, and only a newer one replaces
//     it. What is applied twice, late or in another order gives the same graph.
//   - An edge belongs to one row: that of the recording, for its story and what it
//     mentions, or that of the story, for its user. Whoever writes the row writes them.
//   - What is deleted stays as a tombstone, a node with nothing but its id and version,
//     until nothing older can be on its way any more.
//   - Statements are constant; what users wrote is only ever a parameter.
package graphsync

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"
	neo4jconfig "github.com/neo4j/neo4j-go-driver/v5/neo4j/config"

	"reprise/recording"
)

const (
	connectTime = 3 * time.Second
	// retryTime is how long the driver tries a transaction again that a deadlock, or
	// something else that passes, has ended.
	retryTime = 5 * time.Second
)

// Options of a Graph.
type Options struct {
	URL      string // bolt:// or neo4j://, perhaps with +s
	User     string
	Password string
}

// Graph is a connection to Neo4j. It is safe for concurrent use.
type Graph struct {
	driver neo4j.DriverWithContext
}

// Open makes a Graph. It connects to nothing yet: the server may be away.
func Open(o Options) (*Graph, error) {
	driver, err := neo4j.NewDriverWithContext(o.URL, neo4j.BasicAuth(o.User, o.Password, ""), func(c *neo4jconfig.Config) {
		c.SocketConnectTimeout = connectTime
		c.ConnectionAcquisitionTimeout = connectTime
		c.MaxTransactionRetryTime = retryTime
		c.TelemetryDisabled = true
		c.UserAgent = "reprise"
	})
	if err != nil {
		return nil, errors.New("REPRISE_NEO4J_URL can't be used") // the error may quote it
	}
	return &Graph{driver: driver}, nil
}

// Close ends the connections.
func (g *Graph) Close(ctx context.Context) error { return g.driver.Close(ctx) }

// Ping reports whether the server answers.
func (g *Graph) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	return classify(g.driver.VerifyConnectivity(ctx))
}

// run runs one statement in a transaction that the server makes for it, as changes of
// the schema and CALL … IN TRANSACTIONS need. Nothing is tried twice.
func (g *Graph) run(ctx context.Context, statement string, params map[string]any) ([]*neo4j.Record, error) {
	session := g.driver.NewSession(ctx, neo4j.SessionConfig{})
	defer session.Close(ctx)
	result, err := session.Run(ctx, statement, params)
	if err != nil {
		return nil, err
	}
	return result.Collect(ctx)
}

// classify gives an error of the driver the code that a client may act on.
func classify(err error) error {
	var coded *recording.Error
	if err == nil || errors.As(err, &coded) || errors.Is(err, context.Canceled) {
		return err
	}
	if refusesCredentials(err) {
		return recording.Wrap(recording.CodeUnavailable, fmt.Errorf("%w: %w", ErrCredentials, err), "The graph can't be used right now.")
	}
	return recording.Wrap(recording.CodeUnavailable, err, "The graph can't be reached right now; try again.")
}

// ErrCredentials says that the server is there, and lets nobody in with what is configured.
var ErrCredentials = errors.New("Neo4j refuses REPRISE_NEO4J_USER or its password")

func refusesCredentials(err error) bool {
	var refused *neo4j.Neo4jError
	return errors.As(err, &refused) && strings.HasPrefix(refused.Code, "Neo.ClientError.Security.")
}

// refusal is the reason why the server doesn't take a batch that it has understood: one
// of its rows can't be written. "" says that the reason is none of the rows'. It is the
// server's name for it, because its message quotes values.
func refusal(err error) string {
	var limit *neo4j.TransactionExecutionLimit
	if errors.As(err, &limit) && len(limit.Errors) > 0 {
		err = limit.Errors[len(limit.Errors)-1]
	}
	var refused *neo4j.Neo4jError
	if !errors.As(err, &refused) {
		return ""
	}
	if refused.Code == "Neo.ClientError.Statement.SyntaxError" { // of our own statements
		return ""
	}
	for _, prefix := range []string{
		"Neo.ClientError.Schema.", "Neo.ClientError.Statement.", "Neo.DatabaseError.Schema.", "Neo.DatabaseError.Statement.",
		"Neo.TransientError.General.MemoryPoolOutOfMemoryError", "Neo.TransientError.General.TransactionMemoryLimit",
	} {
		if strings.HasPrefix(refused.Code, prefix) {
			return refused.Code
		}
	}
	return ""
}

// errNotMigrated says that a graph lacks migrations of this program.
var errNotMigrated = fmt.Errorf("the graph is not up to date: run \"reprise migrate\" first")
