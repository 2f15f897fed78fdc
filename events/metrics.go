package events

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	connections prometheus.Gauge
	drops       *prometheus.CounterVec
	milestones  prometheus.Counter
	ticks       prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) metrics {
	connections := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "reprise_events_connections", Help: "Authenticated event sockets that are open.",
	})
	drops := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "reprise_events_drops_total", Help: "Event sockets that the server closed, by reason.",
	}, []string{"reason"})
	sent := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "reprise_events_sent_total", Help: "Events sent to sockets, by kind: milestone or tick.",
	}, []string{"kind"})
	reg.MustRegister(connections, drops, sent)
	return metrics{connections, drops, sent.WithLabelValues("milestone"), sent.WithLabelValues("tick")}
}
