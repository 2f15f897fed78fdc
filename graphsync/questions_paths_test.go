package graphsync

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/recording"
)

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
			t.Errorf("%s, depth %d, limit %d: complete %t, want %t; %s", tt.of, tt.depth, tt.limit, complete, tt.complete, cmp.Diff(tt.want, got))
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
	same(t, "before year 1", "", v.timeline(recording.Timeline{Before: new(time.Time), Limit: 1}))
	same(t, "from year 1 on", all(want...), v.timeline(recording.Timeline{From: new(time.Time), Limit: 2}))
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
