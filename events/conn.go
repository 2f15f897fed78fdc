package events

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"reprise/recording"
)

// errGone says that the peer has closed the connection or it broke.
var errGone = errors.New("the connection is gone")

// inboxSize is how many messages of a client may wait. A client needs two.
const inboxSize = 16

// conn is one connection. Two goroutines serve it: one reads the peer's
// messages into inbox, one does everything else and is the only writer.
type conn struct {
	hub    *Hub
	ws     *websocket.Conn
	owner  uuid.UUID
	inbox  chan command
	wakeup chan struct{} // has an element when there may be something to send

	// Of the writing goroutine.
	sub         *subscription // nil before the first
	cursor      int64         // every milestone up to here has been sent or isn't wanted
	unconfirmed int           // bytes written since the peer last showed that it reads

	mu       sync.Mutex
	known    int64 // milestones up to this one are committed
	doubtful bool  // there may be more than known
	ticks    map[tickKey]recording.Event
}

func newConn(h *Hub, ws *websocket.Conn) *conn {
	return &conn{
		hub:    h,
		ws:     ws,
		inbox:  make(chan command, inboxSize),
		wakeup: make(chan struct{}, 1),
		ticks:  make(map[tickKey]recording.Event),
	}
}

// run serves the connection until it ends.
func (c *conn) run(parent context.Context, login func(context.Context) (session, error)) {
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)
	defer context.AfterFunc(c.hub.closing, func() { stop(closedGoingAway()) })()

	// Reading goes on while the close frames are exchanged, so it has a context
	// of its own: the library cuts a connection whose context ends.
	reading, stopReading := context.WithCancel(parent)
	var reader sync.WaitGroup
	reader.Go(func() { stop(c.read(reading)) })

	c.end(ctx, c.serve(ctx, login), stopReading)
	stopReading()
	reader.Wait()
}

// end closes the connection, with a code if it is the server that wants it.
func (c *conn) end(ctx context.Context, err error, stopReading func()) {
	var cl *closure
	if !errors.As(err, &cl) {
		_ = c.ws.CloseNow() // it is gone anyway
		return
	}
	c.hub.metrics.drops.WithLabelValues(cl.label).Inc()
	c.hub.log.DebugContext(ctx, "closing an event socket",
		slog.String("reason", cl.label), slog.String("owner", c.owner.String()))
	patience := time.AfterFunc(c.hub.limits.closeWait, stopReading)
	defer patience.Stop()
	_ = c.ws.Close(cl.code, cl.reason) // the peer may not answer, and needn't
}

// read takes the peer's messages until the connection ends, which it says why.
func (c *conn) read(ctx context.Context) error {
	for {
		kind, data, err := c.ws.Read(ctx)
		if errors.Is(err, websocket.ErrMessageTooBig) { // the library closes with 1009
			c.hub.metrics.drops.WithLabelValues("protocol").Inc()
		}
		if err != nil {
			return errGone
		}
		select {
		case c.inbox <- parse(kind, data, c.hub.limits.recordings):
		default:
			return closedFlood()
		}
	}
}

// serve authenticates the peer and sends what it subscribes to; the error is a
// closure or says that the peer has gone.
func (c *conn) serve(ctx context.Context, login func(context.Context) (session, error)) error {
	s, err := login(ctx)
	if err != nil {
		return err
	}
	c.owner = s.principal.UserID
	if !c.hub.join(c) {
		return closedTooMany()
	}
	defer c.hub.leave(c)

	ping := time.NewTicker(c.hub.limits.pingEvery)
	defer ping.Stop()
	recheck := time.NewTicker(s.every)
	defer recheck.Stop()
	account := time.NewTimer(c.hub.nextCheck(s.principal))
	defer account.Stop()
	for {
		if err := c.sendPending(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.wakeup:
		case cmd := <-c.inbox:
			err = c.do(ctx, cmd)
		case <-recheck.C:
			err = s.recheck(ctx)
		case <-account.C:
			err = c.hub.checkAccount(ctx, s.principal)
			account.Reset(c.hub.nextCheck(s.principal))
		case <-ping.C:
			// A broken relay connection may take long to be noticed; so nobody
			// waits longer than this for a milestone.
			c.distrust()
			err = c.confirm(ctx, closedSilent())
		}
		if err != nil {
			return err
		}
	}
}

// do follows a client's message.
func (c *conn) do(ctx context.Context, cmd command) error {
	switch {
	case cmd.subscribe != nil:
		return c.subscribe(ctx, cmd.subscribe)
	case cmd.auth != nil:
		return c.send(ctx, errorFrame{"error", recording.CodeConflict, "This connection is authenticated already."})
	default:
		return c.send(ctx, errorFrame{"error", cmd.refused.Code, cmd.refused.Message})
	}
}

func (c *conn) subscribe(ctx context.Context, sub *subscription) error {
	var latest int64
	err := c.query(ctx, func(ctx context.Context) (err error) {
		latest, err = c.hub.store.LatestSeq(ctx, c.owner)
		return err
	})
	if err != nil {
		return err
	}
	c.sub, c.cursor = sub, latest
	if sub.since != nil {
		// More than there is can't have been seen here; taken at its word, it
		// would hide what comes next.
		c.cursor = min(*sub.since, latest)
	}
	if err := c.send(ctx, subscribedFrame{"subscribed", latest}); err != nil {
		return err
	}
	c.advance(latest)
	return nil
}

// offer keeps a tick until it is sent or a later one replaces it.
func (c *conn) offer(tick recording.Event) {
	key := keyOf(tick)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, kept := c.ticks[key]; kept || len(c.ticks) < c.hub.limits.ticks {
		c.ticks[key] = tick
		signal(c.wakeup)
	}
}

// advance notes that milestones up to seq are committed.
func (c *conn) advance(seq int64) {
	c.mu.Lock()
	c.known = max(c.known, seq)
	c.mu.Unlock()
	signal(c.wakeup)
}

// distrust notes that there may be milestones nobody told of.
func (c *conn) distrust() {
	c.mu.Lock()
	c.doubtful = true
	c.mu.Unlock()
	signal(c.wakeup)
}

// pending takes what is there to send: ticks, and how far milestones are known
// to go. look says whether the store may have some above the cursor.
func (c *conn) pending() (ticks map[tickKey]recording.Event, known int64, look bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ticks) > 0 {
		ticks, c.ticks = c.ticks, make(map[tickKey]recording.Event)
	}
	look = c.doubtful || c.known > c.cursor
	c.doubtful = false
	return ticks, c.known, look
}

// sendPending sends the ticks that wait and one page of milestones, and wakes
// the connection again if there may be more. Without a subscription nothing is
// wanted.
func (c *conn) sendPending(ctx context.Context) error {
	ticks, known, look := c.pending()
	if c.sub == nil {
		return nil
	}
	for key, tick := range ticks {
		if !c.sub.has(key.recording) {
			continue
		}
		if err := c.send(ctx, tick); err != nil {
			return err
		}
		c.hub.metrics.ticks.Inc()
	}
	if !look {
		return nil
	}
	return c.sendPage(ctx, known)
}

// sendPage sends the next page of milestones. known is how far they were known
// to be committed before this read.
func (c *conn) sendPage(ctx context.Context, known int64) error {
	var page []recording.Event
	err := c.query(ctx, func(ctx context.Context) (err error) {
		page, err = c.hub.store.EventsSince(ctx, c.owner, c.sub.list, c.cursor, c.hub.limits.page)
		return err
	})
	if err != nil {
		return err
	}
	for _, e := range page {
		if err := c.send(ctx, e); err != nil {
			return err
		}
		c.cursor = e.Seq
		c.hub.metrics.milestones.Inc()
	}
	if len(page) == c.hub.limits.page {
		c.distrust() // and see in between what the client wants
	} else {
		// Numbers become visible in their order, so this read has seen all up to
		// known: what it didn't return is not of this subscription.
		c.cursor = max(c.cursor, known)
	}
	return nil
}

// query reads the store, again and again while it fails, for a while.
func (c *conn) query(ctx context.Context, read func(context.Context) error) error {
	l := c.hub.limits
	ctx, cancel := context.WithTimeoutCause(ctx, l.storeWait, closedUnavailable())
	defer cancel()
	for backoff := l.storeBackoff; ; backoff = min(2*backoff, 50*l.storeBackoff) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case c.hub.reads <- struct{}{}:
		}
		err := read(ctx)
		<-c.hub.reads
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.hub.log.WarnContext(ctx, "events can't be read", slog.Any("error", err), slog.Duration("pause", backoff))
		if !pause(ctx, backoff) {
			return context.Cause(ctx)
		}
	}
}

// send writes one frame. When the peer has not shown for a window of bytes that
// it reads, send waits until it does: that bounds what is under way, and leaves
// room for a close frame.
func (c *conn) send(ctx context.Context, frame any) error {
	data, err := json.Marshal(frame)
	if err != nil {
		return err
	}
	if c.unconfirmed > 0 && c.unconfirmed+len(data) > c.hub.limits.window {
		if err := c.confirm(ctx, closedSlow()); err != nil {
			return err
		}
	}
	// Not under ctx: a frame cut in half would leave no room for a close frame.
	writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.hub.limits.writeWait)
	defer cancel()
	if err := c.ws.Write(writing, websocket.MessageText, data); err != nil {
		if writing.Err() != nil {
			return closedSlow()
		}
		return errGone
	}
	c.unconfirmed += len(data)
	return nil
}

// confirm pings the peer and waits for its pong, which means that it has read
// everything before it. Without one in time it returns late.
func (c *conn) confirm(ctx context.Context, late error) error {
	waiting, cancel := context.WithTimeout(ctx, c.hub.limits.pongWait)
	defer cancel()
	if err := c.ws.Ping(waiting); err != nil {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case waiting.Err() != nil:
			return late
		default:
			return errGone
		}
	}
	c.unconfirmed = 0
	return nil
}
