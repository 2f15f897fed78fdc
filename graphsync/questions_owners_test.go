package graphsync

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"reprise/internal/neo4jtest"
	"reprise/recording"
)

// Pages of related recordings go through those of the same score, each once.
func TestRelatedPages(t *testing.T) {
	t.Parallel()
	v := newTeller(t, shared(t))
	v.is(recording.EntityPerson, "Anna", "Bruno")
	v.is(recording.EntityTopic, "bread", "war", "sea")
	v.tells("one", "", 1, "Anna", "Bruno", "bread:0.3", "war:0.1", "sea:0.7")
	for i := range 12 {
		v.tells(fmt.Sprint(i), "", 2, "Anna", []string{"bread:0.9", "war:0.2", "Bruno", "sea:0.123"}[i%4])
	}
	for _, limit := range []int{1, 2, 5, 11, 12} {
		var items []recording.RelatedRecording
		for cursor := ""; ; {
			page, err := v.q.Related(t.Context(), v.owner, v.ids["one"], limit, cursor)
			items = append(items, must(t, page, err).Items...)
			if cursor = page.NextCursor; cursor == "" {
				break
			}
		}
		if len(items) != 12 || !slices.IsSortedFunc(items, func(a, b recording.RelatedRecording) int {
			return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID.String(), b.ID.String()))
		}) {
			t.Errorf("in pages of %d: %d items", limit, len(items))
		}
	}
}

// Cursors that nobody gave out, and one of another question.
func TestQuestionCursors(t *testing.T) {
	t.Parallel()
	v := tellFamily(t, shared(t))
	page, err := v.q.Entities(t.Context(), v.owner, recording.EntityQuery{Limit: 1})
	must(t, page, err)
	for _, cursor := range []string{"x", page.NextCursor + "A", page.NextCursor[1:], "\n" + page.NextCursor, base64.RawURLEncoding.EncodeToString(make([]byte, 25)), strings.Repeat("A", 1000)} {
		_, err1 := v.q.Related(t.Context(), v.owner, v.ids["oven"], 1, cursor)
		_, err2 := v.q.Entities(t.Context(), v.owner, recording.EntityQuery{Limit: 1, Cursor: cursor})
		_, err3 := v.q.Timeline(t.Context(), v.owner, recording.Timeline{Limit: 1, Cursor: cursor})
		for i, err := range []error{err1, err2, err3} {
			if recording.CodeOf(err) != recording.CodeInvalidRequest {
				t.Errorf("%q, question %d: %v", cursor, i, err)
			}
		}
	}
	if _, err := v.q.Related(t.Context(), v.owner, v.ids["oven"], 1, page.NextCursor); recording.CodeOf(err) != recording.CodeInvalidRequest {
		t.Errorf("the cursor of another question: %v", err)
	}
	for _, number := range []int64{math.MinInt64, -1, 0, math.MaxInt64} {
		a := after{number, v.ids["oven"]}
		if got, err := decodeAfter(relatedCursor, a.encode(relatedCursor), after{}); got != a || err != nil {
			t.Errorf("%+v: %+v, %v", a, got, err)
		}
		if _, err := v.q.Timeline(t.Context(), v.owner, recording.Timeline{Limit: 1, Cursor: a.encode(timelineCursor)}); err != nil {
			t.Errorf("from %d on: %v", number, err)
		}
	}
}

// Two have the same of everything. Nothing of one is in an answer to the other, whatever
// ids are asked for, also if the graph is wrong and has an edge between them.
func TestOwnersAreApart(t *testing.T) {
	t.Parallel()
	g := shared(t)
	alice, bob := tellFamily(t, g), tellFamily(t, g)
	neo4jtest.Query(t, neo4jtest.Shared(t), `
		MATCH (r:Projected {id: $recording}), (e:Projected {id: $entity}), (s:Projected {id: $story}), (u:Projected {id: $user}), (b:Projected {id: $bobs})
		CREATE (b)-[:MENTIONS {count: 9, atMs: [1]}]->(e), (b)-[:ABOUT {weight: 1.0}]->(e), (s)-[:HAS]->(b), (u)-[:TOLD]->(s), (r)-[:MENTIONS {count: 9}]->(b)`,
		map[string]any{
			"recording": alice.ids["oven"].String(), "entity": alice.ids["Anna"].String(), "story": alice.ids["Childhood"].String(),
			"user": bob.owner.String(), "bobs": bob.ids["oven"].String(),
		})
	ctx, q := t.Context(), bob.q
	for name, id := range alice.ids {
		_, related := q.Related(ctx, bob.owner, id, 10, "")
		_, entity := q.Entity(ctx, bob.owner, id, 10)
		_, to := q.Path(ctx, bob.owner, bob.ids["oven"], id)
		_, from := q.Path(ctx, bob.owner, id, bob.ids["oven"])
		_, near := q.Neighborhood(ctx, bob.owner, id, 2, 200)
		for i, err := range []error{related, entity, to, from, near} {
			if err != recording.ErrNotFound {
				t.Errorf("%s, question %d: %v", name, i, err)
			}
		}
		mine, err := q.Timeline(ctx, bob.owner, recording.Timeline{EntityID: id, StoryID: id, Limit: 10})
		if items := must(t, mine, err).Items; len(items) > 0 {
			t.Errorf("a timeline by %s: %+v", name, items)
		}
	}
	var said []any
	add := func(v any, err error) {
		t.Helper()
		said = append(said, must(t, v, err))
	}
	for name, id := range bob.ids {
		switch bob.rows[name].Kind {
		case recording.GraphRecording:
			answer, err := q.Related(ctx, bob.owner, id, 100, "")
			add(answer, err)
		case recording.GraphEntity:
			answer, err := q.Entity(ctx, bob.owner, id, 100)
			add(answer, err)
		default:
			continue
		}
		path, err := q.Path(ctx, bob.owner, id, bob.ids["alone"])
		add(path, err)
		near, err := q.Neighborhood(ctx, bob.owner, id, 2, 200)
		add(near, err)
	}
	list, err := q.Entities(ctx, bob.owner, recording.EntityQuery{Limit: 100})
	add(list, err)
	line, err := q.Timeline(ctx, bob.owner, recording.Timeline{Limit: 100})
	add(line, err)
	text, err := json.Marshal(said)
	must(t, text, err)
	for name, id := range alice.ids {
		if strings.Contains(string(text), id.String()) {
			t.Errorf("bob is told of alice's %s", name)
		}
	}
	if !strings.Contains(string(text), bob.ids["oven"].String()) {
		t.Errorf("bob is told %.300s", text)
	}
}

// What only is the end of an edge so far has no owner, and is in no answer.
func TestBareNodesAreInNoAnswer(t *testing.T) {
	t.Parallel()
	v := newTeller(t, shared(t))
	v.ids["early"], v.ids["Later"] = recording.NewID(), recording.NewID()
	v.tells("oven", "Later", 1, "early")
	v.tells("school", "Later", 1, "early")
	same(t, "related", "", v.related("oven"))
	same(t, "entities", "", v.entities(recording.EntityQuery{Limit: 10}))
	same(t, "timeline", "oven \"\" [] [] []\nschool \"\" [] [] []", v.timeline(recording.Timeline{Limit: 10}))
	g, err := v.q.Neighborhood(t.Context(), v.owner, v.ids["oven"], 2, 10)
	same(t, "neighborhood", "recording oven\n", drawn(must(t, g, err)))
	g, err = v.q.Path(t.Context(), v.owner, v.ids["oven"], v.ids["school"])
	same(t, "path", "\n", drawn(must(t, g, err)))
}

// A server that hangs, one that is gone, and one that is back.
func TestQuestionsWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	server := neo4jtest.Alone(t)
	g := open(t, server.Where())
	if err := g.Migrate(t.Context(), quiet()); err != nil {
		t.Fatal(err)
	}
	v := tellFamily(t, g)
	ask := func(ctx context.Context) error {
		_, err := v.q.Related(ctx, v.owner, v.ids["oven"], 10, "")
		return err
	}
	must(t, 0, ask(t.Context()))

	// More at once than there are connections.
	v.q.timeout = questionTime
	server.Freeze()
	var wg sync.WaitGroup
	for range 120 {
		wg.Go(func() {
			began := time.Now()
			err := ask(t.Context())
			if code := recording.CodeOf(err); code != recording.CodeGraphUnavailable && code != recording.CodeGraphTimeout {
				t.Errorf("of a server that hangs: %v", err)
			}
			if took := time.Since(began); took > questionTime+5*time.Second { // the machine may be busy
				t.Errorf("it took %v", took)
			}
		})
	}
	wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := ask(ctx); err == nil || ctx.Err() == nil {
		t.Errorf("a client that goes: %v", err)
	}
	server.Thaw()
	v.q.timeout = time.Minute
	must(t, 0, ask(t.Context()))

	server.Kill()
	v.q.timeout = questionTime
	began := time.Now()
	if err := ask(t.Context()); recording.CodeOf(err) != recording.CodeGraphUnavailable || time.Since(began) > questionTime+time.Second {
		t.Errorf("of a server that is gone: %v after %v", err, time.Since(began))
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	v.q.timeout = time.Minute
	must(t, 0, ask(t.Context()))
}

// A question that takes too long is ended, by its own code.
func TestQuestionTimeout(t *testing.T) {
	t.Parallel()
	q := NewQuestions(shared(t), questionTime)
	began := time.Now()
	_, err := ask(t.Context(), q, recording.NewID(), func(a *asker) ([]struct{ N int }, error) {
		return read[struct{ N int }](a, `UNWIND range(1, 100000000) AS a UNWIND range(1, 1000) AS b RETURN count(a + b) AS n`, map[string]any{})
	})
	if recording.CodeOf(err) != recording.CodeGraphTimeout || time.Since(began) > questionTime+5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	_, err = ask(t.Context(), q, recording.NewID(), func(a *asker) ([]struct{ N int }, error) {
		return read[struct{ N int }](a, `THIS IS NO CYPHER`, map[string]any{})
	})
	if recording.CodeOf(err) != recording.CodeInternal {
		t.Errorf("of our own mistake: %v", err)
	}
}

// Every question begins at an index, however many owners there are.
func TestQuestionPlans(t *testing.T) {
	t.Parallel()
	q := NewQuestions(shared(t), time.Minute)
	for statement, params := range questions() {
		operators, err := ask(t.Context(), q, recording.NewID(), func(a *asker) ([]string, error) {
			result, err := a.tx.Run(a.ctx, "EXPLAIN "+statement, params)
			if err != nil {
				return nil, err
			}
			summary, err := result.Consume(a.ctx)
			if err != nil {
				return nil, err
			}
			return operatorsOf(summary.Plan()), nil
		})
		for _, operator := range must(t, operators, err) {
			if strings.Contains(operator, "Scan") {
				t.Errorf("%s: by %q", statement, operators)
				break
			}
		}
	}
}

func operatorsOf(plan neo4j.Plan) []string {
	list := []string{plan.Operator()}
	for _, child := range plan.Children() {
		list = append(list, operatorsOf(child)...)
	}
	return list
}
