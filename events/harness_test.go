package events

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"reprise/recording"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// world is a store, a relay and users, with hubs over them.
type world struct {
	t     *testing.T
	store *fakeStore
	relay *fakeRelay
	auth  *fakeAuth
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	return &world{t: t, store: newFakeStore(), relay: newFakeRelay(), auth: &fakeAuth{tokens: make(map[string]uuid.UUID)}}
}

// user makes a user whose token is the name.
func (w *world) user(name string) uuid.UUID {
	id := recording.NewID()
	w.auth.set(name, id)
	return id
}

// commit stores a milestone and notifies, as a transaction of the catalog does.
func (w *world) commit(owner, rec uuid.UUID) int64 {
	seq := w.store.commit(recording.NewEvent(owner, rec, recording.EventStageCompleted, time.Unix(0, 0), nil))
	text, err := json.Marshal(payload{Owner: owner, Seq: seq})
	if err != nil {
		w.t.Error(err)
	}
	_ = w.relay.Notify(context.Background(), string(text)) // lost when the relay is broken
	return seq
}

// replica is a running hub with a server in front.
type replica struct {
	*Hub
	url     string
	stop    func() // ends Run and waits for it
	metrics *prometheus.Registry
}

func (w *world) start(origins []string, change func(*limits)) *replica {
	w.t.Helper()
	l := defaultLimits()
	l.closeWait = 200 * time.Millisecond
	l.relayBackoff, l.storeBackoff = time.Millisecond, time.Millisecond
	if change != nil {
		change(&l)
	}
	r := &replica{metrics: prometheus.NewRegistry()}
	r.Hub = newHub(Options{
		Store: w.store, Relay: w.relay, Auth: w.auth, Origins: origins,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: r.metrics,
	}, l)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	before := w.relay.listening()
	go func() { done <- r.Run(ctx) }()
	eventually(w.t, func() bool { return w.relay.listening() > before })
	server := httptest.NewServer(r.Hub)
	r.url = server.URL
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
		server.Close()
	})
	w.t.Cleanup(r.stop)
	return r
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen in time")
		}
	}
}

// frame is anything the server sends.
type frame struct {
	Type        string          `json:"type"`
	Seq         int64           `json:"seq"`
	RecordingID uuid.UUID       `json:"recordingId"`
	Code        string          `json:"code"`
	Data        json.RawMessage `json:"data"`
}

type client struct {
	t  *testing.T
	ws *websocket.Conn
}

// dial opens a socket, by nil as a page of the server's own does; subprotocols may be
// nil.
func dial(t *testing.T, r *replica, header http.Header, subprotocols ...string) (*client, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if header == nil {
		header = http.Header{"Origin": {strings.Split(r.url, "?")[0]}}
	}
	ws, response, err := websocket.Dial(ctx, r.url, &websocket.DialOptions{HTTPHeader: header, Subprotocols: subprotocols})
	if err != nil {
		return nil, response, err
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return &client{t, ws}, response, nil
}

// connect opens a socket of the user whose token it is.
func connect(t *testing.T, r *replica, token string) *client {
	t.Helper()
	c, _, err := dial(t, r, http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *client) write(text string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.ws.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read() (frame, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var f frame
	_, data, err := c.ws.Read(ctx)
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	return f, err
}

// next returns the next frame, which must be of the type.
func (c *client) next(typ string) frame {
	c.t.Helper()
	f, err := c.read()
	if err != nil {
		c.t.Fatal(err)
	}
	if f.Type != typ {
		c.t.Fatalf("got a frame %+v, want type %q", f, typ)
	}
	return f
}

// subscribe sends the message and returns the answer's seq.
func (c *client) subscribe(fields string) int64 {
	c.t.Helper()
	c.write(`{"type":"subscribe"` + fields + `}`)
	return c.next("subscribed").Seq
}

// closed reads until the end and returns the close code, -1 if there was none.
func (c *client) closed() websocket.StatusCode {
	for {
		if _, err := c.read(); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

func (r *replica) count(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			if family.GetName() == name && strings.Join(labels, ",") == label {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func tick(owner, rec uuid.UUID, n int) recording.Event {
	return recording.NewEvent(owner, rec, recording.EventUploadProgress, time.Unix(0, 0), map[string]any{"offsetBytes": n})
}
