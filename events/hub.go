package events

import (
	"context"
	"log/slog"
	"sync"

	"github.com/google/uuid"

	"reprise/recording"
)

// Hub knows the connections of this process. It is an http.Handler for
// /v1/events.
type Hub struct {
	store   Store
	relay   Relay
	auth    Authenticator
	log     *slog.Logger
	origins map[string]bool
	metrics metrics
	limits  limits

	id     string        // tells this hub's own payloads from others'
	reads  chan struct{} // a slot for each read of the store under way
	outbox outbox

	closing context.Context // ends when connections must
	close   context.CancelFunc

	mu     sync.Mutex
	closed bool
	open   sync.WaitGroup // requests that are being served
	count  int            // of them
	conns  map[uuid.UUID]map[*conn]struct{}
}

// New makes a Hub. It serves connections at once, but hears of news only while
// Run runs.
func New(o Options) *Hub {
	l := defaultLimits()
	l.perUser, l.total = o.PerUser, o.Total
	return newHub(o, l)
}

func newHub(o Options, l limits) *Hub {
	h := &Hub{
		store:   o.Store,
		relay:   o.Relay,
		auth:    o.Auth,
		log:     o.Logger.With(slog.String("component", "events")),
		origins: make(map[string]bool),
		metrics: newMetrics(o.Metrics),
		limits:  l,
		id:      recording.NewID().String(),
		reads:   make(chan struct{}, l.readers),
		outbox:  outbox{latest: make(map[tickKey]recording.Event), filled: make(chan struct{}, 1)},
		conns:   make(map[uuid.UUID]map[*conn]struct{}),
	}
	h.closing, h.close = context.WithCancel(context.Background())
	for _, origin := range o.Origins {
		h.origins[origin] = true
	}
	return h
}

// Run listens to the relay and sends ticks to it until ctx ends. Then it closes
// every connection (1001), refuses new ones, and returns nil when the last has
// gone, which takes a few seconds at most. A Hub runs once.
func (h *Hub) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() { h.listen(ctx) })
	loops.Go(func() { h.relayTicks(ctx) })
	loops.Wait()

	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.close()
	h.open.Wait()
	return nil
}

// Publish sends a progress tick to whoever watches its recording: those
// connected here at once, those at other replicas at most 4 times a second per
// recording and type, the latest tick winning. It never blocks. Milestones are
// not published: the transaction that stores one notifies the hubs.
func (h *Hub) Publish(_ context.Context, tick recording.Event) {
	h.deliver(tick)
	h.outbox.put(tick)
}

// deliver hands a tick to the connections of its owner.
func (h *Hub) deliver(tick recording.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.conns[tick.OwnerID] {
		c.offer(tick)
	}
}

// wake tells the owner's connections that milestones up to seq are committed.
func (h *Hub) wake(owner uuid.UUID, seq int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.conns[owner] {
		c.advance(seq)
	}
}

// wakeAll tells every connection that it may have missed something.
func (h *Hub) wakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, conns := range h.conns {
		for c := range conns {
			c.distrust()
		}
	}
}

// enter counts a request in, unless the hub is closed or full.
func (h *Hub) enter() *recording.Error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return recording.Errorf(recording.CodeUnavailable, "The server is shutting down; try again.")
	case h.limits.total > 0 && h.count >= h.limits.total:
		h.metrics.drops.WithLabelValues("full").Inc()
		return recording.Errorf(recording.CodeUnavailable, "As many WebSockets are open as there may be; try again later.")
	}
	h.count++
	h.open.Add(1)
	return nil
}

// exit counts it out.
func (h *Hub) exit() {
	h.mu.Lock()
	h.count--
	h.mu.Unlock()
	h.open.Done()
}

// join adds an authenticated connection; false means that its user has too many.
func (h *Hub) join(c *conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.limits.perUser > 0 && len(h.conns[c.owner]) >= h.limits.perUser {
		return false
	}
	if h.conns[c.owner] == nil {
		h.conns[c.owner] = make(map[*conn]struct{})
	}
	h.conns[c.owner][c] = struct{}{}
	h.metrics.connections.Inc()
	return true
}

func (h *Hub) leave(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns[c.owner], c)
	if len(h.conns[c.owner]) == 0 {
		delete(h.conns, c.owner)
	}
	h.metrics.connections.Dec()
}
