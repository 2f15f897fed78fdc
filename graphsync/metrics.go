package graphsync

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	rows    *prometheus.CounterVec
	batches *prometheus.HistogramVec
	purged  prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reprise_graph_rows_total", Help: "Rows written into the graph, or refused by it.",
		}, []string{"outcome"}),
		batches: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "reprise_graph_batch_duration_seconds", Help: "How long batches of rows took to be written.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15},
		}, []string{"outcome"}),
		purged: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "reprise_graph_tombstones_purged_total", Help: "Tombstones that were deleted from the graph.",
		}),
	}
	r.MustRegister(m.rows, m.batches, m.purged)
	return m
}
