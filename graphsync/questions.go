package graphsync

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"reprise/recording"
)

// recordingsOf is how many recordings have the entity n. Neo4j keeps that number, so that
// no edge is followed; only an owner's own lead to it.
const recordingsOf = `COUNT { (n)<-[:MENTIONS|ABOUT]-() }`

// kindOf is the kind of the node n: its label besides those that several kinds have.
const kindOf = `toLower([l IN labels(n) WHERE NOT l IN ['Projected', 'Entity']][0])`

// Questions answers owners' questions about how their recordings are connected. Each
// part of each statement names the owner, so that no way through the graph leads to
// somebody else's. What is somebody else's, what is not there and what is deleted are
// the same recording.ErrNotFound. Its other errors are of code graph_unavailable,
// graph_timeout or, for a cursor, invalid_request.
type Questions struct {
	graph   *Graph
	timeout time.Duration
	refused atomic.Int64 // when the server refused our credentials last, in Unix nanoseconds
}

// credentialsPause is how long nobody asks a server that has refused our credentials: one
// that is asked too often refuses right ones, too.
const credentialsPause = 10 * time.Second

// NewQuestions makes a Questions. A question has timeout to be answered, with the wait for
// a connection and a second try. The graph is best one of its own: then what is written
// does not wait for a connection that a slow question has.
func NewQuestions(graph *Graph, timeout time.Duration) *Questions {
	return &Questions{graph: graph, timeout: timeout}
}

// asker is a transaction that reads for one owner.
type asker struct {
	ctx   context.Context
	tx    neo4j.ExplicitTransaction
	owner uuid.UUID
}

// ask asks what do asks. It is tried twice if the connection was broken: that of a server
// that has been started again since looks whole until then.
func ask[T any](ctx context.Context, q *Questions, owner uuid.UUID, do func(*asker) (T, error)) (answer T, err error) {
	if time.Since(time.Unix(0, q.refused.Load())) < credentialsPause {
		return answer, unavailable(ErrCredentials)
	}
	ctx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	answer, begun, err := askOnce(ctx, q, owner, do)
	if err != nil && neo4j.IsRetryable(err) && ctx.Err() == nil {
		answer, begun, err = askOnce(ctx, q, owner, do)
	}
	switch {
	case err == nil:
	case errors.Is(ctx.Err(), context.Canceled):
		err = ctx.Err()
	default:
		err = q.errorOf(err, begun && ctx.Err() != nil)
	}
	return answer, err
}

// askOnce reports whether the server has begun to answer.
func askOnce[T any](ctx context.Context, q *Questions, owner uuid.UUID, do func(*asker) (T, error)) (answer T, begun bool, err error) {
	session := q.graph.driver.NewSession(ctx, neo4j.SessionConfig{AccessMode: neo4j.AccessModeRead})
	defer session.Close(ctx)
	tx, err := session.BeginTransaction(ctx, neo4j.WithTxTimeout(q.timeout))
	if err != nil {
		return answer, false, err
	}
	defer tx.Close(ctx)
	answer, err = do(&asker{ctx, tx, owner})
	return answer, true, err
}

// errorOf gives an error of the driver the code that a client may act on. One of our own
// statements is nobody's but ours.
func (q *Questions) errorOf(err error, late bool) error {
	var coded *recording.Error
	var refused *neo4j.Neo4jError
	if refusesCredentials(err) {
		q.refused.Store(time.Now().UnixNano())
	}
	switch {
	case errors.As(err, &coded):
		return err
	case errors.As(err, &refused) && strings.Contains(refused.Code, "TransactionTimedOut"), late:
		return recording.Wrap(recording.CodeGraphTimeout, err, "The graph has not found the answer in "+q.timeout.String()+": ask for less, or try again later.")
	case refused != nil && strings.HasPrefix(refused.Code, "Neo.ClientError.Statement."):
		return err
	}
	return unavailable(err)
}

func unavailable(err error) error {
	return recording.Wrap(recording.CodeGraphUnavailable, err, "The graph can't be reached right now; try again.")
}

// read runs a statement and reads its rows by the names of their columns. The statement
// has the owner as $owner.
func read[T any](a *asker, statement string, params map[string]any) ([]T, error) {
	params = maps.Clone(params)
	params["owner"] = a.owner.String()
	result, err := a.tx.Run(a.ctx, statement, params)
	if err != nil {
		return nil, err
	}
	list := []T{}
	for result.Next(a.ctx) {
		var row T
		text, err := json.Marshal(result.Record().AsMap())
		if err == nil {
			err = json.Unmarshal(text, &row)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, result.Err()
}

// after is the number and the id of the last item of a page: the next one begins behind
// it.
type after struct {
	number int64
	id     uuid.UUID
}

// The first byte of a cursor says which question gave it out: another layout gets
// another one.
const (
	relatedCursor  = 'r'
	entityCursor   = 'e'
	timelineCursor = 't'
)

var cursorEncoding = base64.RawURLEncoding.Strict()

func (a after) encode(question byte) string {
	raw := binary.BigEndian.AppendUint64([]byte{question}, uint64(a.number))
	return cursorEncoding.EncodeToString(append(raw, a.id[:]...))
}

// decodeAfter is the inverse of encode; "" is first.
func decodeAfter(question byte, cursor string, first after) (after, error) {
	if cursor == "" {
		return first, nil
	}
	raw, err := cursorEncoding.DecodeString(cursor)
	// The decoder skips line breaks, so that the text has to be compared.
	if err != nil || len(raw) != 1+8+16 || raw[0] != question || cursorEncoding.EncodeToString(raw) != cursor {
		return after{}, recording.Errorf(recording.CodeInvalidRequest, "The cursor is none that this server gave out for this.")
	}
	return after{int64(binary.BigEndian.Uint64(raw[1:])), uuid.UUID(raw[9:])}, nil
}

// onePage takes off the item that was read to know whether there is another page.
func onePage[T any](list []T, limit int) (page []T, more bool) {
	return list[:min(limit, len(list))], len(list) > limit
}
