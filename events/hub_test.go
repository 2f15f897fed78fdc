package events

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"reprise/recording"
)

// TestReplayAndLive commits from several goroutines while clients come, go and
// resume, over a relay that loses payloads and breaks: every client sees
// every number once and in order.
func TestReplayAndLive(t *testing.T) {
	for round := range 6 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			w := newWorld(t)
			random := rand.New(rand.NewPCG(uint64(round), 1))
			w.relay.lose = func() bool { return random.IntN(3) == 0 } // under the relay's lock
			alice := w.user("alice")
			w.store.lag = func() { time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond) }
			replicas := []*replica{w.start(nil, quick), w.start(nil, quick)}

			const committers, each = 4, 100
			last := int64(committers * each)
			var work sync.WaitGroup
			for range committers {
				work.Go(func() {
					for range each {
						w.commit(alice, uuid.New())
						if rand.IntN(4) > 0 { // now in bursts, now while somebody reads
							time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
						}
					}
				})
			}
			work.Go(func() {
				for range 5 {
					time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
					w.relay.cut(false)
				}
			})
			for i := range 4 {
				work.Go(func() { follow(t, replicas[i%2], last) })
			}
			work.Wait()
		})
	}
}

// quick has connections look again soon, because the relay loses so much.
func quick(l *limits) { l.pingEvery, l.page, l.window = 20*time.Millisecond, 16, 2000 }

// follow reads everything from 1 to last, reconnecting and subscribing anew at
// random.
func follow(t *testing.T, r *replica, last int64) {
	var c *client
	for seen := int64(0); seen < last; {
		if c == nil || rand.IntN(60) == 0 {
			if c != nil {
				_ = c.ws.CloseNow()
			}
			c = connect(t, r, "alice")
			c.write(fmt.Sprintf(`{"type":"subscribe","since":%d}`, seen))
			if f, err := c.read(); err != nil || f.Type != "subscribed" {
				t.Errorf("got %+v, %v instead of an answer", f, err)
				return
			}
		}
		f, err := c.read()
		if err != nil || f.Seq != seen+1 {
			t.Errorf("got %+v, %v after %d", f, err, seen)
			return
		}
		seen = f.Seq
	}
	_ = c.ws.CloseNow()
}

func TestSubscriptions(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	mine, other, theirs := uuid.New(), uuid.New(), uuid.New()
	r := w.start(nil, nil)
	w.commit(alice, mine)  // 1
	w.commit(alice, other) // 2
	w.commit(alice, mine)  // 3
	w.commit(bob, theirs)

	c := connect(t, r, "alice")
	if seq := c.subscribe(""); seq != 3 {
		t.Errorf("subscribed at %d, want 3", seq)
	}
	r.Publish(t.Context(), tick(alice, mine, 5))
	if f := c.next("upload.progress"); f.RecordingID != mine || f.Seq != 0 || string(f.Data) != `{"offsetBytes":5}` {
		t.Errorf("got the tick %+v", f)
	}
	// Somebody else's recording, and one that isn't: nothing at all.
	c.subscribe(fmt.Sprintf(`,"since":0,"recordings":["%v","%v","%v"]`, mine, theirs, uuid.New()))
	for _, want := range []int64{1, 3} {
		if f := c.next("processing.completed"); f.Seq != want || f.RecordingID != mine {
			t.Errorf("got %+v, want number %d", f, want)
		}
	}
	r.Publish(t.Context(), tick(bob, theirs, 1))
	r.Publish(t.Context(), tick(alice, other, 1))
	w.commit(bob, theirs)
	w.commit(alice, other) // 4
	w.commit(alice, mine)  // 5
	if f := c.next("processing.completed"); f.Seq != 5 {
		t.Errorf("got %+v, want number 5", f)
	}
	// A further subscription replaces the former, backwards too.
	c.subscribe(`,"since":3`)
	for _, want := range []int64{4, 5} {
		if f := c.next("processing.completed"); f.Seq != want {
			t.Errorf("got %+v, want number %d", f, want)
		}
	}
	// A number that was never given doesn't hide what comes.
	c.subscribe(`,"since":1000`)
	w.commit(alice, mine) // 6
	if f := c.next("processing.completed"); f.Seq != 6 {
		t.Errorf("got %+v, want number 6", f)
	}
	c.subscribe(`,"recordings":[]`)
	w.commit(alice, mine)
	if seq := c.subscribe(""); seq != 7 {
		t.Errorf("subscribed at %d, want 7 and nothing before", seq)
	}
}

func TestMessagesThatMakeNoSense(t *testing.T) {
	w := newWorld(t)
	w.user("alice")
	r := w.start(nil, nil)
	c := connect(t, r, "alice")
	for _, text := range []string{
		`hello`, `[]`, `{}`, `{"type":"unsubscribe"}`, `{"type":"subscribe","since":-1}`, `{"type":"subscribe","since":"3"}`,
		`{"type":"subscribe","recordings":["x"]}`, `{"type":"subscribe","recordings":"all"}`, `{"type":"auth"}`,
		`{"type":"subscribe","recordings":["` + strings.Repeat(uuid.Nil.String()+`","`, 1000) + uuid.Nil.String() + `"]}`,
	} {
		c.write(text)
		if f := c.next("error"); f.Code != string(recording.CodeInvalidRequest) {
			t.Errorf("%.40s: got %+v", text, f)
		}
	}
	c.write(`{"type":"auth","token":"alice"}`)
	if f := c.next("error"); f.Code != string(recording.CodeConflict) {
		t.Errorf("got %+v", f)
	}
	c.subscribe("") // none of it did any harm
	c.write(strings.Repeat("x", 65<<10))
	if got := c.closed(); got != websocket.StatusMessageTooBig {
		t.Errorf("closed with %d, want 1009", got)
	}
}

func TestSlowReaderIsDropped(t *testing.T) {
	w := newWorld(t)
	alice := w.user("alice")
	// The good reader has to show in this time that it reads, on a busy machine too.
	const pongWait = patience / 2
	r := w.start(nil, func(l *limits) { l.window, l.pongWait = 8<<10, pongWait })
	slow, good := connect(t, r, "alice"), connect(t, r, "alice")
	slow.subscribe("")
	good.subscribe("")
	const count = 500
	begin := time.Now()
	for range count {
		w.commit(alice, uuid.New())
	}
	for i := range count {
		if f := good.next("processing.completed"); f.Seq != int64(i+1) {
			t.Fatalf("got %+v, want number %d", f, i+1)
		}
	}
	if took := time.Since(begin); took >= pongWait {
		t.Errorf("the good reader took %v: it waited for the slow one", took)
	}
	eventually(t, func() bool { return r.count(t, "reprise_events_drops_total", "slow") == 1 })
	// What was under way can still be read, then it is told why.
	for n := 0; ; n++ {
		f, err := slow.read()
		if err != nil {
			if got := websocket.CloseStatus(err); got != statusSlow || n == 0 || n > 100 {
				t.Errorf("closed after %d events with %d (%v), want 4008", n, got, err)
			}
			break
		}
		if f.Seq != int64(n+1) {
			t.Fatalf("got %+v, want number %d", f, n+1)
		}
	}
}

func TestSilentPeerIsDropped(t *testing.T) {
	w := newWorld(t)
	w.user("alice")
	r := w.start(nil, func(l *limits) { l.pingEvery, l.pongWait = 20*time.Millisecond, 50*time.Millisecond })
	connect(t, r, "alice") // never reads, so it never answers a ping
	eventually(t, func() bool { return r.count(t, "reprise_events_drops_total", "no_pong") == 1 })
	eventually(t, func() bool { return r.count(t, "reprise_events_connections", "") == 0 })
}

func TestFloodIsDropped(t *testing.T) {
	w := newWorld(t)
	w.user("alice")
	r := w.start(nil, func(l *limits) { l.storeWait = time.Minute })
	c := connect(t, r, "alice")
	c.subscribe("")
	w.store.fail(errors.New("down")) // so that the first subscription is stuck
	for range inboxSize + 5 {
		if c.ws.Write(t.Context(), websocket.MessageText, []byte(`{"type":"subscribe"}`)) != nil {
			break
		}
	}
	if got := c.closed(); got != websocket.StatusPolicyViolation {
		t.Errorf("closed with %d, want 1008", got)
	}
}

func TestTwoHubs(t *testing.T) {
	w := newWorld(t)
	alice, rec := w.user("alice"), uuid.New()
	here, there := w.start(nil, nil), w.start(nil, nil)
	a, b := connect(t, here, "alice"), connect(t, there, "alice")
	a.subscribe("")
	b.subscribe("")
	here.Publish(t.Context(), tick(alice, rec, 1))
	a.next("upload.progress")
	b.next("upload.progress")
	w.commit(alice, rec)
	if f := a.next("processing.completed"); f.Seq != 1 { // and no echo of the tick before it
		t.Errorf("got %+v", f)
	}
	if f := b.next("processing.completed"); f.Seq != 1 {
		t.Errorf("got %+v", f)
	}
}

// TestThrottle publishes far more ticks than are relayed; the last one arrives.
func TestThrottle(t *testing.T) {
	w := newWorld(t)
	alice, rec := w.user("alice"), uuid.New()
	slowly := func(l *limits) { l.relayEvery = 50 * time.Millisecond }
	here, there := w.start(nil, slowly), w.start(nil, slowly)
	b := connect(t, there, "alice")
	b.subscribe("")
	const last = 5000
	begin := time.Now()
	for n := range last {
		here.Publish(t.Context(), tick(alice, rec, n+1))
	}
	periods := int(time.Since(begin)/(50*time.Millisecond)) + 2
	for {
		if f := b.next("upload.progress"); string(f.Data) == fmt.Sprintf(`{"offsetBytes":%d}`, last) {
			break
		}
	}
	if sent := w.relay.sentCount(); sent > periods {
		t.Errorf("%d ticks were relayed in %d periods", sent, periods)
	}
}

func TestRelayLost(t *testing.T) {
	w := newWorld(t)
	alice, rec := w.user("alice"), uuid.New()
	r := w.start(nil, func(l *limits) { l.relayEvery = time.Millisecond })
	c := connect(t, r, "alice")
	c.subscribe("")
	w.relay.cut(true)
	w.commit(alice, rec)
	w.commit(alice, rec)
	r.Publish(t.Context(), tick(alice, rec, 1)) // here it works all the same
	c.next("upload.progress")
	w.relay.mend()
	for want := range int64(2) {
		if f := c.next("processing.completed"); f.Seq != want+1 {
			t.Errorf("got %+v, want number %d", f, want+1)
		}
	}
	// Nonsense from elsewhere does no harm.
	for _, text := range []string{"", "{", `{"owner":"x"}`, `{}`, `{"owner":"` + alice.String() + `","seq":-5}`} {
		if err := w.relay.Notify(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	w.commit(alice, rec)
	if f := c.next("processing.completed"); f.Seq != 3 {
		t.Errorf("got %+v, want number 3", f)
	}
}

func TestStoreDown(t *testing.T) {
	w := newWorld(t)
	alice, rec := w.user("alice"), uuid.New()
	r := w.start(nil, nil)
	c := connect(t, r, "alice")
	c.subscribe("")
	w.store.fail(errors.New("down"))
	w.commit(alice, rec)
	time.Sleep(20 * time.Millisecond)
	w.store.fail(nil) // a short failure is not noticed
	if f := c.next("processing.completed"); f.Seq != 1 {
		t.Errorf("got %+v, want number 1", f)
	}
	hasty := w.start(nil, func(l *limits) { l.storeWait = 300 * time.Millisecond })
	c = connect(t, hasty, "alice")
	c.subscribe("")
	w.store.fail(errors.New("down for good"))
	w.commit(alice, rec)
	if got := c.closed(); got != websocket.StatusTryAgainLater {
		t.Errorf("closed with %d, want 1013", got)
	}
}

func TestShutdown(t *testing.T) {
	w := newWorld(t)
	w.user("alice")
	r := w.start(nil, nil)
	subscribed, idle := connect(t, r, "alice"), connect(t, r, "alice")
	nobody, _, err := dial(t, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	subscribed.subscribe("")
	var codes sync.WaitGroup
	for _, c := range []*client{subscribed, idle, nobody} {
		codes.Go(func() {
			if got := c.closed(); got != websocket.StatusGoingAway {
				t.Errorf("closed with %d, want 1001", got)
			}
		})
	}
	begin := time.Now()
	r.stop()
	codes.Wait()
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("shutting down took %v", took)
	}
	if r.enter() == nil {
		t.Error("a hub that is shut down takes connections")
	}
	r.Publish(context.Background(), tick(uuid.New(), uuid.New(), 1)) // harmless
}
