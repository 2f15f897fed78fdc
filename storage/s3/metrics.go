package s3

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reprise_s3_requests_total",
			Help: "Requests to the S3 server, each attempt by itself.",
		}, []string{"operation", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "reprise_s3_request_duration_seconds",
			Help:    "Time from sending a request to the S3 server to its answer; of GetObject to the answer's header.",
			Buckets: []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 60, 150},
		}, []string{"operation"}),
	}
	return m, errors.Join(r.Register(m.requests), r.Register(m.seconds))
}

func (m *metrics) request(operation, outcome string, took time.Duration) {
	m.requests.WithLabelValues(operation, outcome).Inc()
	m.seconds.WithLabelValues(operation).Observe(took.Seconds())
}
