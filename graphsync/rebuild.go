package graphsync

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

// Rebuilding is what a rebuild asks of Postgres besides reading it.
type Rebuilding interface {
	Source
	GraphCounts(ctx context.Context) (map[recording.GraphKind]int64, error)
	GraphRebuild(ctx context.Context) (recording.GraphRebuild, error)
	SaveGraphRebuild(ctx context.Context, r recording.GraphRebuild) error
}

// RebuildOptions say how to rebuild.
type RebuildOptions struct {
	Graph  *Graph
	Source Rebuilding
	// Restart begins anew, also if a rebuild was interrupted.
	Restart bool
	// Progress, if set, is told how far it is after each batch.
	Progress func(Progress)
	// BatchRows is how many rows are written at a time; 0 means 500.
	BatchRows int
	// Report is told of what the comparison at the end has found and mended.
	Report     Report
	SettleTime time.Duration // as in VerifyOptions
}

// Progress says how far a rebuild is.
type Progress struct {
	Kind    recording.GraphKind // that is being written; "" while both sides are compared
	Resumed bool                // it goes on where an earlier one was interrupted
	Written int64               // rows, by this run
	Total   int64               // rows that this run has to write
	Took    time.Duration       // since this run began
}

// Rebuild writes everything that Postgres has into the graph, over what is there of the
// same version, then compares both sides and mends what still differs: what the graph has
// and should not, and what it has of a newer version. Servers may run meanwhile. What an
// interrupted one has written is not written again. It returns rows that the graph
// refuses.
func Rebuild(ctx context.Context, o RebuildOptions) ([]recording.GraphRefusal, Summary, error) {
	if o.BatchRows == 0 {
		o.BatchRows = batchRows
	}
	refused, err := (&rebuild{RebuildOptions: o, started: time.Now()}).run(ctx)
	if err != nil {
		return refused, Summary{}, err
	}
	sum, err := Verify(ctx, VerifyOptions{Graph: o.Graph, Source: o.Source, Report: o.Report, Repair: true, SettleTime: o.SettleTime})
	if err == nil {
		err = o.Source.SaveGraphRebuild(ctx, recording.GraphRebuild{})
	}
	return refused, sum, err
}

type rebuild struct {
	RebuildOptions
	started  time.Time
	progress Progress
}

func (r *rebuild) run(ctx context.Context) (refused []recording.GraphRefusal, err error) {
	at, err := r.Source.GraphRebuild(ctx)
	if err != nil {
		return nil, err
	}
	kinds := recording.GraphKinds()
	r.progress.Resumed = !at.StartedAt.IsZero() && !r.Restart
	if !r.progress.Resumed {
		at = recording.GraphRebuild{StartedAt: r.started, Kind: kinds[0]}
	}
	kinds = kinds[max(0, slices.Index(kinds, at.Kind)):]
	counts, err := r.Source.GraphCounts(ctx)
	if err != nil {
		return nil, err
	}
	for i, kind := range kinds {
		if i > 0 {
			at.After = uuid.Nil
		}
		r.progress.Total = r.progress.Written // a resumed kind has fewer than are counted
		for _, left := range kinds[i:] {
			r.progress.Total += counts[left]
		}
		at.Kind = kind
		more, err := r.writeKind(ctx, at)
		refused = append(refused, more...)
		if err != nil {
			return refused, err
		}
	}
	r.progress.Total = r.progress.Written
	r.tell("")
	return refused, nil
}

// writeKind writes the rows of a kind, from where the rebuild is.
func (r *rebuild) writeKind(ctx context.Context, at recording.GraphRebuild) (refused []recording.GraphRefusal, err error) {
	for {
		if err := r.Source.SaveGraphRebuild(ctx, at); err != nil {
			return refused, err
		}
		r.tell(at.Kind)
		read := time.Now()
		rows, err := r.Source.GraphRows(ctx, at.Kind, at.After, r.BatchRows)
		if err != nil || len(rows) == 0 {
			return refused, err
		}
		changes := make([]change, len(rows))
		for i, row := range rows {
			changes[i] = change{row, row.Version}
		}
		more, err := r.Graph.apply(ctx, read, changes)
		refused = append(refused, more...)
		if err != nil {
			return refused, err
		}
		r.progress.Written += int64(len(rows))
		at.After = rows[len(rows)-1].ID
	}
}

func (r *rebuild) tell(kind recording.GraphKind) {
	r.progress.Kind, r.progress.Took = kind, time.Since(r.started)
	if r.Progress != nil {
		r.Progress(r.progress)
	}
}
