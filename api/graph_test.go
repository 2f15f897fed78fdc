package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/recording"
)

// fakeGraph gives the examples as answers, to alice alone, and keeps what it was asked.
type fakeGraph struct {
	exampleGraph
	err   error
	asked []any
}

func (f *fakeGraph) ask(owner uuid.UUID, what ...any) error {
	f.asked = append(f.asked, what...)
	if f.err == nil && owner != alice.UserID {
		return recording.ErrNotFound
	}
	return f.err
}

func (f *fakeGraph) Related(_ context.Context, owner, id uuid.UUID, limit int, cursor string) (recording.Related, error) {
	return f.related, f.ask(owner, id, limit, cursor)
}

func (f *fakeGraph) Entities(_ context.Context, owner uuid.UUID, q recording.EntityQuery) (recording.EntityPage, error) {
	return f.entities, f.ask(owner, q)
}

func (f *fakeGraph) Entity(_ context.Context, owner, id uuid.UUID, limit int) (recording.EntityCard, error) {
	return f.entity, f.ask(owner, id, limit)
}

func (f *fakeGraph) Path(_ context.Context, owner, from, to uuid.UUID) (recording.Subgraph, error) {
	return f.path, f.ask(owner, from, to)
}

func (f *fakeGraph) Neighborhood(_ context.Context, owner, of uuid.UUID, depth, limit int) (recording.Subgraph, error) {
	return f.neighborhood, f.ask(owner, of, depth, limit)
}

func (f *fakeGraph) Timeline(_ context.Context, owner uuid.UUID, q recording.Timeline) (recording.TimelinePage, error) {
	return f.timeline, f.ask(owner, q)
}

func newGraphServer(t *testing.T) (*server, *fakeGraph) {
	t.Helper()
	f := &fakeGraph{exampleGraph: newExampleGraph(exampleRecording(recording.NewID(), epoch), epoch)}
	return newServer(t, func(s *server, o *Options) {
		o.Graph = f
		s.entities = []recording.NamedEntity{{ID: idA, Merged: []recording.MergedEntity{{ID: idB, Name: "Anna"}}}}
	}), f
}

var (
	idA = uuid.MustParse("01934b61-04c2-7d15-b6a4-7f1d90a3c5e8")
	idB = uuid.MustParse("01934b61-04c2-7d16-9f0e-2c8b7a6d5e41")
)

// questions are a path of each question that has an answer.
func questions() []string {
	return []string{
		"/v1/recordings/" + idA.String() + "/related", "/v1/entities", "/v1/entities/" + idA.String(),
		"/v1/graph/path?from=" + idA.String() + "&to=" + idB.String(), "/v1/graph/neighborhood?of=" + idA.String(), "/v1/timeline",
	}
}

// What is asked arrives at the graph, with defaults.
func TestQuestionsArrive(t *testing.T) {
	t.Parallel()
	from, before := time.Date(1962, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(1963, 1, 1, 0, 0, 0, 0, time.UTC)
	q := questions()
	var never time.Time
	for path, want := range map[string][]any{
		q[0]:                       {idA, 20, ""},
		q[0] + "?limit=7&cursor=x": {idA, 7, "x"},
		q[1]:                       {recording.EntityQuery{Limit: 50}},
		q[1] + "?kind=topic&limit=200&cursor=x&q=" + url.QueryEscape("Großmutter %_"): {recording.EntityQuery{Kind: "topic", Prefix: "Großmutter %_", Limit: 200, Cursor: "x"}},
		q[2]:                      {idA, 50},
		q[2] + "?limit=1":         {idA, 1},
		q[3]:                      {idA, idB},
		q[4]:                      {idA, 1, 100},
		q[4] + "&depth=2&limit=3": {idA, 2, 3},
		q[5]:                      {recording.Timeline{Limit: 50}},
		q[5] + "?from=1962-01-02T03:04:05Z&before=1963-01-01T00:00:00Z&limit=2&cursor=x&entityId=" + idA.String() + "&storyId=" + idB.String(): {
			recording.Timeline{From: &from, Before: &before, EntityID: idA, StoryID: idB, Limit: 2, Cursor: "x"}},
		q[5] + "?from=0001-01-01T00:00:00Z&before=0001-01-01T00:00:00Z": {recording.Timeline{From: &never, Before: &never, Limit: 50}},
	} {
		s, f := newGraphServer(t)
		wantJSON[map[string]any](t, s.get(alice, path), http.StatusOK)
		if diff := cmp.Diff(want, f.asked); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", path, diff)
		}
	}
}

// Parameters that are none don't arrive.
func TestQuestionsRefuseParameters(t *testing.T) {
	t.Parallel()
	s, f := newGraphServer(t)
	q := questions()
	for _, path := range []string{
		q[0] + "?limit=0", q[0] + "?limit=-1", q[0] + "?limit=101", q[0] + "?limit=x", q[0] + "?cursor=" + strings.Repeat("A", 65),
		q[1] + "?kind=smell", q[1] + "?limit=201", q[1] + "?limit=99999999999999999999", q[1] + "?q=" + strings.Repeat("x", 201),
		q[2] + "?limit=0", q[2] + "?limit=201", "/v1/graph/path", "/v1/graph/path?from=" + idA.String(), "/v1/graph/path?to=" + idA.String(),
		"/v1/graph/neighborhood", q[4] + "&depth=0", q[4] + "&depth=3", q[4] + "&limit=201", q[4] + "&limit=-5",
		q[5] + "?from=yesterday", q[5] + "?before=1", q[5] + "?entityId=x", q[5] + "?storyId=urn:x", q[5] + "?limit=0",
		q[5] + "?entityId=" + uuid.Nil.String(), q[5] + "?storyId=" + uuid.Nil.String(),
	} {
		wantProblem(t, s.get(alice, path), recording.CodeInvalidRequest)
	}
	// What is no id can be nobody's.
	for _, path := range []string{
		"/v1/recordings/x/related", "/v1/entities/x", "/v1/graph/path?from=x&to=" + idA.String(), "/v1/graph/path?to=" + idA.String() + "x&from=" + idA.String(), "/v1/graph/neighborhood?of=x",
	} {
		wantProblem(t, s.get(alice, path), recording.CodeNotFound)
	}
	if len(f.asked) > 0 {
		t.Errorf("the graph was asked for %v", f.asked)
	}
}

// What the graph's errors are to a client; without a graph each question says so.
func TestQuestionsWithoutAnswer(t *testing.T) {
	t.Parallel()
	for _, path := range questions() {
		if p := wantProblem(t, newServer(t).get(alice, path), recording.CodeGraphUnavailable); !strings.Contains(p.Detail, "configured no Neo4j") {
			t.Errorf("%s: %s", path, p.Detail)
		}
		s, f := newGraphServer(t)
		wantProblem(t, s.get(bob, path), recording.CodeNotFound)
		for _, code := range []recording.Code{recording.CodeGraphUnavailable, recording.CodeGraphTimeout, recording.CodeInvalidRequest} {
			f.err = recording.Errorf(code, "It is so.")
			w := s.get(alice, path)
			wantProblem(t, w, code)
			if (w.Header().Get("Retry-After") != "") != (w.Code == http.StatusServiceUnavailable) {
				t.Errorf("%s, %s: Retry-After %q", path, code, w.Header().Get("Retry-After"))
			}
		}
	}
}

// What is merged into an entity is Postgres's answer, and so is that it is gone.
func TestEntityHasMerged(t *testing.T) {
	t.Parallel()
	s, _ := newGraphServer(t)
	card := wantJSON[entityCardView](t, s.get(alice, questions()[2]), http.StatusOK)
	if diff := cmp.Diff([]mergedEntityView{{ID: idB, Name: "Anna"}}, card.Merged); diff != "" {
		t.Error(diff)
	}
	s.entities = nil
	wantProblem(t, s.get(alice, questions()[2]), recording.CodeNotFound)
}

// Lists are never null, and what is not known is absent.
func TestEmptyAnswers(t *testing.T) {
	t.Parallel()
	s, f := newGraphServer(t)
	s.entities[0].Merged = nil
	f.exampleGraph = exampleGraph{timeline: recording.TimelinePage{Items: []recording.TimelineItem{{}}}, related: recording.Related{Items: []recording.RelatedRecording{{}}}}
	for _, path := range questions() {
		if text := s.get(alice, path).Body.String(); strings.Contains(text, "null") || strings.Contains(text, `"firstAt"`) {
			t.Errorf("%s: %s", path, text)
		}
	}
}
