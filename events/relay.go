package events

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

// maxPayload is what a NOTIFY carries: "must be specified as a simple string
// literal … shorter than 8000 bytes" (PostgreSQL, NOTIFY).
const maxPayload = 7999

// payload is what goes over the relay: the number of a committed milestone, or
// a tick with the hub that it comes from.
type payload struct {
	Owner uuid.UUID        `json:"owner"`
	Seq   int64            `json:"seq,omitempty"`
	Tick  *recording.Event `json:"tick,omitempty"`
	From  string           `json:"from,omitempty"`
}

// tickKey says which tick a later one replaces.
type tickKey struct {
	recording uuid.UUID
	typ       recording.EventType
}

func keyOf(tick recording.Event) tickKey { return tickKey{tick.RecordingID, tick.Type} }

// outbox holds the latest tick of each key until it is relayed.
type outbox struct {
	mu     sync.Mutex
	latest map[tickKey]recording.Event
	filled chan struct{} // has an element when latest may have one
}

func (o *outbox) put(tick recording.Event) {
	o.mu.Lock()
	o.latest[keyOf(tick)] = tick
	o.mu.Unlock()
	signal(o.filled)
}

func (o *outbox) take() map[tickKey]recording.Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	taken := o.latest
	o.latest = make(map[tickKey]recording.Event)
	return taken
}

// signal leaves a mark in a channel of one element.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// pause waits for d, give or take a quarter so that many don't wake at once;
// false means that ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d*3/4 + rand.N(d/2+1))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// listen keeps the hub connected to the relay until ctx ends.
func (h *Hub) listen(ctx context.Context) {
	backoff := h.limits.relayBackoff
	for {
		err := h.relay.Listen(ctx, func() {
			backoff = h.limits.relayBackoff
			h.wakeAll() // what was sent before this moment has been missed
		}, func(text string) { h.receive(ctx, text) })
		if ctx.Err() != nil {
			return
		}
		h.log.WarnContext(ctx, "the relay of events was lost, connecting again",
			slog.Any("error", err), slog.Duration("pause", backoff))
		if !pause(ctx, backoff) {
			return
		}
		backoff = min(2*backoff, 50*h.limits.relayBackoff)
	}
}

func (h *Hub) receive(ctx context.Context, text string) {
	var p payload
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		h.log.WarnContext(ctx, "a payload of the relay is not understood", slog.Any("error", err))
		return
	}
	switch {
	case p.Tick != nil && p.From != h.id:
		p.Tick.OwnerID = p.Owner
		h.deliver(*p.Tick)
	case p.Seq > 0:
		h.wake(p.Owner, p.Seq)
	}
}

// relayTicks sends the ticks of the outbox to the other hubs until ctx ends:
// the first at once, what comes in the pause after it when the pause is over.
// So the last tick of a row is never lost by the throttle.
func (h *Hub) relayTicks(ctx context.Context) {
	failing := false // logged when it changes
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.outbox.filled:
		}
		err := h.relayOnce(ctx, h.outbox.take())
		if ctx.Err() != nil {
			return
		}
		if failed := err != nil; failed != failing {
			failing = failed
			if failed {
				h.log.WarnContext(ctx, "progress can't be relayed to other replicas", slog.Any("error", err))
			} else {
				h.log.InfoContext(ctx, "progress is relayed to other replicas again")
			}
		}
		timer := time.NewTimer(h.limits.relayEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// relayOnce sends ticks and gives up at the first failure: they are out of
// date by the time a broken relay is back.
func (h *Hub) relayOnce(ctx context.Context, ticks map[tickKey]recording.Event) error {
	for _, tick := range ticks {
		text, err := json.Marshal(payload{Owner: tick.OwnerID, Tick: &tick, From: h.id})
		if err != nil {
			return err
		}
		if len(text) > maxPayload {
			h.log.WarnContext(ctx, "a progress event is too big to relay",
				slog.String("type", string(tick.Type)), slog.Int("bytes", len(text)))
			continue
		}
		if err := h.notify(ctx, string(text)); err != nil {
			return err
		}
	}
	return nil
}

func (h *Hub) notify(ctx context.Context, text string) error {
	ctx, cancel := context.WithTimeout(ctx, h.limits.relayWait)
	defer cancel()
	return h.relay.Notify(ctx, text)
}
