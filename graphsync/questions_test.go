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

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"reprise/internal/neo4jtest"
	"reprise/recording"
)

const questionTime = 3 * time.Second

// teller is somebody with a graph of their own, made by hand.
type teller struct {
	t     *testing.T
	g     *Graph
	q     *Questions
	owner uuid.UUID
	ids   map[string]uuid.UUID // by name
	names map[uuid.UUID]string
	kinds map[string]recording.EntityKind
	rows  map[string]recording.GraphRow
}

func newTeller(t *testing.T, g *Graph) *teller {
	v := &teller{
		t: t, g: g, q: NewQuestions(g, time.Minute), owner: recording.NewID(), ids: map[string]uuid.UUID{}, names: map[uuid.UUID]string{},
		kinds: map[string]recording.EntityKind{}, rows: map[string]recording.GraphRow{},
	}
	v.write("Teller", recording.GraphRow{GraphRef: recording.GraphRef{Kind: recording.GraphUser, ID: v.owner}})
	return v
}

// write applies a row as its next version.
func (v *teller) write(name string, row recording.GraphRow) {
	v.t.Helper()
	row.OwnerID, row.Name, row.Version = v.owner, name, v.rows[name].Version+1
	v.rows[name], v.ids[name], v.names[row.ID] = row, row.ID, name
	apply(v.t, v.g, row)
}

// delete applies a tombstone.
func (v *teller) delete(name string) {
	v.t.Helper()
	row := v.rows[name]
	row.Version++
	v.rows[name] = row
	apply(v.t, v.g, deleted(row, row.Version))
}

// is makes entities of a kind.
func (v *teller) is(kind recording.EntityKind, names ...string) {
	v.t.Helper()
	for _, name := range names {
		v.kinds[name] = kind
		v.write(name, recording.GraphRow{GraphRef: recording.GraphRef{Kind: recording.GraphEntity, ID: recording.NewID()}, Entity: kind})
	}
}

// story makes a story; its key is by its name, its id by "id of" and its name.
func (v *teller) story(name string) {
	v.t.Helper()
	row := recording.GraphRow{GraphRef: recording.GraphRef{Kind: recording.GraphStory, ID: recording.NewID()}, StoryID: recording.NewID()}
	v.write(name, row)
	v.ids["id of "+name], v.names[row.StoryID] = row.StoryID, name
}

func day(n int) time.Time { return time.Date(1962, 1, n, 12, 0, 0, 5000, time.UTC) }

// tells makes a recording of a day that mentions people and so on once, and is about
// topics with weight 0.5; a name may have a number behind a colon, how often or how much.
func (v *teller) tells(name, story string, on int, about ...string) {
	v.t.Helper()
	facts := &recording.GraphFacts{At: day(on), DurationMs: 1000}
	if story != "" {
		facts.Story = v.ids[story]
	}
	for _, what := range about {
		what, number, _ := strings.Cut(what, ":")
		count, weight := 1, 0.5
		if number != "" {
			_, _ = fmt.Sscan(number, &weight)
			count = int(weight)
		}
		if v.kinds[what] == recording.EntityTopic {
			facts.Topics = append(facts.Topics, recording.GraphTopic{EntityID: v.ids[what], Weight: weight})
			continue
		}
		m := recording.GraphMention{EntityID: v.ids[what], Count: count}
		for i := range count {
			m.AtMs = append(m.AtMs, int64(i)*100)
		}
		facts.Mentions = append(facts.Mentions, m)
	}
	id, ok := v.ids[name]
	if !ok {
		id = recording.NewID()
	}
	v.write(name, recording.GraphRow{GraphRef: recording.GraphRef{Kind: recording.GraphRecording, ID: id}, Recording: facts})
}

// family is the graph that the questions are about.
func tellFamily(t *testing.T, g *Graph) *teller {
	v := newTeller(t, g)
	v.is(recording.EntityPerson, "Anna", "Bruno", "Clara", "nobody")
	v.is(recording.EntityPlace, "Vienna")
	v.is(recording.EntityDate, "1962")
	v.is(recording.EntityOrganization, "the mill")
	v.is(recording.EntityTopic, "bread", "war")
	v.story("Childhood")
	v.tells("oven", "Childhood", 1, "Anna:3", "Vienna", "bread:0.8")
	v.tells("school", "Childhood", 2, "Anna", "1962", "the mill:2")
	v.tells("flight", "", 3, "Bruno", "Anna", "Vienna:2", "war", "bread:0.2")
	v.tells("return", "", 4, "Bruno:2")
	v.tells("alone", "", 5, "Clara")
	return v
}

// must returns what was asked for.
func must[T any](t *testing.T, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *teller) related(of string) string {
	v.t.Helper()
	got, err := v.q.Related(v.t.Context(), v.owner, v.ids[of], 10, "")
	var list []string
	for _, item := range must(v.t, got, err).Items {
		var why []string
		sum := 0.0
		for _, s := range item.Why {
			why = append(why, fmt.Sprintf("%s %s %.2f", s.Kind, s.Name, s.Weight))
			sum += s.Weight
		}
		if math.Abs(sum-item.Score) > 1e-9 || !item.At.Equal(v.rows[item.Title].Recording.At) || item.ID != v.ids[item.Title] || !got.Complete {
			v.t.Errorf("%+v, of %+v", item, got)
		}
		list = append(list, item.Title+": "+strings.Join(why, ", "))
	}
	return strings.Join(list, "\n")
}

func same(t *testing.T, what, want, got string) {
	t.Helper()
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestRelated(t *testing.T) {
	t.Parallel()
	v := tellFamily(t, shared(t))
	// Three mention Anna: 1/ln 3. Two are in Vienna: 1/ln 2.
	same(t, "oven", "flight: place Vienna 1.44, person Anna 0.91, topic bread 0.29\nschool: person Anna 0.91", v.related("oven"))
	same(t, "return", "flight: person Bruno 1.44", v.related("return"))
	same(t, "alone", "", v.related("alone"))
	v.tells("alone", "", 5)
	same(t, "nothing at all", "", v.related("alone"))

	// What is deleted is there no more, and what it shared is rarer.
	v.delete("school")
	same(t, "after a deletion", "flight: person Anna 1.44, place Vienna 1.44, topic bread 0.29", v.related("oven"))
	v.delete("Vienna")
	same(t, "without Vienna", "flight: person Anna 1.44, topic bread 0.29", v.related("oven"))
	for name, id := range map[string]uuid.UUID{"deleted": v.ids["school"], "an entity": v.ids["Anna"], "the user": v.owner, "nothing": recording.NewID()} {
		if _, err := v.q.Related(t.Context(), v.owner, id, 10, ""); err != recording.ErrNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Two entities that are merged are one to those who ask.
func TestMergedEntities(t *testing.T) {
	t.Parallel()
	v := newTeller(t, shared(t))
	v.is(recording.EntityPerson, "Anna", "Grandma")
	v.tells("oven", "", 1, "Anna")
	v.tells("school", "", 2, "Grandma")
	same(t, "before", "", v.related("oven"))
	v.delete("Anna") // what Postgres says of a merge: one is gone, and the recordings mention the other
	v.tells("oven", "", 1, "Grandma:2")
	same(t, "related", "school: person Grandma 1.44", v.related("oven"))
	list, err := v.q.Entities(t.Context(), v.owner, recording.EntityQuery{Limit: 10})
	if items := must(t, list, err).Items; len(items) != 1 || items[0].Name != "Grandma" || items[0].Mentions != 3 {
		t.Errorf("entities: %+v", items)
	}
	if _, err := v.q.Entity(t.Context(), v.owner, v.ids["Anna"], 10); err != recording.ErrNotFound {
		t.Errorf("the merged one: %v", err)
	}
}

func (v *teller) entities(q recording.EntityQuery) string {
	v.t.Helper()
	var list []string
	for {
		page, err := v.q.Entities(v.t.Context(), v.owner, q)
		for _, e := range must(v.t, page, err).Items {
			list = append(list, fmt.Sprintf("%s %s %d/%d %d-%d", e.Kind, e.Name, e.Recordings, e.Mentions, e.First.Day(), e.Last.Day()))
		}
		if len(page.Items) > q.Limit {
			v.t.Errorf("%d items of at most %d", len(page.Items), q.Limit)
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			return strings.Join(list, "\n")
		}
	}
}

func TestEntities(t *testing.T) {
	t.Parallel()
	v := tellFamily(t, shared(t))
	want := "person Anna 3/5 1-3\nperson Bruno 2/3 3-4\nplace Vienna 2/3 1-3\ntopic bread 2/2 1-3\n" +
		"person Clara 1/1 5-5\ndate 1962 1/1 2-2\norganization the mill 1/2 2-2\ntopic war 1/1 3-3"
	for limit := range 9 {
		same(t, fmt.Sprint("in pages of ", limit+1), want, v.entities(recording.EntityQuery{Limit: limit + 1}))
	}
	same(t, "topics", "topic bread 2/2 1-3\ntopic war 1/1 3-3", v.entities(recording.EntityQuery{Kind: recording.EntityTopic, Limit: 1}))
	same(t, "an", "person Anna 3/5 1-3", v.entities(recording.EntityQuery{Prefix: "aN", Limit: 1}))
	for _, prefix := range []string{"%", ".*", "' OR 1=1 //", "nobody", strings.Repeat("x", 200)} {
		same(t, prefix, "", v.entities(recording.EntityQuery{Prefix: prefix, Limit: 1}))
	}
	v.delete("flight")
	v.delete("war")
	same(t, "after deletions", "person Anna 2/4 1-2\nperson Bruno 1/2 4-4\nperson Clara 1/1 5-5\nplace Vienna 1/1 1-1\ndate 1962 1/1 2-2\norganization the mill 1/2 2-2\ntopic bread 1/1 1-1",
		v.entities(recording.EntityQuery{Limit: 3}))
}

func TestEntity(t *testing.T) {
	t.Parallel()
	v := tellFamily(t, shared(t))
	describe := func(card recording.EntityCard) string {
		var list []string
		for _, m := range card.MentionedIn {
			list = append(list, fmt.Sprintf("%s %d %v %g", m.Title, m.At.Day(), m.AtMs, m.Weight))
		}
		for _, o := range card.OccursWith {
			list = append(list, fmt.Sprintf("with %s %s %d", o.Kind, o.Name, o.Recordings))
		}
		return fmt.Sprintf("%s %d/%d %t\n", card.Name, card.Recordings, card.Mentions, card.Complete) + strings.Join(list, "\n")
	}
	ask := func(name string, limit int) string {
		card, err := v.q.Entity(t.Context(), v.owner, v.ids[name], limit)
		return describe(must(t, card, err))
	}
	same(t, "Anna", "Anna 3/5 true\nflight 3 [0] 0\nschool 2 [0] 0\noven 1 [0 100 200] 0\n"+
		"with place Vienna 2\nwith topic bread 2\nwith person Bruno 1\nwith date 1962 1\nwith organization the mill 1\nwith topic war 1", ask("Anna", 3))
	same(t, "bread", "bread 2/2 true\nflight 3 [] 0.2\noven 1 [] 0.8\nwith person Anna 2\nwith place Vienna 2\nwith person Bruno 1\nwith topic war 1", ask("bread", 10))
	same(t, "the newest of Bruno", "Bruno 2/3 false\nreturn 4 [0 100] 0\nwith person Anna 1\nwith place Vienna 1\nwith topic bread 1\nwith topic war 1", ask("Bruno", 1))
	same(t, "nobody", "nobody 0/0 true\n", ask("nobody", 1))
	v.delete("flight")
	same(t, "Bruno after a deletion", "Bruno 1/2 true\nreturn 4 [0 100] 0", ask("Bruno", 10))
	v.delete("Bruno")
	for _, name := range []string{"Bruno", "oven", "Childhood", "never"} {
		if _, err := v.q.Entity(t.Context(), v.owner, v.ids[name], 10); err != recording.ErrNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// drawn writes a part of a graph down, its edges sorted.
func drawn(g recording.Subgraph) string {
	var nodes, edges []string
	for _, n := range g.Nodes {
		nodes = append(nodes, n.Kind+" "+n.Name)
	}
	for _, e := range g.Edges {
		edges = append(edges, fmt.Sprintf("%s %s %s %d %g", g.Nodes[e.From].Name, e.Kind, g.Nodes[e.To].Name, e.Count, e.Weight))
	}
	slices.Sort(edges)
	return strings.Join(nodes, ", ") + "\n" + strings.Join(edges, "\n")
}

func TestPath(t *testing.T) {
	t.Parallel()
	v := tellFamily(t, shared(t))
	path := func(from, to string) string {
		g, err := v.q.Path(t.Context(), v.owner, v.ids[from], v.ids[to])
		return drawn(must(t, g, err))
	}
	v.story("Old age")
	v.tells("dawn", "Old age", 8)
	v.tells("dusk", "Old age", 9)
	same(t, "by a story", "recording dawn, story Old age, recording dusk\nOld age has dawn 0 0\nOld age has dusk 0 0", path("dawn", "dusk"))
	same(t, "three edges", "recording return, person Bruno, recording flight, topic war\nflight about war 0 0.5\nflight mentions Bruno 1 0\nreturn mentions Bruno 2 0", path("return", "war"))
	same(t, "to itself", "recording oven\n", path("oven", "oven"))
	same(t, "only by the teller", "\n", path("alone", "oven"))
	v.delete("flight")
	same(t, "after a deletion", "\n", path("return", "oven"))
	for _, pair := range [][2]string{{"flight", "oven"}, {"oven", "flight"}, {"oven", "never"}, {"never", "never"}, {"Childhood", "oven"}, {"oven", "Teller"}} {
		if _, err := v.q.Path(t.Context(), v.owner, v.ids[pair[0]], v.ids[pair[1]]); err != recording.ErrNotFound {
			t.Errorf("%q: %v", pair, err)
		}
	}

	// A chain: six edges connect, eight don't.
	v.is(recording.EntityPerson, "a", "b", "c", "d")
	for i, pair := range [][2]string{{"a", "b"}, {"b", "c"}, {"c", "d"}} {
		v.tells("link "+pair[0], "", 10+i, pair[0], pair[1])
	}
	g, err := v.q.Path(t.Context(), v.owner, v.ids["a"], v.ids["d"])
	if must(t, g, err); len(g.Edges) != 6 || len(g.Nodes) != 7 {
		t.Errorf("six edges: %s", drawn(g))
	}
	v.is(recording.EntityPerson, "e")
	v.tells("link d", "", 20, "d", "e")
	same(t, "eight edges", "\n", path("a", "e"))
}

func TestNeighborhood(t *testing.T) {
	t.Parallel()
	v := tellFamily(t, shared(t))
	ask := func(of string, depth, limit int) (string, bool) {
		g, err := v.q.Neighborhood(t.Context(), v.owner, v.ids[of], depth, limit)
		return drawn(must(t, g, err)), g.Complete
	}
	for _, tt := range []struct {
		of           string
		depth, limit int
		want         string
		complete     bool
	}{
		{"Bruno", 1, 3, "person Bruno, recording return, recording flight\nflight mentions Bruno 1 0\nreturn mentions Bruno 2 0", true},
		{"Bruno", 1, 2, "person Bruno, recording return\nreturn mentions Bruno 2 0", false},
		{"Bruno", 2, 7, "person Bruno, recording return, recording flight, person Anna, place Vienna, topic bread, topic war\n" +
			"flight about bread 0 0.2\nflight about war 0 0.5\nflight mentions Anna 1 0\nflight mentions Bruno 1 0\nflight mentions Vienna 2 0\nreturn mentions Bruno 2 0", true},
		{"Bruno", 2, 4, "person Bruno, recording return, recording flight, person Anna\nflight mentions Anna 1 0\nflight mentions Bruno 1 0\nreturn mentions Bruno 2 0", false},
		{"oven", 1, 200, "recording oven, person Anna, place Vienna, topic bread, story Childhood\n" +
			"Childhood has oven 0 0\noven about bread 0 0.8\noven mentions Anna 3 0\noven mentions Vienna 1 0", true},
		{"nobody", 2, 200, "person nobody\n", true},
		{"Bruno", 2, 1, "person Bruno\n", false},
	} {
		if got, complete := ask(tt.of, tt.depth, tt.limit); got != tt.want || complete != tt.complete {
			t.Errorf("%s, depth %d, limit %d: complete %t, want %t; %s", tt.of, tt.depth, tt.limit, complete, tt.complete, gocmp.Diff(tt.want, got))
		}
	}
	g, err := v.q.Neighborhood(t.Context(), v.owner, v.ids["oven"], 2, 200)
	must(t, g, err)
	if got := g.Nodes[slices.IndexFunc(g.Nodes, func(n recording.GraphNode) bool { return n.Kind == "story" })]; got.ID != v.ids["id of Childhood"] {
		t.Errorf("the story is %v, not what its owner knows it by", got)
	}
	if g.Nodes[0].At != day(1) || len(g.Nodes) != 7 || !g.Complete {
		t.Errorf("depth 2 of oven: %s", drawn(g))
	}
	v.delete("flight")
	v.delete("Childhood")
	if got, _ := ask("oven", 2, 200); strings.Contains(got, "flight") || strings.Contains(got, "Childhood") {
		t.Errorf("after deletions: %s", got)
	}
	if _, err := v.q.Neighborhood(t.Context(), v.owner, v.ids["flight"], 1, 10); err != recording.ErrNotFound {
		t.Errorf("of what is deleted: %v", err)
	}
}

func (v *teller) timeline(q recording.Timeline) string {
	v.t.Helper()
	var list []string
	refs := func(list []recording.EntityRef) (names []string) {
		for _, e := range list {
			names = append(names, e.Name)
		}
		return names
	}
	for range 100 {
		page, err := v.q.Timeline(v.t.Context(), v.owner, q)
		for _, item := range must(v.t, page, err).Items {
			story := ""
			if item.Story != nil {
				story = item.Story.Title
			}
			if !item.At.Equal(v.rows[item.Title].Recording.At) || item.DurationMs != 1000 || story != "" && item.Story.ID != v.ids["id of "+story] {
				v.t.Errorf("%+v", item)
			}
			list = append(list, fmt.Sprintf("%s %q %q %q %q", item.Title, story, refs(item.People), refs(item.Places), refs(item.Topics)))
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			return strings.Join(list, "\n")
		}
	}
	v.t.Error("the timeline has no end")
	return ""
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	v := tellFamily(t, shared(t))
	want := []string{
		`oven "Childhood" ["Anna"] ["Vienna"] ["bread"]`, `school "Childhood" ["Anna"] [] []`,
		`flight "" ["Anna" "Bruno"] ["Vienna"] ["war" "bread"]`, `return "" ["Bruno"] [] []`, `alone "" ["Clara"] [] []`,
	}
	all := func(list ...string) string { return strings.Join(list, "\n") }
	for limit := range 6 {
		same(t, fmt.Sprint("in pages of ", limit+1), all(want...), v.timeline(recording.Timeline{Limit: limit + 1}))
	}
	from, before := day(2), day(4)
	same(t, "from", all(want[1:]...), v.timeline(recording.Timeline{From: &from, Limit: 2}))
	same(t, "before", all(want[:3]...), v.timeline(recording.Timeline{Before: &before, Limit: 2}))
	same(t, "both", all(want[1:3]...), v.timeline(recording.Timeline{From: &from, Before: &before, Limit: 1}))
	same(t, "none", "", v.timeline(recording.Timeline{From: &before, Before: &from, Limit: 1}))
	same(t, "of Bruno", all(want[2:4]...), v.timeline(recording.Timeline{EntityID: v.ids["Bruno"], Limit: 1}))
	same(t, "about bread", all(want[0], want[2]), v.timeline(recording.Timeline{EntityID: v.ids["bread"], Limit: 5}))
	story := v.ids["id of Childhood"]
	same(t, "of a story", all(want[:2]...), v.timeline(recording.Timeline{StoryID: story, Limit: 1}))
	same(t, "of a story and Vienna", want[0], v.timeline(recording.Timeline{StoryID: story, EntityID: v.ids["Vienna"], Limit: 1}))
	for _, id := range []uuid.UUID{recording.NewID(), v.ids["oven"], v.owner} {
		same(t, "of nothing", "", v.timeline(recording.Timeline{EntityID: id, Limit: 1}))
		same(t, "of no story", "", v.timeline(recording.Timeline{StoryID: id, Limit: 1}))
	}
	// Several of one moment, and the ends of time.
	for i := range 5 {
		v.tells(fmt.Sprint("tie ", i), "", 6)
		want = append(want, fmt.Sprintf(`tie %d "" [] [] []`, i))
	}
	v.rows["first"] = recording.GraphRow{}
	v.write("first", recording.GraphRow{GraphRef: recording.GraphRef{Kind: recording.GraphRecording, ID: recording.NewID()},
		Recording: &recording.GraphFacts{At: time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), DurationMs: 1000}})
	want = slices.Insert(want, 0, `first "" [] [] []`)
	for _, limit := range []int{1, 2, 3} {
		same(t, "with ties", all(want...), v.timeline(recording.Timeline{Limit: limit}))
	}
	v.delete("tie 2")
	v.delete("Clara")
	if got := v.timeline(recording.Timeline{Limit: 3}); strings.Contains(got, "tie 2") || strings.Contains(got, "Clara") {
		t.Errorf("after deletions: %s", got)
	}
}

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
	never := recording.NewID()
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
		same(t, "timeline with "+name, fmt.Sprint(must(t, recording.TimelinePage{Items: []recording.TimelineItem{}}, nil)), fmt.Sprint(must(t, mine, err)))
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
	if !strings.Contains(string(text), bob.ids["oven"].String()) || strings.Contains(string(text), never.String()) {
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
	params := map[string]any{}
	for _, name := range []string{"id", "story", "entity", "after", "prefix", "kind", "from", "to"} {
		params[name] = "x"
	}
	for _, name := range []string{"score", "recordings", "limit", "most"} {
		params[name] = 1
	}
	for _, name := range []string{"ring", "known", "ids"} {
		params[name] = []string{"x"}
	}
	params["shared"] = []map[string]any{{"id": "x", "rarity": 1.0, "weight": 1.0}}
	params["at"], params["before"] = day(1), day(2)
	for _, statement := range []string{
		entitiesOf, relatedTo, listEntities, oneEntity, listMentions, occursWith, oneNode, shortest, firstRing, secondRing, edgesBetween,
		allRecordings + pageOfTimeline, recordingsInStory + pageOfTimeline, recordingsWithEntity + pageOfTimeline, recordingsWithBoth + pageOfTimeline, aroundRecordings,
	} {
		if strings.Contains(statement, allRecordings+pageOfTimeline) {
			params["from"] = day(1)
		}
		operators, err := ask(t.Context(), q, recording.NewID(), func(a *asker) ([]string, error) {
			params["owner"] = a.owner.String()
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
