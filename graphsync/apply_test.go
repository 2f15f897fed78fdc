package graphsync

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"reprise/internal/neo4jtest"
	"reprise/recording"
)

// family are rows of one owner that belong together.
type family struct {
	owner, story, recording uuid.UUID
	anna, bread             uuid.UUID
}

func newFamily() family {
	return family{recording.NewID(), recording.NewID(), recording.NewID(), recording.NewID(), recording.NewID()}
}

// rows are how everything is at a version, with other content in each.
func (f family) rows(version int64) []recording.GraphRow {
	row := func(kind recording.GraphKind, id uuid.UUID, name string) recording.GraphRow {
		return recording.GraphRow{GraphRef: recording.GraphRef{Kind: kind, ID: id}, OwnerID: f.owner, Version: version, Name: name + strings.Repeat("!", int(version))}
	}
	user, story := row(recording.GraphUser, f.owner, "Alice"), row(recording.GraphStory, f.story, "Childhood")
	story.StoryID = uuid.MustParse("00000000-0000-7000-8000-000000000001")
	anna, bread := row(recording.GraphEntity, f.anna, "Anna"), row(recording.GraphEntity, f.bread, "bread")
	anna.Entity, bread.Entity = recording.EntityPerson, recording.EntityTopic
	told := row(recording.GraphRecording, f.recording, "The oven")
	told.Recording = &recording.GraphFacts{
		At: time.Date(1962, 6, 1, 12, 0, 0, int(version)*1000, time.UTC), DurationMs: 60_000 + version,
		Mentions: []recording.GraphMention{{EntityID: f.anna, Count: int(version), AtMs: []int64{1000, 2000 + version}}},
		Topics:   []recording.GraphTopic{{EntityID: f.bread, Weight: 1 / float64(version)}},
	}
	if version%2 == 1 {
		told.Recording.Story = f.story
	}
	return []recording.GraphRow{user, story, anna, bread, told}
}

// deleted is a row that is to be a tombstone.
func deleted(row recording.GraphRow, version int64) recording.GraphRow {
	return recording.GraphRow{GraphRef: row.GraphRef, OwnerID: row.OwnerID, Version: version, Deleted: true}
}

func apply(t testing.TB, g *Graph, rows ...recording.GraphRow) {
	t.Helper()
	refused, err := g.Apply(t.Context(), time.Now(), rows)
	if err != nil || len(refused) > 0 {
		t.Fatalf("apply: %v, %v", refused, err)
	}
}

// shows fails the test if the graph doesn't show exactly these rows, each with its
// edges; those that are deleted must be tombstones.
func shows(t testing.TB, g *Graph, rows ...recording.GraphRow) {
	t.Helper()
	for _, row := range rows {
		nodes, err := g.nodesOf(t.Context(), []string{row.ID.String()})
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case len(nodes) != 1:
			t.Errorf("%s: there are %d nodes", row.Kind, len(nodes))
		case row.Deleted:
			if n := nodes[0]; !n.tombstone || n.version != row.Version || len(n.Labels) > 0 || len(n.Edges) > 0 || len(n.Properties) != 1 {
				t.Errorf("%s: not a tombstone of version %d: %+v", row.Kind, row.Version, n)
			}
		default:
			if diff := cmp.Diff(wanted(row), nodes[0].content, cmp.AllowUnexported(content{})); diff != "" || nodes[0].tombstone {
				t.Errorf("%s: (-want +got)\n%s", row.Kind, diff)
			}
		}
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	g, f := shared(t), newFamily()
	rows := f.rows(1)

	// The recording comes first: what it leads to is there without anything of its own.
	apply(t, g, rows[4])
	shows(t, g, rows[4])
	nodes, err := g.nodesOf(t.Context(), []string{f.anna.String()})
	if err != nil || len(nodes) != 1 || !nodes[0].bare || len(nodes[0].Labels) > 0 || len(nodes[0].Properties) > 0 {
		t.Errorf("an end of an edge: %+v, %v", nodes, err)
	}
	apply(t, g, rows...)
	shows(t, g, rows...)

	// Now without the story: the recording hangs on its user.
	apply(t, g, f.rows(2)...)
	shows(t, g, f.rows(2)...)
	got := neo4jtest.Query(t, neo4jtest.Shared(t), `
		MATCH (u:User {id: $owner})-[:TOLD]->(r:Recording)-[m:MENTIONS]->(e:Person), (r)-[a:ABOUT]->(t:Topic)
		RETURN e.name AS name, m.count AS count, t.name AS topic, a.weight AS weight, r.at AS at, r.locked AS locked`, map[string]any{"owner": f.owner.String()})
	want := []map[string]any{{"name": "Anna!!", "count": int64(2), "topic": "bread!!", "weight": 0.5, "at": time.Date(1962, 6, 1, 12, 0, 0, 2000, time.UTC), "locked": nil}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// What is replayed, reordered or doubled gives the same graph.
func TestApplyAgain(t *testing.T) {
	t.Parallel()
	g, f := shared(t), newFamily()
	var events []recording.GraphRow
	for version := range int64(5) {
		events = append(events, f.rows(version+1)...)
	}
	last := f.rows(5)
	for range 3 {
		rand.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		for batch := range slices.Chunk(append(slices.Clone(events), events[:7]...), 6) {
			apply(t, g, batch...)
		}
		shows(t, g, last...)
	}
}

// Many at once apply versions in their own orders: the highest one wins, with its edges.
func TestVersionGuard(t *testing.T) {
	t.Parallel()
	g, f := shared(t), newFamily()
	const writers, versions = 6, 6
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for _, version := range rand.Perm(versions) {
				rows := f.rows(int64(version) + 1)
				rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
				if refused, err := g.Apply(t.Context(), time.Now(), rows[:1+rand.N(len(rows))]); err != nil || len(refused) > 0 {
					t.Errorf("%v, %v", refused, err)
				}
				if refused, err := g.Apply(t.Context(), time.Now(), rows); err != nil || len(refused) > 0 {
					t.Errorf("%v, %v", refused, err)
				}
			}
		})
	}
	wg.Wait()
	shows(t, g, f.rows(versions)...)
}

// A tombstone keeps what comes late from raising the dead.
func TestTombstone(t *testing.T) {
	t.Parallel()
	g, f := shared(t), newFamily()
	rows := f.rows(3)
	apply(t, g, rows...)
	recordingDead, storyDead := deleted(rows[4], 5), deleted(rows[1], 5)
	apply(t, g, recordingDead, storyDead)
	shows(t, g, recordingDead, storyDead)
	apply(t, g, f.rows(4)...)
	shows(t, g, recordingDead, storyDead)
	shows(t, g, f.rows(4)[0], f.rows(4)[2])
	apply(t, g, recordingDead) // again
	shows(t, g, recordingDead)

	// One that comes before anything else of its row.
	other := newFamily()
	dead := deleted(other.rows(1)[4], 2)
	apply(t, g, dead)
	apply(t, g, other.rows(1)...)
	shows(t, g, dead, other.rows(1)[0])
}

// A row that can't be written is refused, and the others of its batch are written.
func TestRefusals(t *testing.T) {
	t.Parallel()
	server := neo4jtest.Alone(t)
	g := open(t, server.Where())
	if err := g.Migrate(t.Context(), quiet()); err != nil {
		t.Fatal(err)
	}
	for name, of := range map[string]string{
		"CONSTRAINT one_anna": "FOR (n:Person) REQUIRE n.name IS UNIQUE",
		"INDEX topic_names":   "FOR (n:Topic) ON (n.name)",
	} {
		neo4jtest.Query(t, server.Where(), "CREATE "+name+" "+of, nil)
		t.Cleanup(func() { neo4jtest.Query(t, server.Where(), "DROP "+name, nil) })
	}
	first := newFamily()
	apply(t, g, first.rows(1)...)

	var rows []recording.GraphRow
	poison := map[uuid.UUID]string{}
	for i := range 6 {
		f := newFamily()
		list := f.rows(1)
		switch i {
		case 2: // there is an Anna!
			poison[f.anna] = "Neo.ClientError.Schema.ConstraintValidationFailed"
		case 4: // too long for an index
			list[3].Name = strings.Repeat("bread", 20_000)
			list[2].Name = f.anna.String()
			poison[f.bread] = "Neo"
		case 5: // of a kind that nobody knows
			list[3].Entity = "smell"
			list[2].Name = f.anna.String()
			poison[f.bread] = "unknown kind"
		default:
			list[2].Name = f.anna.String()
		}
		rows = append(rows, list...)
	}
	refused, err := g.Apply(t.Context(), time.Now(), rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range refused {
		if !strings.HasPrefix(r.Reason, poison[r.Ref.ID]) || poison[r.Ref.ID] == "" || strings.Contains(r.Reason, "bread") {
			t.Errorf("%v is refused for %q, want %q", r.Ref, r.Reason, poison[r.Ref.ID])
		}
	}
	if len(refused) != len(poison) {
		t.Errorf("%d rows are refused, want %d: %v", len(refused), len(poison), refused)
	}
	for _, row := range rows {
		if poison[row.ID] == "" {
			shows(t, g, row)
		}
	}
}

// A row that can't be written in time although the server answers is refused, so that it
// is not tried for ever.
func TestTooSlow(t *testing.T) {
	t.Parallel()
	g, f := shared(t), newFamily()
	user := f.rows(1)[0]
	session := g.driver.NewSession(t.Context(), neo4j.SessionConfig{})
	defer session.Close(t.Context())
	holder, err := session.BeginTransaction(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close(t.Context())
	if _, err := holder.Run(t.Context(), lockNodes, map[string]any{"ids": []string{user.ID.String()}}); err != nil {
		t.Fatal(err)
	}
	refused, err := g.Apply(t.Context(), time.Now(), []recording.GraphRow{user})
	if err != nil || len(refused) != 1 || refused[0].Ref != user.GraphRef || refused[0].Reason != "not written in 15s" {
		t.Errorf("refused are %+v, %v", refused, err)
	}
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	apply(t, g, user)
	shows(t, g, user)
}
