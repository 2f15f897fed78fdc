package events

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"reprise/recording"
)

func TestEveryWayToAuthenticate(t *testing.T) {
	w := newWorld(t)
	alice := w.user("alice")
	r := w.start(nil, nil)
	for name, open := range map[string]func(t *testing.T) *client{
		"header": func(t *testing.T) *client { return connect(t, r, "alice") },
		"token in a first message": func(t *testing.T) *client {
			c, _, err := dial(t, r, nil)
			if err != nil {
				t.Fatal(err)
			}
			c.write(`{"type":"auth","token":"alice"}`)
			return c
		},
		"ticket in a first message": func(t *testing.T) *client {
			c, _, err := dial(t, r, nil)
			if err != nil {
				t.Fatal(err)
			}
			c.write(`{"type":"auth","ticket":"FIRST"}`)
			return c
		},
		"ticket as a subprotocol": func(t *testing.T) *client {
			c, _, err := dial(t, r, http.Header{"Origin": {r.url}}, "reprise.v1", "ticket.PROTOCOL")
			if err != nil {
				t.Fatal(err)
			}
			if got := c.ws.Subprotocol(); got != "reprise.v1" {
				t.Errorf("the subprotocol is %q", got)
			}
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			w.store.mu.Lock()
			w.store.tickets["FIRST"], w.store.tickets["PROTOCOL"] = alice, alice
			w.store.mu.Unlock()
			rec := uuid.New()
			c := open(t)
			c.subscribe("")
			seq := w.commit(alice, rec)
			if f := c.next("processing.completed"); f.Seq != seq || f.RecordingID != rec {
				t.Errorf("got %+v, want seq %d of %v", f, seq, rec)
			}
		})
	}
}

func TestRefusedHandshakes(t *testing.T) {
	w := newWorld(t)
	w.user("alice")
	r := w.start([]string{"https://app.example.com"}, nil)
	bearer := func(origin string) http.Header {
		return http.Header{"Authorization": {"Bearer alice"}, "Origin": {origin}}
	}
	for name, c := range map[string]struct {
		query  string
		header http.Header
		status int
	}{
		"token in the query":         {"?token=alice", nil, 400},
		"access_token in the query":  {"?access_token=alice", bearer(r.url), 400},
		"ticket in the query":        {"?ticket=", nil, 400},
		"unknown token":              {"", http.Header{"Authorization": {"Bearer mallory"}}, 401},
		"another scheme":             {"", http.Header{"Authorization": {"Basic alice"}}, 401},
		"two headers":                {"", http.Header{"Authorization": {"Bearer alice", "Bearer alice"}}, 401},
		"another origin":             {"", bearer("https://evil.example.com"), 403},
		"a longer origin":            {"", bearer("https://app.example.com.evil.com"), 403},
		"another scheme of origin":   {"", bearer("http://app.example.com"), 403},
		"null origin":                {"", bearer("null"), 403},
		"listed origin":              {"", bearer("https://app.example.com"), 101},
		"own origin":                 {"", bearer(r.url), 101},
		"own origin, no header":      {"", http.Header{"Origin": {r.url}}, 101},
		"own host, no origin's form": {"", bearer(r.url + "/"), 403},
		"own host, another scheme":   {"", bearer("ftp" + strings.TrimPrefix(r.url, "http")), 403},
		"own host, another port":     {"", bearer("http://127.0.0.1:1"), 403},
		"an origin in upper case":    {"", bearer("https://APP.example.com"), 403},
		"another port":               {"", bearer("https://app.example.com:444"), 403},
		"a default port":             {"", bearer("https://app.example.com:443"), 403},
		"two origins":                {"", http.Header{"Authorization": {"Bearer alice"}, "Origin": {r.url, r.url}}, 403},
		"an empty origin":            {"", bearer(""), 403},
		"no origin":                  {"", http.Header{"Authorization": {"Bearer alice"}}, 101},
		"no origin, no header":       {"", http.Header{}, 403},
		"no origin, a bad header":    {"", http.Header{"Authorization": {"Basic x"}}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			_, response, _ := dial(t, &replica{url: r.url + c.query}, c.header)
			if response.StatusCode != c.status {
				t.Fatalf("the status is %d, want %d", response.StatusCode, c.status)
			}
			if c.status == 101 {
				return
			}
			var problem struct {
				Status       int
				Code, Detail string
			}
			if err := json.NewDecoder(response.Body).Decode(&problem); err != nil {
				t.Fatal(err)
			}
			if problem.Status != c.status || problem.Code == "" || problem.Detail == "" {
				t.Errorf("the problem is %+v", problem)
			}
		})
	}
}

// A ticket is for browsers, and those send an Origin.
func TestTicketNeedsAnOrigin(t *testing.T) {
	w := newWorld(t)
	w.store.tickets["EARLY"] = w.user("alice")
	r := w.start(nil, nil)
	if _, response, _ := dial(t, r, http.Header{}, "reprise.v1", "ticket.EARLY"); response.StatusCode != 403 {
		t.Fatalf("the status is %d, want 403", response.StatusCode)
	}
	c, _, err := dial(t, r, nil, "reprise.v1", "ticket.EARLY") // not used up by that
	if err != nil {
		t.Fatal(err)
	}
	c.subscribe("")
}

func TestNoWebSocketIsAProblem(t *testing.T) {
	w := newWorld(t)
	r := w.start(nil, nil)
	response, err := http.Get(r.url)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if response.StatusCode != 426 || response.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("got %d %s", response.StatusCode, response.Header.Get("Content-Type"))
	}
}

func TestRefusedAfterTheHandshake(t *testing.T) {
	w := newWorld(t)
	w.user("alice")
	r := w.start(nil, func(l *limits) { l.authWait = 300 * time.Millisecond })
	for name, c := range map[string]struct {
		protocols []string
		message   string
		code      websocket.StatusCode
	}{
		"unknown token":         {nil, `{"type":"auth","token":"mallory"}`, 4401},
		"unknown ticket":        {nil, `{"type":"auth","ticket":"x"}`, 4401},
		"unknown protocol":      {[]string{"reprise.v1", "ticket.x"}, "", 4401},
		"token and ticket":      {nil, `{"type":"auth","token":"alice","ticket":"x"}`, 4401},
		"subscribe first":       {nil, `{"type":"subscribe"}`, 4401},
		"not JSON":              {nil, `hello`, 4401},
		"nothing":               {nil, "", 4401},
		"empty ticket protocol": {[]string{"reprise.v1", "ticket."}, "", 4401},
	} {
		t.Run(name, func(t *testing.T) {
			client, _, err := dial(t, r, nil, c.protocols...)
			if err != nil {
				t.Fatal(err)
			}
			if c.message != "" {
				client.write(c.message)
			}
			if got := client.closed(); got != c.code {
				t.Errorf("closed with %d, want %d", got, c.code)
			}
		})
	}
}

func TestTicketWorksOnce(t *testing.T) {
	w := newWorld(t)
	w.store.tickets["ONCE"] = w.user("alice")
	r := w.start(nil, func(l *limits) { l.ticketAge = 300 * time.Millisecond })
	for i, want := range []websocket.StatusCode{0, 4401} {
		c, _, err := dial(t, r, nil, "reprise.v1", "ticket.ONCE")
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			c.subscribe("")
			want = 4401 // when the ticket's time is over
		}
		if got := c.closed(); got != want {
			t.Errorf("connection %d closed with %d, want %d", i, got, want)
		}
	}
}

func TestRevokedTokenEndsTheConnection(t *testing.T) {
	w := newWorld(t)
	w.user("alice")
	r := w.start(nil, func(l *limits) { l.tokenRecheck = 10 * time.Millisecond })
	c := connect(t, r, "alice")
	c.subscribe("")
	w.auth.mu.Lock()
	w.auth.down = true // not being able to check is no reason to drop
	w.auth.mu.Unlock()
	time.Sleep(50 * time.Millisecond)
	c.subscribe("")
	w.auth.revoke("alice")
	w.auth.mu.Lock()
	w.auth.down = false
	w.auth.mu.Unlock()
	if got := c.closed(); got != 4401 {
		t.Errorf("closed with %d, want 4401", got)
	}
}

// A connection is closed when its account is, and only then.
func TestRefusedAccountEndsTheConnection(t *testing.T) {
	w := newWorld(t)
	alice := w.user("alice")
	r := w.start(nil, func(l *limits) { l.accountPause = 10 * time.Millisecond })
	disabled := recording.Errorf(recording.CodeAccountDisabled, "disabled")
	for name, c := range map[string]struct {
		err  error
		code websocket.StatusCode
	}{
		"disabled": {disabled, 4403},
		"revoked":  {recording.Errorf(recording.CodeUnauthenticated, "revoked"), 4401},
	} {
		for _, protocols := range [][]string{nil, {"reprise.v1", "ticket.T"}} {
			w.auth.refuse(nil)
			w.store.mu.Lock()
			w.store.tickets["T"] = alice
			w.store.mu.Unlock()
			client, _, err := dial(t, r, nil, protocols...)
			if err != nil {
				t.Fatal(err)
			}
			if protocols == nil {
				client.write(`{"type":"auth","token":"alice"}`)
			}
			client.subscribe("")
			w.auth.refuse(recording.Errorf(recording.CodeUnavailable, "down")) // no reason to drop
			time.Sleep(30 * time.Millisecond)
			client.subscribe("")
			w.auth.refuse(c.err)
			if got := client.closed(); got != c.code {
				t.Errorf("%s, %v: closed with %d, want %d", name, protocols, got, c.code)
			}
		}
	}
	w.auth.refuse(disabled)
	if _, response, _ := dial(t, r, http.Header{"Authorization": {"Bearer alice"}}); response.StatusCode != 403 {
		t.Errorf("the handshake of a disabled user: status %d, want 403", response.StatusCode)
	}
	client, _, err := dial(t, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	client.write(`{"type":"auth","token":"alice"}`)
	if got := client.closed(); got != 4403 {
		t.Errorf("a disabled user: closed with %d, want 4403", got)
	}
}

func TestAuthenticationDown(t *testing.T) {
	w := newWorld(t)
	r := w.start(nil, nil)
	w.auth.down = true
	if _, response, _ := dial(t, r, http.Header{"Authorization": {"Bearer alice"}}); response.StatusCode != 503 {
		t.Errorf("the status is %d, want 503", response.StatusCode)
	}
	c, _, err := dial(t, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.write(`{"type":"auth","token":"alice"}`)
	if got := c.closed(); got != websocket.StatusTryAgainLater {
		t.Errorf("closed with %d, want 1013", got)
	}
}

func TestConnectionsOfAUserAreBounded(t *testing.T) {
	w := newWorld(t)
	w.user("alice")
	w.user("bob")
	r := w.start(nil, func(l *limits) { l.perUser = 2 })
	first, second := connect(t, r, "alice"), connect(t, r, "alice")
	first.subscribe("")
	second.subscribe("")
	if got := connect(t, r, "alice").closed(); got != 4429 {
		t.Errorf("the third connection closed with %d, want 4429", got)
	}
	connect(t, r, "bob").subscribe("")
	_ = first.ws.Close(websocket.StatusNormalClosure, "")
	eventually(t, func() bool { return r.count(t, "reprise_events_connections", "") == 2 })
	connect(t, r, "alice").subscribe("")
	if got := r.count(t, "reprise_events_drops_total", "too_many"); got != 1 {
		t.Errorf("drops_total{too_many} is %v, want 1", got)
	}
}
