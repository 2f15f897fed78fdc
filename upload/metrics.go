package upload

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	created  prometheus.Counter
	bytes    prometheus.Counter
	outcomes *prometheus.CounterVec
	duration prometheus.Histogram
	active   prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		created: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "reprise_uploads_created_total", Help: "Uploads created."}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "reprise_upload_bytes_received_total", Help: "Bytes received in upload bodies, committed or not."}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reprise_uploads_ended_total", Help: "Uploads that ended, by outcome: received, refused (first bytes are not audio), terminated."},
			[]string{"outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "reprise_upload_duration_seconds", Help: "Time from the creation of an upload to its last byte.",
			Buckets: []float64{.1, .5, 1, 5, 15, 60, 300, 900, 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600}}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "reprise_uploads_active", Help: "Requests that have an upload locked in this process."}),
	}
	for _, outcome := range []string{"received", "refused", "terminated"} {
		m.outcomes.WithLabelValues(outcome)
	}
	r.MustRegister(m.created, m.bytes, m.outcomes, m.duration, m.active)
	return m
}

func (m *metrics) ended(outcome string) { m.outcomes.WithLabelValues(outcome).Inc() }
