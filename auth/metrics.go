package auth

import (
	"github.com/prometheus/client_golang/prometheus"

	"reprise/recording"
)

type metrics struct {
	tokens  *prometheus.CounterVec
	lookups *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reprise_auth_tokens_total",
			Help: "Tokens that were checked, by outcome: valid, invalid (expired among them), disabled, unavailable (it could not be decided).",
		}, []string{"outcome"}),
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reprise_auth_lookups_total",
			Help: "Accounts that were looked up at the identity provider, by outcome: active, disabled, gone, failed.",
		}, []string{"outcome"}),
	}
	if r != nil {
		r.MustRegister(m.tokens, m.lookups)
	}
	return m
}

func (m *metrics) token(err error) {
	outcome := "unavailable"
	switch recording.CodeOf(err) {
	case "":
		outcome = "valid"
	case recording.CodeUnauthenticated:
		outcome = "invalid"
	case recording.CodeAccountDisabled:
		outcome = "disabled"
	}
	m.tokens.WithLabelValues(outcome).Inc()
}

func (m *metrics) lookup(a Account, err error) {
	outcome := "active"
	switch {
	case err != nil:
		outcome = "failed"
	case a.Gone:
		outcome = "gone"
	case a.Disabled:
		outcome = "disabled"
	}
	m.lookups.WithLabelValues(outcome).Inc()
}
