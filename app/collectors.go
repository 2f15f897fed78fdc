package app

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"reprise/catalog"
)

// buildInfo is a constant metric whose labels say what runs.
func buildInfo(version string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "reprise_build_info", Help: "Always 1; the labels say which build this is.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	})
	g.Set(1)
	return g
}

// poolCollector reports the database pool's figures when it is scraped.
type poolCollector struct {
	pool                          *pgxpool.Pool
	max, total, idle, acquired    *prometheus.Desc
	acquires, waits, waitDuration *prometheus.Desc
}

func newPoolCollector(pool *pgxpool.Pool) *poolCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("reprise_db_pool_"+name, help, nil, nil)
	}
	return &poolCollector{
		pool:         pool,
		max:          desc("max_connections", "Connections the pool may open."),
		total:        desc("connections", "Connections that are open."),
		idle:         desc("idle_connections", "Open connections that nobody uses."),
		acquired:     desc("acquired_connections", "Connections in use."),
		acquires:     desc("acquires_total", "Times a connection was taken from the pool."),
		waits:        desc("waits_total", "Times somebody had to wait for a connection."),
		waitDuration: desc("acquire_seconds_total", "Time spent on taking connections."),
	}
}

func (c *poolCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

func (c *poolCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.pool.Stat()
	gauge := func(d *prometheus.Desc, v float64) { ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	counter := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v)
	}
	gauge(c.max, float64(s.MaxConns()))
	gauge(c.total, float64(s.TotalConns()))
	gauge(c.idle, float64(s.IdleConns()))
	gauge(c.acquired, float64(s.AcquiredConns()))
	counter(c.acquires, float64(s.AcquireCount()))
	counter(c.waits, float64(s.EmptyAcquireCount()))
	counter(c.waitDuration, s.AcquireDuration().Seconds())
}

// jobCollector counts the jobs in the queue when it is scraped.
type jobCollector struct {
	jobs  func(context.Context) ([]catalog.JobCount, error)
	now   func() time.Time
	log   *slog.Logger
	count *prometheus.Desc
	age   *prometheus.Desc
}

func newJobCollector(c *catalog.Catalog, log *slog.Logger) *jobCollector {
	labels := []string{"kind", "state"}
	return &jobCollector{
		jobs: c.JobCounts, now: time.Now, log: log,
		count: prometheus.NewDesc("reprise_jobs", "Unfinished jobs by kind and state, over all replicas.", labels, nil),
		age:   prometheus.NewDesc("reprise_jobs_oldest_seconds", "How long the oldest unfinished job has been due; 0 if it isn't yet.", labels, nil),
	}
}

func (c *jobCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.count
	ch <- c.age
}

func (c *jobCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	counts, err := c.jobs(ctx)
	if err != nil { // the scrape goes on without: /readyz says what is wrong
		c.log.WarnContext(ctx, "count jobs", slog.Any("error", err))
		return
	}
	for _, j := range counts {
		ch <- prometheus.MustNewConstMetric(c.count, prometheus.GaugeValue, float64(j.Count), j.Kind, j.State)
		age := max(0, c.now().Sub(j.OldestAt).Seconds())
		ch <- prometheus.MustNewConstMetric(c.age, prometheus.GaugeValue, age, j.Kind, j.State)
	}
}
