package graphsync

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reprise/recording"
)

const (
	// batchRows is how many rows are written at a time.
	batchRows = 500
	// pollTime is how often it is looked whether something has changed.
	pollTime = time.Second
	// While the graph is away it is asked ever more seldom whether it is back.
	minPause, maxPause = time.Second, 15 * time.Second

	// tombstoneTime is how much older than everything that waits a tombstone is when it is
	// purged: nothing that was read so long ago is still to be written.
	tombstoneTime = time.Hour
	purgeTime     = 10 * time.Minute
)

// Outbox is what a Drainer asks of Postgres; package catalog says what the methods
// promise.
type Outbox interface {
	DrainGraph(ctx context.Context, limit int, apply func(context.Context, []recording.GraphRow) ([]recording.GraphRefusal, error)) (n int, err error)
	GraphWatermark(ctx context.Context) (time.Time, error)
}

// DrainerOptions say what to drain into which graph.
type DrainerOptions struct {
	Graph   *Graph
	Outbox  Outbox
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// BatchRows is how many rows are written at a time; 0 means 500.
	BatchRows int
}

// Drainer writes what has changed into the graph. Several may run at once, in as many
// processes.
type Drainer struct {
	o       DrainerOptions
	metrics *metrics

	limit  int       // rows of the next batch
	purged time.Time // when tombstones were purged last
	away   bool      // the last batch did not get through
}

// NewDrainer makes a Drainer.
func NewDrainer(o DrainerOptions) *Drainer {
	if o.BatchRows == 0 {
		o.BatchRows = batchRows
	}
	o.Log = o.Log.With("component", "graphsync")
	return &Drainer{o: o, metrics: newMetrics(o.Metrics), limit: o.BatchRows}
}

// Run drains until ctx ends.
func (d *Drainer) Run(ctx context.Context) error {
	pause := minPause
	for {
		more, err := d.runOnce(ctx)
		wait := time.Duration(0)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			d.report(ctx, err)
			wait = pause/2 + rand.N(pause/2) // not all replicas at once
			pause = min(2*pause, maxPause)
		case !more:
			wait = pollTime
			fallthrough
		default:
			pause = minPause
			if d.away {
				d.away = false
				d.o.Log.InfoContext(ctx, "the graph is back")
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// report logs once that the graph is away, and what else is wrong each time.
func (d *Drainer) report(ctx context.Context, err error) {
	known := d.away && recording.CodeOf(err) == recording.CodeUnavailable
	d.away = true
	if known {
		return
	}
	d.o.Log.WarnContext(ctx, "the graph is not up to date; what has changed waits in the database", slog.Any("error", err))
}

// runOnce writes one batch, and reports whether there may be more.
func (d *Drainer) runOnce(ctx context.Context) (more bool, err error) {
	// Asked each time, because the graph may be another one than before, and without
	// holding rows that another replica might get through with.
	if err := d.o.Graph.CheckMigrated(ctx); err != nil {
		return false, err
	}
	read := time.Now()
	n, err := d.o.Outbox.DrainGraph(ctx, d.limit, func(ctx context.Context, rows []recording.GraphRow) ([]recording.GraphRefusal, error) {
		return d.apply(ctx, read, rows)
	})
	if err != nil {
		// A smaller batch gets through where one was too much for the time that there is.
		d.limit = max(1, d.limit/2)
		return false, err
	}
	more = n == d.limit
	d.limit = min(2*d.limit, d.o.BatchRows)
	if !more && time.Since(d.purged) > purgeTime {
		d.purged = time.Now()
		return false, d.purge(ctx)
	}
	return more, nil
}

// apply writes a batch and counts it.
func (d *Drainer) apply(ctx context.Context, read time.Time, rows []recording.GraphRow) ([]recording.GraphRefusal, error) {
	start := time.Now()
	refused, err := d.o.Graph.Apply(ctx, read, rows)
	outcome := "applied"
	switch {
	case err != nil && ctx.Err() != nil:
		outcome = "stopped"
	case err != nil:
		outcome = "unavailable"
	case len(refused) > 0:
		outcome = "refused"
	}
	d.metrics.batches.WithLabelValues(outcome).Observe(time.Since(start).Seconds())
	if err == nil {
		d.metrics.rows.WithLabelValues("applied").Add(float64(len(rows) - len(refused)))
		d.metrics.rows.WithLabelValues("refused").Add(float64(len(refused)))
	}
	for _, r := range refused {
		d.o.Log.WarnContext(ctx, "the graph refuses a row", slog.String("kind", string(r.Ref.Kind)),
			slog.String("id", r.Ref.ID.String()), slog.String("reason", r.Reason))
	}
	return refused, err
}

// purge deletes tombstones that nothing can come too late for any more.
func (d *Drainer) purge(ctx context.Context) error {
	watermark, err := d.o.Outbox.GraphWatermark(ctx)
	if err != nil {
		return err
	}
	purged, err := d.o.Graph.purge(ctx, watermark.Add(-tombstoneTime))
	d.metrics.purged.Add(float64(purged))
	return err
}
