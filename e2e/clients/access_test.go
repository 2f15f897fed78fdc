package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// operation is a documented method of a path, with ids still to be filled in.
type operation struct {
	method, path string
	statuses     []string
}

func (o operation) String() string { return o.method + " " + o.path }

// operations reads the OpenAPI document. What destroys comes last.
func (u user) operations() []operation {
	u.t.Helper()
	doc := get[struct {
		Paths map[string]map[string]struct {
			Responses map[string]json.RawMessage
		}
	}](u, "/openapi.json")
	var list []operation
	for path, methods := range doc.Paths {
		for method, op := range methods {
			list = append(list, operation{strings.ToUpper(method), path, slices.Collect(maps.Keys(op.Responses))})
		}
	}
	slices.SortFunc(list, func(a, b operation) int {
		rank := func(o operation) string { return fmt.Sprint(o.method == http.MethodDelete, o.path, o.method) }
		return strings.Compare(rank(a), rank(b))
	})
	if len(list) < 15 {
		u.t.Fatalf("only %d operations are documented", len(list))
	}
	return list
}

// perform sends a request that is valid but for the ids.
func (u user) perform(o operation, recordingID, uploadID string) answer {
	u.t.Helper()
	id := recordingID
	if strings.HasPrefix(o.path, "/files/") || strings.HasPrefix(o.path, "/v1/entities/") {
		id = uploadID
	}
	if strings.HasPrefix(o.path, "/v1/admin/") && u.id != "" {
		id = u.id
	}
	path := strings.ReplaceAll(o.path, "{id}", id)
	if strings.Contains(path, "{") {
		u.t.Fatalf("%s has a parameter that this test does not know", o)
	}
	switch o.String() {
	case "POST /files/":
		return u.do(o.method, path, nil, "Tus-Resumable", "1.0.0", "Upload-Length", "10")
	case "PATCH /files/{id}":
		return u.patch(path, 0, []byte("fLaC\x00\x00\x00\x22\x10\x00\x10\x00\x00\x00\x0c\x00"))
	case "POST /v1/admin/users/{id}/disable", "POST /v1/admin/users/{id}/enable":
		return u.do(o.method, path, []byte(`{"reason":"A test"}`), "Content-Type", "application/json")
	case "GET /v1/search":
		path += "?q=speech"
	case "PATCH /v1/recordings/{id}/transcript":
		return u.do(o.method, path, []byte(`{"version":1,"startMs":0,"endMs":1,"text":"Mine"}`), "Content-Type", "application/json")
	case "PATCH /v1/recordings/{id}", "PATCH /v1/stories/{id}", "POST /v1/stories":
		return u.do(o.method, path, []byte(`{"title":"Mine"}`), "Content-Type", "application/json")
	case "PATCH /v1/entities/{id}":
		return u.do(o.method, path, []byte(`{"name":"Mine"}`), "Content-Type", "application/json")
	case "POST /v1/entities/{id}/merge", "POST /v1/entities/{id}/split":
		return u.do(o.method, path, fmt.Appendf(nil, `{"entityId":%q}`, partner(uploadID)), "Content-Type", "application/json")
	}
	switch o.path { // of any method
	case "/v1/graph/path":
		path += "?from=" + recordingID + "&to=" + uploadID
	case "/v1/graph/neighborhood":
		path += "?depth=2&of=" + recordingID
	}
	return u.do(o.method, path, nil, "Tus-Resumable", "1.0.0")
}

// partner is the id of somebody who may be merged into the person of this one.
func partner(id string) string { return uuid.NewSHA1(uuid.Nil, []byte(id)).String() }

// owned gives somebody a recording that is ready, and an unfinished upload; a story of the
// recording's id, which clients choose; and two people, one of the upload's id, whom the
// recording mentions. The graph knows them, if there is one.
func (u user) owned() (recordingID, uploadID string) {
	u.t.Helper()
	recordingID, _ = u.upload(makeFLAC(u.t), map[string]string{"title": "Theirs"})
	if r := u.settled(recordingID); r.State != "ready" {
		u.t.Fatalf("recording is %s (%s)", r.State, r.Reason)
	}
	url, _ := u.create(1000, nil)
	uploadID = url[strings.LastIndex(url, "/")+1:]
	for _, change := range [][2]string{{"/v1/recordings/", `{"storyId":"` + recordingID + `"}`}, {"/v1/stories/", `{"title":"Theirs"}`}} {
		if got := u.do(http.MethodPatch, change[0]+recordingID, []byte(change[1]), "Content-Type", "application/json"); got.status != http.StatusOK {
			u.t.Fatal(got)
		}
	}
	ctx := u.t.Context()
	db, err := pgx.Connect(ctx, u.s.database)
	if err != nil {
		u.t.Fatal(err)
	}
	defer db.Close(context.WithoutCancel(ctx))
	for _, statement := range []string{`
		INSERT INTO entities (id, owner_id, kind, key, name, renamed, created_at)
		SELECT n.id, r.owner_id, 'person', n.id::text, 'Theirs', true, now() FROM recordings r, unnest(ARRAY[$2, $3]::uuid[]) AS n(id) WHERE r.id = $1::uuid`, `
		INSERT INTO mentions (recording_id, entity_id, count, at_ms) SELECT $1::uuid, $2::uuid, 1, '{0}' WHERE $3 <> ''`, `
		WITH touched AS (
			INSERT INTO graph_versions (kind, id, owner_id, version)
			SELECT n.kind, n.id, r.owner_id, nextval('graph_version') FROM recordings r, (VALUES ('entity', $2::uuid), ('recording', $1::uuid)) AS n(kind, id)
			WHERE r.id = $1::uuid AND $3 <> '' ON CONFLICT (kind, id) DO UPDATE SET version = nextval('graph_version') RETURNING kind, id, version
		)
		INSERT INTO graph_outbox (kind, id, version, at, not_before) SELECT kind, id, version, now(), now() FROM touched`,
	} {
		if _, err := db.Exec(ctx, statement, recordingID, uploadID, partner(uploadID)); err != nil {
			u.t.Fatal(err)
		}
	}
	if u.s.graph {
		u.awaitGraph(recordingID, uploadID)
	}
	return recordingID, uploadID
}

// awaitGraph waits until the graph knows that a recording mentions somebody.
func (u user) awaitGraph(recordingID, uploadID string) {
	u.t.Helper()
	path := operation{method: http.MethodGet, path: "/v1/graph/path"}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		got := u.perform(path, recordingID, uploadID)
		if strings.Contains(string(got.body), `"mentions"`) {
			return
		}
		if time.Now().After(deadline) {
			u.t.Fatalf("the graph does not know it: %v", got)
		}
	}
}

// Every documented operation exists and answers its owner as documented.
func TestDocumentedOperationsAreRouted(t *testing.T) {
	t.Parallel()
	s := newServer(t, onGraph(t))
	u := s.administrator(t, "alice")
	recordingID, uploadID := u.owned()
	for _, o := range u.operations() {
		if o.path == "/v1/events" { // TestEventSocketLogins
			continue
		}
		got := u.perform(o, recordingID, uploadID)
		if o.path == "/v1/recordings/{id}/reprocess" && got.status == http.StatusConflict {
			continue // it is ready, so there is nothing to try again
		}
		if strings.HasSuffix(o.path, "/analysis") || strings.Contains(o.path, "/{id}/transcript") && !strings.HasSuffix(o.path, "/corrections") {
			if got.status != http.StatusNotFound || got.code() != "not_found" {
				t.Errorf("%s: %v", o, got) // it is not transcribed here; TestWords has one that is
			}
			continue
		}
		if got.status >= 300 || !slices.Contains(o.statuses, fmt.Sprint(got.status)) {
			t.Errorf("%s: %v; documented are %v", o, got, o.statuses)
		}
	}
	metrics := string(u.do(http.MethodGet, s.admin+"/metrics", nil).body)
	for _, o := range u.operations() {
		route := o.path
		if strings.HasPrefix(route, "/files/") {
			route = "/files/"
		}
		if o.path != "/v1/events" && !strings.Contains(metrics, fmt.Sprintf(`reprise_http_requests_total{method="%s",route="%s",`, o.method, route)) {
			t.Errorf("%s is not counted as a route of its own", o)
		}
	}
	for _, path := range []string{"/v1/", "/v1/nothing", "/v1/recordings/" + recordingID + "/nothing"} {
		if got := u.do(http.MethodGet, path, nil); got.status != http.StatusNotFound || got.code() != "not_found" {
			t.Errorf("GET %s: %v", path, got)
		}
	}
	for _, path := range []string{"/v1/recordings", "/files/" + uploadID, "/v1/me"} {
		if got := u.do(http.MethodPut, path, nil); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") == "" {
			t.Errorf("PUT %s: %v", path, got)
		}
	}
}

// A 401 is the same whoever gives it, and below /files/ it speaks tus, which wants
// its version in every answer.
func TestRefusalsOfTokens(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for name, token := range map[string]string{"none": "", "a bad one": "x.y.z"} {
		nobody := user{t: t, s: s, token: token}
		for _, path := range []string{"/files/", "/files", "/files/01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c", "/v1/recordings"} {
			method, tus := http.MethodHead, "1.0.0"
			switch {
			case !strings.HasPrefix(path, "/files"):
				method, tus = http.MethodGet, ""
			case len(path) < 10:
				method = http.MethodPost
			}
			got := nobody.do(method, path, nil, "Tus-Resumable", "1.0.0")
			if got.status != http.StatusUnauthorized || got.header.Get("Tus-Resumable") != tus {
				t.Errorf("%s, %s: %v", name, path, got)
			}
			if challenge := got.header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, `Bearer realm="reprise"`) {
				t.Errorf("%s, %s: WWW-Authenticate: %s", name, path, challenge)
			}
		}
	}
	// The IETF's draft has no such header.
	got := user{t: t, s: s, token: "x"}.do(http.MethodPost, "/files/", nil, "Upload-Draft-Interop-Version", "6", "Upload-Complete", "?1")
	if got.status != http.StatusUnauthorized || got.header.Get("Tus-Resumable") != "" {
		t.Errorf("draft: %v", got)
	}
}

// The ways to say who one is on an event socket.
func TestEventSocketLogins(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	u := s.user(t, "alice")
	ticket := func() string {
		var v struct{ Ticket string }
		if err := json.Unmarshal(u.do(http.MethodPost, "/v1/events/ticket", nil).body, &v); err != nil {
			t.Fatal(err)
		}
		return v.Ticket
	}
	used, page := ticket(), http.Header{"Origin": {s.url}}
	tests := []struct {
		name         string
		header       http.Header
		subprotocols []string
		first        map[string]string
		want         websocket.StatusCode // 0: it is let in
	}{
		{"header", http.Header{"Authorization": {"Bearer " + u.token}}, nil, nil, 0},
		{"ticket as subprotocol", page, []string{"reprise.v1", "ticket." + used}, nil, 0},
		{"used ticket", page, []string{"reprise.v1", "ticket." + used}, nil, 4401},
		{"token in the first message", page, nil, map[string]string{"type": "auth", "token": u.token}, 0},
		{"ticket in the first message", page, nil, map[string]string{"type": "auth", "ticket": ticket()}, 0},
		{"wrong token in the first message", page, nil, map[string]string{"type": "auth", "token": u.token + "x"}, 4401},
		{"subscribing as nobody", page, nil, map[string]string{"type": "subscribe"}, 4401},
	}
	for _, tt := range tests { // in this order: a ticket is used up
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		c, _, err := websocket.Dial(ctx, s.url+"/v1/events", &websocket.DialOptions{HTTPClient: s.http, HTTPHeader: tt.header, Subprotocols: tt.subprotocols})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if tt.first != nil {
			err = send(ctx, c, tt.first)
		}
		if err == nil {
			// A connection that is closed already takes it or not; what counts is the answer.
			_ = send(ctx, c, map[string]string{"type": "subscribe"})
			_, _, err = c.Read(ctx)
		}
		if got := websocket.CloseStatus(err); tt.want == 0 && err != nil || tt.want != 0 && got != tt.want {
			t.Errorf("%s: %v, want close code %d", tt.name, err, tt.want)
		}
		c.CloseNow()
		cancel()
	}
	for query, status := range map[string]int{"?token=" + u.token: http.StatusBadRequest, "": http.StatusUpgradeRequired} {
		if got := u.do(http.MethodGet, "/v1/events"+query, nil); got.status != status {
			t.Errorf("GET /v1/events%.10s: %v", query, got)
		}
	}
}
