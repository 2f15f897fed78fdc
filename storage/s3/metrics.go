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

func newMetrics(r prometheus.Registerer, memory *memory) (*metrics, error) {
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
	return m, errors.Join(r.Register(m.requests), r.Register(m.seconds), r.Register(memoryGauge("uploads", func() int64 {
		used, cached := memory.inUse()
		return used - cached
	})), r.Register(memoryGauge("cache", func() int64 {
		_, cached := memory.inUse()
		return cached
	})))
}

func (m *metrics) request(operation, outcome string, took time.Duration) {
	m.requests.WithLabelValues(operation, outcome).Inc()
	m.seconds.WithLabelValues(operation).Observe(took.Seconds())
}

func memoryGauge(use string, bytes func() int64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "reprise_upload_memory_bytes",
		Help:        "Memory of REPRISE_UPLOAD_MEMORY in use: by running uploads, and by the cache, which gives way to them.",
		ConstLabels: prometheus.Labels{"use": use},
	}, func() float64 { return float64(bytes()) })
}
