// Package limits keeps one client from taking what is there for all: it bounds the
// rate of requests of an address and of a user, the connections of an address and in
// all, and the time that a connection may do nothing.
//
// It is not where uploads are counted: what a user sends and stores is the ledger's
// (package catalog), across replicas. What is counted here is counted in this process,
// by each replica for itself, so behind a load balancer a client may have the limit of
// each. Nothing of it survives a restart.
//
// It promises that
//   - its memory is bounded whatever clients send; only an address or a user whom a
//     token has named is a key, never a header that anybody can write;
//   - a client that is merely slow is served to the end: a body or an answer may take
//     any time as long as something of it moves.
package limits

import (
	"github.com/prometheus/client_golang/prometheus"

	"reprise/recording"
)

// Refusals counts what limits stood in the way of. It is safe for concurrent use.
type Refusals struct{ byLimit *prometheus.CounterVec }

// NewRefusals registers the metric.
func NewRefusals(reg prometheus.Registerer) *Refusals {
	r := &Refusals{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "reprise_limit_refusals_total",
		Help: "Requests and connections that a limit refused, and stages that it delayed, by limit.",
	}, []string{"limit"})}
	reg.MustRegister(r.byLimit)
	return r
}

// Count counts one.
func (r *Refusals) Count(limit recording.LimitName) { r.byLimit.WithLabelValues(string(limit)).Inc() }
