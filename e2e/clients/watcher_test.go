package clients

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// watcher watches a user's events on a WebSocket, from the first on. It
// reconnects again and again in the middle, with the last sequence number it
// has seen.
type watcher struct {
	u      user
	cancel context.CancelFunc
	done   chan struct{}

	mu          sync.Mutex
	milestones  []eventView
	ticks       []eventView
	connections int
	err         error
}

// watch starts a watcher that reconnects after every few milestones.
func (u user) watch(every int) *watcher {
	u.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{u: u, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for ctx.Err() == nil {
			if err := w.connect(ctx, every); err != nil && ctx.Err() == nil {
				w.mu.Lock()
				w.err = err
				w.mu.Unlock()
				return
			}
		}
	}()
	u.t.Cleanup(func() { cancel(); <-w.done })
	return w
}

// connect watches until so many milestones have come.
func (w *watcher) connect(ctx context.Context, milestones int) error {
	c, err := w.u.dial(ctx)
	if err != nil {
		return err
	}
	defer c.CloseNow()
	subscribe := map[string]any{"type": "subscribe", "since": w.lastSeq()}
	if err := send(ctx, c, subscribe); err != nil {
		return err
	}
	w.mu.Lock()
	w.connections++
	w.mu.Unlock()
	for milestones > 0 {
		_, data, err := c.Read(ctx)
		if err != nil {
			return err
		}
		var e eventView
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		w.mu.Lock()
		switch {
		case e.Type == "subscribed":
		case e.Seq == 0:
			w.ticks = append(w.ticks, e)
		default:
			w.milestones = append(w.milestones, e)
			milestones--
		}
		w.mu.Unlock()
	}
	return nil
}

// dial opens an event socket with the token in the header.
func (u user) dial(ctx context.Context) (*websocket.Conn, error) {
	c, _, err := websocket.Dial(ctx, u.s.url+"/v1/events", &websocket.DialOptions{
		HTTPClient: u.s.http,
		HTTPHeader: http.Header{"Authorization": {"Bearer " + u.token}},
	})
	return c, err
}

func send(ctx context.Context, c *websocket.Conn, message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	return c.Write(ctx, websocket.MessageText, data)
}

func (w *watcher) lastSeq() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.milestones) == 0 {
		return 0
	}
	return w.milestones[len(w.milestones)-1].Seq
}

// reached waits until the watcher has seen a milestone of this type of a
// recording, and returns all of the recording's milestones so far.
func (w *watcher) reached(t *testing.T, recordingID, typ string) []eventView {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		w.mu.Lock()
		var of []eventView
		for _, e := range w.milestones {
			if e.RecordingID == recordingID {
				of = append(of, e)
			}
		}
		err := w.err
		w.mu.Unlock()
		if slices.ContainsFunc(of, func(e eventView) bool { return e.Type == typ }) {
			return of
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("no event %s of %s came: %v; so far: %v", typ, recordingID, err, describe(of))
		}
	}
}

// describe names events, with the stage of those that have one.
func describe(events []eventView) []string {
	var list []string
	for _, e := range events {
		var data struct{ Stage, Reason string }
		if err := json.Unmarshal(e.Data, &data); err != nil {
			data.Reason = err.Error()
		}
		text := e.Type
		if data.Stage+data.Reason != "" {
			text += " " + data.Stage + data.Reason
		}
		list = append(list, text)
	}
	return list
}

// finish stops the watcher and checks that it has got every milestone once, in
// order, and exactly what is stored.
func (w *watcher) finish(t *testing.T, recordings []string) {
	t.Helper()
	w.cancel()
	<-w.done
	if w.err != nil && !errors.Is(w.err, context.Canceled) {
		t.Errorf("watcher: %v", w.err)
	}
	for i, e := range w.milestones {
		if e.Seq != int64(i+1) {
			t.Fatalf("milestone %d has the number %d: a gap or a duplicate", i+1, e.Seq)
		}
	}
	var stored []eventView
	for _, id := range recordings {
		stored = append(stored, w.u.in(t).events(id)...)
	}
	slices.SortFunc(stored, func(a, b eventView) int { return int(a.Seq - b.Seq) })
	compare := cmpopts.IgnoreFields(eventView{}, "Data") // its spaces differ
	if diff := cmp.Diff(stored, w.milestones, compare); diff != "" {
		t.Errorf("events on the socket differ from those stored (-stored +socket):\n%s", diff)
	}
	t.Logf("%d milestones and %d ticks over %d connections", len(w.milestones), len(w.ticks), w.connections)
}
