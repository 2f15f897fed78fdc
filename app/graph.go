package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reprise/catalog"
	"reprise/config"
	"reprise/graphsync"
	"reprise/recording"
)

// openGraph opens the graph that is configured. Its server may be away.
func openGraph(cfg config.Neo4j) (*graphsync.Graph, error) {
	return graphsync.Open(graphsync.Options{URL: cfg.Neo4jURL, User: cfg.Neo4jUser, Password: string(cfg.Neo4jPassword)})
}

func migrateGraph(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	if cfg.Neo4jURL == "" {
		return nil
	}
	graph, err := openGraph(cfg.Neo4j)
	if err != nil {
		return err
	}
	defer graph.Close(context.WithoutCancel(ctx))
	return graph.Migrate(ctx, log)
}

// startGraph opens the graph if there is one, and in a worker writes what has changed
// into it. A graph that is away, or not migrated, makes nothing wait.
func (s *server) startGraph(context.Context) (err error) {
	if s.o.Config.Neo4jURL == "" {
		return nil
	}
	if s.graph, err = openGraph(s.o.Config.Neo4j); err != nil {
		return err
	}
	s.life.onStop("graph", s.graph.Close)
	s.ready.watch("graph", s.graphState)
	s.registry.MustRegister(newGraphCollector(s.catalog, s.o.Log))
	if s.o.Worker {
		drainer := graphsync.NewDrainer(graphsync.DrainerOptions{
			Graph: s.graph, Outbox: s.catalog, Log: s.o.Log, Metrics: s.registry,
		})
		s.background("graphsync", drainer.Run)
	}
	return nil
}

// graphState says how far the graph is behind.
func (s *server) graphState(ctx context.Context) string {
	backlog, err := s.catalog.GraphBacklog(ctx)
	if err != nil {
		return "not known: the database does not answer"
	}
	text := "up to date"
	if backlog.Rows > 0 {
		text = fmt.Sprintf("%d rows behind, by %s", backlog.Rows, time.Since(backlog.Oldest).Round(time.Second))
	}
	if backlog.Dead > 0 {
		text += fmt.Sprintf("; %d dead letters", backlog.Dead)
	}
	// Not so long that whoever asks takes the server for one that does not answer.
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	switch err := s.graph.Ping(ctx); {
	case errors.Is(err, graphsync.ErrCredentials):
		text += "; " + graphsync.ErrCredentials.Error()
	case err != nil:
		text += "; Neo4j does not answer"
	}
	return text
}

// graphCollector reports how far the graph is behind when it is scraped.
type graphCollector struct {
	backlog         func(context.Context) (recording.GraphBacklog, error)
	now             func() time.Time
	log             *slog.Logger
	rows, lag, dead *prometheus.Desc
}

func newGraphCollector(c *catalog.Catalog, log *slog.Logger) *graphCollector {
	return &graphCollector{
		backlog: c.GraphBacklog, now: time.Now, log: log,
		rows: prometheus.NewDesc("reprise_graph_backlog_rows", "Rows that wait to be written into the graph, over all replicas.", nil, nil),
		lag:  prometheus.NewDesc("reprise_graph_lag_seconds", "How long the oldest of them has waited.", nil, nil),
		dead: prometheus.NewDesc("reprise_graph_dead_letters", "Rows that the graph has refused too often.", nil, nil),
	}
}

func (c *graphCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

func (c *graphCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	backlog, err := c.backlog(ctx)
	if err != nil { // the scrape goes on without: /readyz says what is wrong
		c.log.WarnContext(ctx, "count what the graph waits for", slog.Any("error", err))
		return
	}
	lag := 0.0
	if !backlog.Oldest.IsZero() {
		lag = max(0, c.now().Sub(backlog.Oldest).Seconds())
	}
	for desc, value := range map[*prometheus.Desc]float64{c.rows: float64(backlog.Rows), c.lag: lag, c.dead: float64(backlog.Dead)} {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
}

// GraphOptions say what an operator does with the graph. The Config has passed CheckGraph,
// or for RetryGraph CheckDatabase.
type GraphOptions struct {
	Config   config.Config
	JSON     bool      // report as one JSON document, else as a table
	Out      io.Writer // where the report goes
	Progress io.Writer // where it is told how far a rebuild is
	Log      *slog.Logger
}

// withGraph opens both sides for what a command does.
func withGraph(ctx context.Context, o GraphOptions, do func(*catalog.Catalog, *graphsync.Graph, graphsync.Report) error) error {
	pool, err := openPool(ctx, string(o.Config.DatabaseURL), nil)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := catalog.CheckMigrated(ctx, pool, o.Log); err != nil {
		return err
	}
	source, err := catalog.New(catalog.Options{Pool: pool})
	if err != nil {
		return err
	}
	graph, err := openGraph(o.Config.Neo4j)
	if err != nil {
		return err
	}
	defer graph.Close(context.WithoutCancel(ctx))
	if err := graph.CheckMigrated(ctx); err != nil {
		return err
	}
	var report graphsync.Report = graphsync.NewTable(o.Out)
	if o.JSON {
		report = graphsync.NewJSON(o.Out)
	}
	return do(source, graph, report)
}

// VerifyGraph compares the graph with the database, and returns how many differences it
// has found, repaired or not.
func VerifyGraph(ctx context.Context, o GraphOptions, repair bool) (differences int, err error) {
	err = withGraph(ctx, o, func(source *catalog.Catalog, graph *graphsync.Graph, report graphsync.Report) error {
		sum, err := graphsync.Verify(ctx, graphsync.VerifyOptions{Graph: graph, Source: source, Report: report, Repair: repair})
		differences = sum.Differences
		if err == nil && sum.Unsettled > 0 {
			err = fmt.Errorf("%d rows changed each time they were looked at: run it again", sum.Unsettled)
		}
		return err
	})
	return differences, err
}

// RebuildGraph writes the whole graph from the database.
func RebuildGraph(ctx context.Context, o GraphOptions, restart bool) error {
	return withGraph(ctx, o, func(source *catalog.Catalog, graph *graphsync.Graph, report graphsync.Report) error {
		refused, sum, err := graphsync.Rebuild(ctx, graphsync.RebuildOptions{
			Graph: graph, Source: source, Restart: restart, Report: report, Progress: newGraphProgress(o.Progress).tell,
		})
		if err != nil {
			return err
		}
		if left := sum.Differences - sum.Repaired; left > 0 {
			return fmt.Errorf("the graph refuses %d rows, and still differs from the database in %d places", len(refused), left)
		}
		return nil
	})
}

// RetryGraph gives what the graph has refused too often another try.
func RetryGraph(ctx context.Context, o GraphOptions) error {
	return withUsers(ctx, UserOptions{Config: o.Config}, func(c *catalog.Catalog) error {
		n, err := c.RetryGraph(ctx)
		if err == nil {
			_, err = fmt.Fprintf(o.Out, "%d dead letters are tried again\n", n)
		}
		return err
	})
}
