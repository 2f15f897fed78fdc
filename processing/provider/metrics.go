package provider

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec // by outcome
	retries  prometheus.Counter
	seconds  prometheus.Histogram
}

// newMetrics registers the metrics of the provider of that name.
func newMetrics(r prometheus.Registerer, name string, b *breaker) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reprise_provider_requests_total", Help: "Questions to providers, by how they ended.",
		}, []string{"outcome"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "reprise_provider_retries_total", Help: "Tries of questions to providers that were not the first one.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "reprise_provider_request_duration_seconds", Help: "How long questions to providers took, with all their tries.",
			Buckets: prometheus.ExponentialBuckets(0.1, 3, 9), // 100 ms to 11 minutes
		}),
	}
	if r == nil {
		return m, nil
	}
	r = prometheus.WrapRegistererWith(prometheus.Labels{"provider": name}, r)
	collectors := []prometheus.Collector{m.requests, m.retries, m.seconds}
	for _, state := range []string{"closed", "open", "half_open"} {
		collectors = append(collectors, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "reprise_provider_breaker_state", Help: "1 for the state that the provider's circuit breaker is in.",
			ConstLabels: prometheus.Labels{"state": state},
		}, func() float64 {
			if b.state() == state {
				return 1
			}
			return 0
		}))
	}
	for _, c := range collectors {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// asked counts a question that was sent.
func (m *metrics) asked(o outcome, took time.Duration) {
	m.requests.WithLabelValues(string(o)).Inc()
	m.seconds.Observe(took.Seconds())
}
