package events

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// A client's message is one command or a refusal that quotes nothing of it.
func FuzzMessage(f *testing.F) {
	for _, seed := range []string{
		`{"type":"auth","token":"x"}`, `{"type":"auth","token":"x","ticket":"y"}`, `{"type":"subscribe"}`, `{"type":"subscribe","recordings":["x"],"since":-1}`,
		`{"type":"subscribe","recordings":["01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"],"since":42}`, `{"type":"subscribe","recordings":null}`, `[]`, `{"since":1e30}`, "\xff", ``,
	} {
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, text bool) {
		kind := websocket.MessageBinary
		if text {
			kind = websocket.MessageText
		}
		c := parse(kind, data, 3)
		set := 0
		if c.auth != nil {
			set++
			if (c.auth.Token == "") == (c.auth.Ticket == "") {
				t.Fatalf("%+v", c.auth)
			}
		}
		if s := c.subscribe; s != nil {
			set++
			if len(s.list) > 3 || len(s.set) > len(s.list) || s.since != nil && *s.since < 0 || (s.list == nil) != (s.set == nil) {
				t.Fatalf("%+v", s)
			}
		}
		if c.refused != nil {
			set++
		}
		if set != 1 || !text && c.refused == nil {
			t.Fatalf("%q is %+v", data, c)
		}
		if c.refused != nil && len(c.refused.Message) > 120 {
			t.Fatalf("the refusal is %q", c.refused.Message)
		}
	})
}

// Only what follows the prefix in one of the names is a ticket, and nothing else lets an
// origin in but the list and the server's own.
func FuzzHandshake(f *testing.F) {
	f.Add("reprise.v1, ticket.ABC", "https://app.example.com", "127.0.0.1:1")
	f.Add("ticket.", "http://127.0.0.1:1", "127.0.0.1:1")
	f.Add(",,ticket.a b", "null", "null")
	f.Add("x", "https://app.example.com@evil", "evil")
	f.Fuzz(func(t *testing.T, protocols, origin, host string) {
		r := httptest.NewRequest(http.MethodGet, "/v1/events", nil)
		r.Host = host
		r.Header = http.Header{"Sec-Websocket-Protocol": {protocols}, "Origin": {origin}}
		if ticket := ticketOf(r); ticket != "" && (!strings.Contains(protocols, "ticket."+ticket) || strings.Contains(ticket, ",")) {
			t.Fatalf("%q has the ticket %q", protocols, ticket)
		}
		h := &Hub{origins: map[string]bool{"https://app.example.com": true}}
		own := strings.EqualFold(origin, "http://"+host) || strings.EqualFold(origin, "https://"+host)
		if h.originAllowed(r) && origin != "https://app.example.com" && !own {
			t.Fatalf("the origin %q may connect to %q", origin, host)
		}
	})
}

// A payload from another replica, perhaps of another version, harms nobody.
func FuzzPayload(f *testing.F) {
	f.Add(`{"owner":"01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c","seq":4}`)
	f.Add(`{"tick":{"type":"upload.progress","data":null},"from":"x"}`)
	f.Add(`{"seq":1e30}`)
	f.Fuzz(func(t *testing.T, text string) {
		var p payload
		if json.Unmarshal([]byte(text), &p) == nil && p.Tick != nil {
			if _, err := json.Marshal(p.Tick); err != nil {
				t.Fatal(err)
			}
		}
	})
}
