package catalog_test

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"reprise/recording"
)

// ready makes a recording that is ready, waits for an analysis and has a transcript.
func (r *rig) ready(owner uuid.UUID, story uuid.UUID) uuid.UUID {
	r.t.Helper()
	ctx := r.t.Context()
	id := r.receive(owner).RecordingID
	if story != uuid.Nil {
		_, err := r.PatchRecording(ctx, owner, id, recording.RecordingPatch{StoryID: &story})
		must(r.t, err)
	}
	must(r.t, r.CompleteStage(ctx, id, recording.StageStore, recording.StageResult{
		Media: &recording.Media{DurationMs: 63_000}, Insight: recording.StageAnalyse,
	}))
	r.transcribe(id, "en", "hello")
	return id
}

// about makes an analysis of what is found: people, each as often as they are named.
func about(people ...string) recording.Analysis {
	a := recording.Analysis{}
	for i, name := range people {
		at := recording.Mention{AtMs: int64(i+1) * 1000, Text: name, Length: len(name)}
		j := slices.IndexFunc(a.Entities, func(e recording.Entity) bool { return e.Name == name })
		if j < 0 {
			j = len(a.Entities)
			a.Entities = append(a.Entities, recording.Entity{Kind: recording.EntityPerson, Name: name})
		}
		a.Entities[j].Mentions = append(a.Entities[j].Mentions, at)
	}
	return a
}

// analyse completes an analysis of a recording, asking for another one if none is due.
func (r *rig) analyse(id uuid.UUID, a recording.Analysis) {
	r.t.Helper()
	must(r.t, r.tryAnalyse(r.t.Context(), id, a))
}

func (r *rig) tryAnalyse(ctx context.Context, id uuid.UUID, a recording.Analysis) error {
	var owner uuid.UUID
	job := recording.InsightJob{RecordingID: id, Stage: recording.StageAnalyse}
	var state recording.InsightState
	if err := r.pool.QueryRow(ctx, `SELECT owner_id, run, i.state FROM insights i JOIN recordings r ON r.id = recording_id WHERE r.id = $1`, id).
		Scan(&owner, &job.Run, &state); err != nil {
		return err
	}
	if state != recording.InsightWaiting {
		if _, err := r.Reprocess(ctx, owner, id, recording.Reprocessing{Stages: []recording.Stage{recording.StageAnalyse}}); err != nil {
			return err
		}
		job.Run++
	}
	return r.CompleteAnalysis(ctx, job, a)
}

// entity returns the id of an entity of somebody by its key.
func (r *rig) entity(owner uuid.UUID, key string) uuid.UUID {
	r.t.Helper()
	var id uuid.UUID
	must(r.t, r.pool.QueryRow(r.t.Context(), `SELECT id FROM entities WHERE owner_id = $1 AND key = $2`, owner, key).Scan(&id))
	return id
}

// graph is a graph in memory: rows by what they are of, guarded by their version.
type graph struct {
	mu      sync.Mutex
	rows    map[recording.GraphRef]recording.GraphRow
	batches [][]recording.GraphRow
}

func newGraph() *graph { return &graph{rows: map[recording.GraphRef]recording.GraphRow{}} }

func (g *graph) apply(_ context.Context, rows []recording.GraphRow) ([]recording.GraphRefusal, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.batches = append(g.batches, rows)
	for _, row := range rows {
		if was, ok := g.rows[row.GraphRef]; !ok || was.Version < row.Version {
			g.rows[row.GraphRef] = row
		}
	}
	return nil, nil
}

// drain applies all that is due.
func (r *rig) drain(g *graph) {
	r.t.Helper()
	for {
		n, err := r.DrainGraph(r.t.Context(), 100, g.apply)
		must(r.t, err)
		if n < 100 {
			return
		}
	}
}

// shown are the rows of a graph that are no tombstones, in the order of GraphRows.
func (g *graph) shown() []recording.GraphRow {
	list := slices.DeleteFunc(slices.Collect(maps.Values(g.rows)), func(row recording.GraphRow) bool { return row.Deleted })
	kinds := recording.GraphKinds()
	slices.SortFunc(list, func(a, b recording.GraphRow) int {
		if a.Kind != b.Kind {
			return slices.Index(kinds, a.Kind) - slices.Index(kinds, b.Kind)
		}
		return bytes.Compare(a.ID[:], b.ID[:])
	})
	return list
}

// truth is what the graph is to show, in pages of three.
func (r *rig) truth() []recording.GraphRow {
	r.t.Helper()
	var list []recording.GraphRow
	for _, kind := range recording.GraphKinds() {
		after := uuid.Nil
		for {
			page, err := r.GraphRows(r.t.Context(), kind, after, 3)
			must(r.t, err)
			list = append(list, page...)
			if len(page) < 3 {
				break
			}
			after = page[2].ID
		}
	}
	return list
}

// equal drains, and compares the graph with the truth.
func (r *rig) equal(g *graph) {
	r.t.Helper()
	r.drain(g)
	if diff := cmp.Diff(r.truth(), g.shown(), cmpopts.EquateEmpty()); diff != "" {
		r.t.Errorf("the graph is not what Postgres says (-Postgres +graph):\n%s", diff)
	}
}

// facts are what the graph shows of a recording.
func (g *graph) facts(id uuid.UUID) *recording.GraphFacts {
	return g.rows[recording.GraphRef{Kind: recording.GraphRecording, ID: id}].Recording
}

// mentioned are the names that the graph shows a recording to mention, with counts.
func (g *graph) mentioned(id uuid.UUID) map[string]int {
	names := map[string]int{}
	for _, m := range g.facts(id).Mentions {
		names[g.rows[recording.GraphRef{Kind: recording.GraphEntity, ID: m.EntityID}].Name] = m.Count
	}
	return names
}
