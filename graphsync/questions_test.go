package graphsync

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

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
	kinds map[string]recording.EntityKind
	rows  map[string]recording.GraphRow
}

func newTeller(t *testing.T, g *Graph) *teller {
	v := &teller{
		t: t, g: g, q: NewQuestions(g, time.Minute), owner: recording.NewID(), ids: map[string]uuid.UUID{},
		kinds: map[string]recording.EntityKind{}, rows: map[string]recording.GraphRow{},
	}
	v.write("Teller", recording.GraphRow{GraphRef: recording.GraphRef{Kind: recording.GraphUser, ID: v.owner}})
	return v
}

// write applies a row as its next version.
func (v *teller) write(name string, row recording.GraphRow) {
	v.t.Helper()
	row.OwnerID, row.Name, row.Version = v.owner, name, v.rows[name].Version+1
	v.rows[name], v.ids[name] = row, row.ID
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
	v.ids["id of "+name] = row.StoryID
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

// tellFamily makes the graph that most questions are about.
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
	if diff := cmp.Diff(want, got); diff != "" {
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
