package graphsync

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

// TestModel changes what two owners have, at random, and drains it through everything
// that can go wrong: batches that are lost, doubled, late and out of order, drainers that
// die between writing and noting it, a server that is killed and one that hangs. At the
// end both sides are equal. REPRISE_SEED=n runs the one of that seed again.
func TestModel(t *testing.T) {
	t.Parallel()
	runs, steps := 1, 40
	if os.Getenv("REPRISE_SOAK") != "" {
		runs, steps = 20, 400
	}
	seeds := make([]uint64, runs)
	for i := range seeds {
		seeds[i] = rand.Uint64N(1_000_000)
	}
	if seed, err := strconv.ParseUint(os.Getenv("REPRISE_SEED"), 10, 64); err == nil {
		seeds = []uint64{seed}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := &model{world: newWorld(t), rand: rand.New(rand.NewPCG(seed, 0))}
			m.drained = m.drainer()
			m.drained.o.Outbox = m
			m.drained.o.BatchRows = 5
			for _, name := range []string{"alice", "bob"} {
				m.owners = append(m.owners, &owner{id: m.user(name), name: name})
			}
			// The server's ends are dear: each comes at its own places.
			kills := []int{m.rand.IntN(steps)}
			freezes := []int{m.rand.IntN(steps)}
			for step := range steps {
				m.change()
				m.drainSome()
				if slices.Contains(kills, step) {
					m.kill()
				}
				if slices.Contains(freezes, step) {
					m.freeze()
				}
			}
			m.finish()
			if t.Failed() {
				t.Logf("REPRISE_SEED=%d:\n%s", seed, strings.Join(m.history, "\n"))
			}
		})
	}
}

type model struct {
	*world
	rand    *rand.Rand
	owners  []*owner
	drained *Drainer
	history []string

	kept [][]recording.GraphRow // batches of before, to come late
	away bool                   // the server is
}

// owner is somebody with what they have, by what the test knows of it.
type owner struct {
	id         uuid.UUID
	name       string
	recordings []uuid.UUID
	stories    []uuid.UUID
}

// fault says what becomes of a batch.
type fault int

const (
	_     fault = iota // none
	lost               // nothing is written
	noAck              // it is written, and the drainer dies before it has noted that
	late               // one of before is written after it
	cut                // a part of it is written, then the drainer dies
)

// DrainGraph implements Outbox: the database's, with a fault in it.
func (m *model) DrainGraph(ctx context.Context, limit int, apply func(context.Context, []recording.GraphRow) ([]recording.GraphRefusal, error)) (int, error) {
	return m.Catalog.DrainGraph(ctx, limit, func(ctx context.Context, rows []recording.GraphRow) ([]recording.GraphRefusal, error) {
		died := errors.New("the drainer has died")
		what := fault(m.rand.IntN(8))
		m.note("a batch of %d rows, fault %d", len(rows), what)
		m.kept = append(m.kept, rows)
		switch what {
		case lost:
			return nil, died
		case noAck:
			_, err := apply(ctx, rows)
			return nil, errors.Join(err, died)
		case cut:
			_, err := apply(ctx, rows[:len(rows)/2])
			return nil, errors.Join(err, died)
		case late:
			refused, err := apply(ctx, rows)
			if err == nil {
				_, err = apply(ctx, m.kept[m.rand.IntN(len(m.kept))])
			}
			return refused, err
		}
		return apply(ctx, rows)
	})
}

func (m *model) note(format string, args ...any) {
	m.history = append(m.history, fmt.Sprintf(format, args...))
}

// change makes one change.
func (m *model) change() {
	o := m.owners[m.rand.IntN(len(m.owners))]
	ctx := m.t.Context()
	what := m.rand.IntN(14)
	m.note("%s: change %d", o.name, what)
	switch {
	case what < 3 || len(o.recordings) == 0:
		id := m.ready(o.id, pick(m.rand, append(o.stories, uuid.Nil)))
		o.recordings = append(o.recordings, id)
		m.find(o, id)
	case what == 3:
		m.find(o, pick(m.rand, o.recordings))
	case what == 4:
		title := fmt.Sprint("Title ", m.rand.IntN(100))
		story := pick(m.rand, append(o.stories, uuid.Nil))
		_, err := m.PatchRecording(ctx, o.id, pick(m.rand, o.recordings), recording.RecordingPatch{Title: &title, StoryID: &story})
		m.must(err)
	case what == 5:
		i := m.rand.IntN(len(o.recordings))
		m.must(m.DeleteRecording(ctx, o.id, o.recordings[i]))
		o.recordings = slices.Delete(o.recordings, i, i+1)
	case what == 6 || what == 7 && len(o.stories) == 0:
		story, err := m.CreateStory(ctx, o.id, fmt.Sprint("Story ", m.rand.IntN(100)))
		m.must(err)
		o.stories = append(o.stories, story.ID)
	case what == 7:
		i := m.rand.IntN(len(o.stories))
		m.must(m.DeleteStory(ctx, o.id, o.stories[i]))
		o.stories = slices.Delete(o.stories, i, i+1)
	case what == 8:
		_, err := m.SeeUser(ctx, recording.Profile{Subject: "dev:" + o.name, Name: fmt.Sprint(o.name, m.rand.IntN(100)), IssuedAt: time.Now()})
		m.must(err)
	case what == 12:
		id := pick(m.rand, o.recordings)
		_, err := m.RemakeArtifacts(ctx, id)
		m.must(err)
		m.drainSome()
		m.must(m.CompleteStage(ctx, id, recording.StageTranscode, recording.StageResult{}))
	case what == 13:
		m.purge()
	default:
		m.changeEntities(o, what)
	}
}

// purge is what happens hours later: old tombstones go, and no batch of before comes.
func (m *model) purge() {
	if m.away {
		return
	}
	m.kept = nil
	m.query("MATCH (n:Projected) SET n.deletedAt = n.deletedAt - duration('PT2H')", nil)
	_, err := m.graph.purge(m.t.Context(), time.Now().Add(-tombstoneTime))
	m.must(err)
}

// find has a recording analysed: some of few people are mentioned, so that owners' and
// recordings' overlap.
func (m *model) find(o *owner, id uuid.UUID) {
	people := []string{"Anna", "Otto", "Grandma", "Ben", "Carla"}
	m.rand.Shuffle(len(people), func(i, j int) { people[i], people[j] = people[j], people[i] })
	m.analyse(o.id, id, pick(m.rand, []string{"bread", "war"}), people[:m.rand.IntN(4)]...)
}

func (m *model) changeEntities(o *owner, what int) {
	ctx := m.t.Context()
	rows, err := m.pool.Query(ctx, `SELECT id FROM entities WHERE owner_id = $1 AND kind = 'person' ORDER BY key`, o.id)
	m.must(err)
	var people []uuid.UUID
	for rows.Next() {
		var id uuid.UUID
		m.must(rows.Scan(&id))
		people = append(people, id)
	}
	m.must(rows.Err())
	if len(people) == 0 {
		return
	}
	one, other := pick(m.rand, people), pick(m.rand, people)
	switch what {
	case 9:
		_, err = m.RenameEntity(ctx, o.id, one, fmt.Sprint("Name ", m.rand.IntN(100)))
	case 10:
		_, err = m.MergeEntities(ctx, o.id, one, other)
	default:
		_, err = m.SplitEntity(ctx, o.id, one, other)
	}
	if code := recording.CodeOf(err); err != nil && (code == recording.CodeInternal || code == recording.CodeUnavailable) {
		m.t.Fatal(err) // the others say that these two can't
	}
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// drainSome drains up to two batches, and dies if it must.
func (m *model) drainSome() {
	for range m.rand.IntN(3) {
		_, _ = m.drained.runOnce(m.t.Context())
		m.drained.away = false // another one takes over
	}
}

// kill ends the server while something waits, and starts it again.
func (m *model) kill() {
	m.note("the server is killed")
	m.server.Kill()
	m.away = true
	m.change()
	m.away = false
	if _, err := m.drained.runOnce(m.t.Context()); err == nil {
		m.t.Error("a dead server has taken something")
	}
	m.must(m.server.Restart(m.t.Context()))
}

// freeze has the server hang while a batch is on its way, which it may write when it
// goes on.
func (m *model) freeze() {
	m.note("the server hangs")
	m.server.Freeze()
	defer m.server.Thaw()
	m.away = true
	m.change()
	m.away = false
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Second)
	defer cancel()
	n, err := m.Catalog.DrainGraph(ctx, 5, func(ctx context.Context, rows []recording.GraphRow) ([]recording.GraphRefusal, error) {
		return m.graph.Apply(ctx, time.Now(), rows)
	})
	if err == nil && n > 0 {
		m.t.Error("a server that hangs has taken something")
	}
}

// finish drains all that is left, without faults, and compares.
func (m *model) finish() {
	m.drain()
	for _, rows := range m.kept[max(0, len(m.kept)-3):] {
		_, err := m.graph.Apply(m.t.Context(), time.Now(), rows)
		m.must(err)
	}
	m.equal()
	if n := m.query("MATCH (n:Recording) RETURN count(n) AS n", nil)[0]["n"]; n != int64(len(m.owners[0].recordings)+len(m.owners[1].recordings)) {
		m.t.Errorf("the graph has %v recordings, want %d and %d", n, len(m.owners[0].recordings), len(m.owners[1].recordings))
	}
}
