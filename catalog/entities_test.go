package catalog_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/recording"
)

// TestMentions: what an analysis finds is what the graph shows, spellings of one name as one.
func TestMentions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := newGraph()
	id := r.ready(r.alice, uuid.Nil)
	a := about("Anna", "Bert", "Anna", "ANNA", "...")
	a.Entities = append(a.Entities, recording.Entity{Kind: recording.EntityPlace, Name: "Anna", Mentions: []recording.Mention{{AtMs: 7}}})
	a.Topics = []recording.Topic{{Name: "School", Weight: 0.4}, {Name: "school", Weight: 0.8}, {Name: "war", Weight: 0.1}}
	many := recording.Entity{Kind: recording.EntityDate, Name: "1962"}
	for i := range 150 {
		many.Mentions = append(many.Mentions, recording.Mention{AtMs: int64(i)})
	}
	a.Entities = append(a.Entities, many)
	r.analyse(id, a)
	r.equal(g)
	facts := g.facts(id)
	anna := r.entityOf(r.alice, recording.EntityPerson, "anna")
	for _, m := range facts.Mentions {
		switch m.EntityID {
		case anna:
			if m.Count != 3 || !slices.Equal(m.AtMs, []int64{1000, 3000, 4000}) {
				t.Errorf("Anna: %+v", m)
			}
		case r.entityOf(r.alice, recording.EntityDate, "1962"):
			if m.Count != 150 || len(m.AtMs) != 100 || m.AtMs[99] != 99 {
				t.Errorf("1962: %d times, %v", m.Count, m.AtMs)
			}
		}
	}
	// Anna, a person, and Anna, a place, are two.
	if len(facts.Mentions) != 4 || len(facts.Topics) != 2 || facts.DurationMs != 63_000 || !facts.At.Equal(r.clock) {
		t.Errorf("facts %+v", facts)
	}
	for _, topic := range facts.Topics {
		if name := g.rows[recording.GraphRef{Kind: recording.GraphEntity, ID: topic.EntityID}]; name.Name == "School" && topic.Weight != 0.8 || name.Entity != recording.EntityTopic {
			t.Errorf("%+v weighs %v", name, topic.Weight)
		}
	}

	// A second analysis: Bert is gone, from the graph as well, Anna has a better spelling.
	bert := r.entityOf(r.alice, recording.EntityPerson, "bert")
	r.analyse(id, about("anna"))
	r.equal(g)
	if diff := cmp.Diff(map[string]int{"anna": 1}, g.mentioned(id)); diff != "" {
		t.Error(diff)
	}
	if row := g.rows[recording.GraphRef{Kind: recording.GraphEntity, ID: bert}]; !row.Deleted || row.Name != "" {
		t.Errorf("what is not mentioned any more: %+v", row)
	}
	// Somebody else's Anna is another one.
	bob, err := r.EnsureUser(t.Context(), "dev:bob")
	must(t, err)
	theirs := r.ready(bob, uuid.Nil)
	r.analyse(theirs, about("Anna"))
	r.equal(g)
	if r.entity(bob, "anna") == anna {
		t.Error("two owners share an entity")
	}
}

func (r *rig) entityOf(owner uuid.UUID, kind recording.EntityKind, key string) uuid.UUID {
	r.t.Helper()
	var id uuid.UUID
	must(r.t, r.pool.QueryRow(r.t.Context(), `SELECT id FROM entities WHERE owner_id = $1 AND kind = $2 AND key = $3`, owner, kind, key).Scan(&id))
	return id
}

func TestMerges(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	g := newGraph()
	bob, err := r.EnsureUser(ctx, "dev:bob")
	must(t, err)
	one, two := r.ready(r.alice, uuid.Nil), r.ready(r.alice, uuid.Nil)
	a := about("Grandma", "Anna", "Anna")
	a.Topics = []recording.Topic{{Name: "school", Weight: 1}}
	r.analyse(one, a)
	r.analyse(two, about("Nan", "Bert"))
	theirs := r.ready(bob, uuid.Nil)
	r.analyse(theirs, about("Anna"))
	grandma, anna, nan, school := r.entity(r.alice, "grandma"), r.entity(r.alice, "anna"), r.entity(r.alice, "nan"), r.entity(r.alice, "school")

	want := func(names ...string) func(recording.NamedEntity, error) {
		return func(e recording.NamedEntity, err error) {
			t.Helper()
			got := []string{e.Name}
			for _, m := range e.Merged {
				got = append(got, m.Name)
			}
			if diff := cmp.Diff(names, got); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
		}
	}
	refused := func(code recording.Code) func(recording.NamedEntity, error) {
		return func(e recording.NamedEntity, err error) {
			t.Helper()
			if recording.CodeOf(err) != code {
				t.Errorf("%+v, %v; want %s", e, err, code)
			}
		}
	}
	shows := func(id uuid.UUID, names map[string]int) {
		t.Helper()
		r.equal(g)
		if diff := cmp.Diff(names, g.mentioned(id)); diff != "" {
			t.Error(diff)
		}
	}
	want("Grandma", "Anna")(r.MergeEntities(ctx, r.alice, grandma, anna))
	shows(one, map[string]int{"Grandma": 3})
	waiting := r.count(`SELECT count(*) FROM graph_outbox`)
	want("Grandma", "Anna")(r.MergeEntities(ctx, r.alice, grandma, anna)) // its answer was lost
	want("Grandma", "Anna")(r.Entity(ctx, r.alice, grandma))
	want("Anna")(r.Entity(ctx, r.alice, anna))
	refused(recording.CodeNotFound)(r.Entity(ctx, bob, grandma))
	if n := r.count(`SELECT count(*) FROM graph_outbox`); n != waiting {
		t.Errorf("a merge that is there already touches %d", n-waiting)
	}

	for _, pair := range [][2]uuid.UUID{{grandma, grandma}, {anna, anna}, {anna, grandma}, {grandma, school}} {
		if pair == [2]uuid.UUID{anna, anna} {
			want("Grandma", "Anna")(r.MergeEntities(ctx, r.alice, anna, anna)) // Anna is in Grandma
			continue
		}
		refused(recording.CodeConflict)(r.MergeEntities(ctx, r.alice, pair[0], pair[1]))
	}
	for _, pair := range [][2]uuid.UUID{{r.entity(bob, "anna"), grandma}, {grandma, r.entity(bob, "anna")}, {grandma, recording.NewID()}, {uuid.Nil, uuid.Nil}} {
		refused(recording.CodeNotFound)(r.MergeEntities(ctx, r.alice, pair[0], pair[1]))
		refused(recording.CodeNotFound)(r.SplitEntity(ctx, r.alice, pair[0], pair[1]))
		refused(recording.CodeNotFound)(r.MergeEntities(ctx, bob, pair[1], grandma))
	}
	refused(recording.CodeNotFound)(r.RenameEntity(ctx, bob, anna, "x"))

	// Chains stay one deep: what was merged into what is merged, and into what is merged.
	want("Nan", "Anna", "Grandma")(r.MergeEntities(ctx, r.alice, nan, grandma))
	if n := r.count(`SELECT count(*) FROM entities e JOIN entities m ON m.id = e.merged_into WHERE m.merged_into IS NOT NULL`); n != 0 {
		t.Errorf("%d are merged into what is merged", n)
	}
	shows(one, map[string]int{"Nan": 3})
	refused(recording.CodeConflict)(r.SplitEntity(ctx, r.alice, grandma, anna)) // Anna is in Nan
	want("Nan", "Grandma")(r.SplitEntity(ctx, r.alice, nan, anna))
	want("Nan", "Grandma")(r.SplitEntity(ctx, r.alice, nan, anna))
	shows(one, map[string]int{"Nan": 1, "Anna": 2})
	want("Nan", "Anna", "Grandma")(r.MergeEntities(ctx, r.alice, grandma, anna)) // into what Grandma is in

	// Both survive another analysis, and a name that the owner has given.
	want("Anna Berger", "Anna", "Grandma")(r.RenameEntity(ctx, r.alice, nan, "Anna Berger"))
	r.analyse(one, about("Grandma"))
	r.analyse(two, about("NAN", "Anna"))
	shows(one, map[string]int{"Anna Berger": 1})
	shows(two, map[string]int{"Anna Berger": 2})

	// The filter of a search knows all names, new and old, and no other kind's.
	for filter, want := range map[recording.Search][]uuid.UUID{
		{Entity: "Anna Berger"}:           {two, one},
		{Entity: "GRANDMA"}:               {two, one},
		{Entity: "Anna", Topic: "school"}: {},
		{Entity: "Bert"}:                  {},
		{Topic: "Anna Berger"}:            {},
	} {
		got := r.find(r.alice, "test", filter)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v: %s", filter, diff)
		}
	}

	// What is kept only because it was merged goes when it is split.
	r.analyse(two, about("Bert"))
	want("Anna Berger", "Grandma")(r.SplitEntity(ctx, r.alice, nan, anna))
	r.equal(g)
	if n := r.count(`SELECT count(*) FROM entities WHERE id = $1`, anna); n != 0 {
		t.Error("Anna is there, and nothing mentions her")
	}
	shows(theirs, map[string]int{"Anna": 1})
}

// TestNoNameIsLeft: what only one recording mentions goes with it; what its owner has
// said of that goes when it is purged.
func TestNoNameIsLeft(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	g := newGraph()
	id, stays := r.ready(r.alice, uuid.Nil), r.ready(r.alice, uuid.Nil)
	a := about("Pfefferkorn", "Quitte", "Rosine", "Safran", "Thymian", "Anna")
	a.Topics = []recording.Topic{{Name: "Vanille", Weight: 1}}
	r.analyse(id, a)
	r.analyse(stays, about("Anna", "Zimt"))
	_, err := r.RenameEntity(ctx, r.alice, r.entity(r.alice, "quitte"), "Quittenbaum")
	must(t, err)
	_, err = r.MergeEntities(ctx, r.alice, r.entity(r.alice, "rosine"), r.entity(r.alice, "safran"))
	must(t, err)
	_, err = r.MergeEntities(ctx, r.alice, r.entity(r.alice, "zimt"), r.entity(r.alice, "thymian"))
	must(t, err)
	r.equal(g)
	left := func() []string {
		t.Helper()
		var found []string
		for _, table := range r.texts(`SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'`) {
			for _, name := range []string{"pfefferkorn", "quitte", "rosine", "safran", "thymian", "vanille"} {
				if r.count(`SELECT count(*) FROM `+table+` t WHERE t::text ILIKE $1`, "%"+name+"%") > 0 {
					found = append(found, table+" "+name)
				}
			}
		}
		slices.Sort(found)
		return slices.DeleteFunc(found, func(s string) bool {
			return strings.HasPrefix(s, "analyses ") // purged with the rest: see below
		})
	}
	must(t, r.DeleteRecording(ctx, r.alice, id))
	// What the owner has named or merged stays for as long as the bytes.
	if diff := cmp.Diff([]string{"entities quitte", "entities rosine", "entities safran", "entities thymian"}, left()); diff != "" {
		t.Error(diff)
	}
	if n := r.count(`SELECT count(*) FROM mentions WHERE recording_id = $1`, id); n != 0 {
		t.Errorf("%d mentions of a deleted recording", n)
	}
	r.equal(g)
	must(t, r.MarkPurged(ctx, recording.PurgeJob{RecordingID: id}))
	// Thymian is a name of Zimt, which is mentioned.
	if diff := cmp.Diff([]string{"entities thymian"}, left()); diff != "" || r.count(`SELECT count(*) FROM analyses`) != 1 {
		t.Error(diff)
	}
	r.equal(g)
	if row := g.rows[recording.GraphRef{Kind: recording.GraphRecording, ID: id}]; !row.Deleted {
		t.Errorf("a deleted recording: %+v", row)
	}
	must(t, r.MarkPurged(ctx, recording.PurgeJob{RecordingID: id}))
	must(t, r.DeleteRecording(ctx, r.alice, stays))
	must(t, r.MarkPurged(ctx, recording.PurgeJob{RecordingID: stays}))
	if n := r.count(`SELECT count(*) FROM entities`); n != 0 {
		t.Errorf("%d entities are left", n)
	}
	r.equal(g)
}

// TestGraphAtOnce: everything that changes what the graph shows of one owner, at once,
// and two who drain it. Nothing fails, and at the end the graph is what Postgres says.
func TestGraphAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := newGraph()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	people := []string{"Anna", "Bert", "Cora", "Dora", "Emil"}
	story := recording.NewID()
	var ids []uuid.UUID
	for range 6 {
		ids = append(ids, r.ready(r.alice, story))
	}
	for _, id := range ids {
		r.analyse(id, about(people...))
	}
	entities := map[string]uuid.UUID{}
	for _, name := range people {
		entities[name] = r.entity(r.alice, strings.ToLower(name))
	}
	named := slices.Collect(maps.Values(entities))
	var wg, drainers sync.WaitGroup
	check := func(err error, allowed ...recording.Code) {
		if err != nil && !slices.Contains(allowed, recording.CodeOf(err)) {
			t.Errorf("%v", err)
		}
	}
	for i, id := range ids {
		wg.Go(func() {
			for n := range 8 {
				shuffled := slices.Clone(people)
				rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
				check(r.tryAnalyse(ctx, id, about(shuffled[:1+n%len(shuffled)]...)))
				title := fmt.Sprint("Title ", n)
				_, err := r.PatchRecording(ctx, r.alice, id, recording.RecordingPatch{Title: &title, StoryID: &story})
				check(err)
			}
			if i%2 == 0 {
				check(r.DeleteRecording(ctx, r.alice, id))
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for range 15 {
				a, b := named[rand.N(len(named))], named[rand.N(len(named))]
				_, err := r.MergeEntities(ctx, r.alice, a, b)
				check(err, recording.CodeConflict, recording.CodeNotFound)
				_, err = r.RenameEntity(ctx, r.alice, a, fmt.Sprint("Name ", rand.N(3)))
				check(err, recording.CodeNotFound)
				_, err = r.SplitEntity(ctx, r.alice, a, b)
				check(err, recording.CodeConflict, recording.CodeNotFound)
			}
		})
		drainers.Go(func() {
			for ctx.Err() == nil {
				_, err := r.DrainGraph(t.Context(), 7, g.apply)
				check(err)
			}
		})
	}
	wg.Go(func() {
		for range 10 {
			check(r.DeleteStory(ctx, r.alice, story), recording.CodeNotFound)
			_, err := r.PatchStory(ctx, r.alice, story, fmt.Sprint("Story ", rand.N(3)))
			check(err, recording.CodeNotFound)
		}
	})
	wg.Wait()
	stop()
	drainers.Wait()
	r.equal(g)
}
