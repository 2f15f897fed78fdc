package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// stop is what the walk does at a route. Exactly one field is set.
type stop struct {
	// named: the path has the id of something; these are queries to ask with.
	named []string
	// own: the answer is about who asks; these are queries to ask with.
	own []string
	// open: the answer is the same for everybody; this is why.
	open string
	// hidden: it is for roles that neither has, and for others it is not there.
	hidden bool
	// special: what it is about is not said in the path.
	special func(w *walk)
}

// stops is the walk's table. A route that is not in it fails the walk: say here what
// it may show to whom.
func (w *walk) stops() map[string]stop {
	plain := []string{""}
	cursor := func(list string) string {
		return "?cursor=" + get[page[json.RawMessage]](w.alice, list+"?limit=1").NextCursor
	}
	return map[string]stop{
		"OPTIONS /files/":     {open: "what the server can do"},
		"OPTIONS /files":      {open: "the same"},
		"OPTIONS /files/{id}": {open: "the same, whatever the id"},
		"POST /files/":        {special: (*walk).creations},
		"POST /files":         {own: plain},
		"HEAD /files/{id}":    {named: plain},
		"PATCH /files/{id}":   {named: plain},
		"DELETE /files/{id}":  {named: plain},

		"GET /v1/me":                         {own: plain},
		"GET /v1/recordings":                 {own: []string{"", cursor("/v1/recordings"), "?storyId=" + w.recordingID}},
		"GET /v1/uploads":                    {own: []string{"", cursor("/v1/uploads")}},
		"GET /v1/recordings/{id}":            {named: plain},
		"PATCH /v1/recordings/{id}":          {named: plain},
		"DELETE /v1/recordings/{id}":         {named: plain},
		"POST /v1/recordings/{id}/reprocess": {named: plain},
		"GET /v1/recordings/{id}/analysis":   {named: plain},
		"GET /v1/recordings/{id}/events":     {named: []string{"", "?since=1&limit=2"}},
		"GET /v1/recordings/{id}/peaks":      {named: []string{"", "?format=dat", "?redirect=false"}},
		"GET /v1/recordings/{id}/audio":      {named: []string{"", "?format=original", "?format=opus", "?redirect=false"}},
		"HEAD /v1/recordings/{id}/audio":     {named: []string{"", "?format=original"}},
		"GET /v1/events":                     {special: (*walk).sockets},

		"GET /v1/recordings/{id}/transcript":             {named: plain},
		"PATCH /v1/recordings/{id}/transcript":           {named: plain},
		"GET /v1/recordings/{id}/transcript.json":        {named: plain},
		"GET /v1/recordings/{id}/transcript.vtt":         {named: plain},
		"GET /v1/recordings/{id}/transcript.srt":         {named: plain},
		"GET /v1/recordings/{id}/transcript.txt":         {named: plain},
		"GET /v1/recordings/{id}/transcript/corrections": {named: plain},
		"GET /v1/search": {own: []string{"?q=theirs", "?q=thei*&limit=1", "?q=theris", "?q=theirs&from=2000-01-01T00:00:00Z"}},

		"GET /v1/stories":              {own: []string{"", cursor("/v1/stories")}},
		"POST /v1/stories":             {own: plain},
		"GET /v1/stories/{id}":         {named: plain},
		"PATCH /v1/stories/{id}":       {named: plain},
		"DELETE /v1/stories/{id}":      {named: plain},
		"PATCH /v1/entities/{id}":      {named: plain},
		"POST /v1/entities/{id}/merge": {named: plain},
		"POST /v1/entities/{id}/split": {named: plain},

		"GET /v1/recordings/{id}/related": {named: []string{"", "?limit=1"}},
		"GET /v1/entities":                {own: []string{"", "?q=thei", "?kind=person&limit=1"}},
		"GET /v1/entities/{id}":           {named: []string{"", "?limit=1"}},
		"GET /v1/graph/path":              {named: plain},
		"GET /v1/graph/neighborhood":      {named: plain},
		"GET /v1/timeline":                {own: []string{"", "?storyId=" + w.recordingID, "?entityId=" + w.uploadID}},

		"POST /v1/events/ticket": {own: plain},

		"GET /v1/admin/users":                 {hidden: true},
		"GET /v1/admin/users/{id}":            {hidden: true},
		"GET /v1/admin/users/{id}/recordings": {hidden: true},
		"POST /v1/admin/users/{id}/disable":   {hidden: true},
		"POST /v1/admin/users/{id}/enable":    {hidden: true},
		"GET /v1/admin/audit":                 {hidden: true},

		"GET /openapi.json": {open: "documentation"},
		"GET /docs":         {open: "documentation"},
		"/v1/":              {open: "what is served nowhere else below it: 404 or 405, by the path alone"},
		"/":                 {open: "the console's files"},
	}
}

// TestOwnership walks every route of the running server: what is somebody else's
// answers exactly as what never existed, with the same work done for it, and none of
// it changes. It has all of the routes from the server itself.
func TestOwnership(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	stops, routes := w.stops(), w.routes()
	for route := range stops {
		if !slices.Contains(routes, route) {
			t.Errorf("the server has no route %s", route)
		}
	}
	rows, keys := w.rows(), w.storage.Keys(t, w.bucket)
	for _, route := range routes {
		s, ok := stops[route]
		method, path, _ := strings.Cut(route, " ")
		o := operation{method: method, path: path}
		switch {
		case !ok:
			t.Errorf("the walk does not know the route %s: add it to stops", route)
		case s.open != "":
		case s.hidden:
			w.hidden(o)
			w.needsToken(o)
		case s.special != nil:
			s.special(w)
			w.needsToken(o)
		default:
			for _, query := range s.named {
				w.named(o, query)
			}
			for _, query := range s.own {
				w.own(o, query)
			}
			w.needsToken(o)
		}
	}
	if diff := cmp.Diff(rows, w.rows()); diff != "" {
		t.Errorf("the walk has changed alice's rows (-before +after):\n%s", diff)
	}
	metrics := string(w.bob.do(http.MethodGet, w.s.admin+"/metrics", nil).body)
	if strings.Contains(w.s.log.String()+metrics, strings.TrimPrefix(w.ticket.token, "rpu_")) {
		t.Error("the ticket is in the log or in a metric")
	}
	if diff := cmp.Diff(keys, w.storage.Keys(t, w.bucket)); diff != "" {
		t.Errorf("the walk has changed what is stored (-before +after):\n%s", diff)
	}
}

// routes are what the server says it serves: the patterns of its mux, the operations
// it documents, and the methods that it allows where one pattern has several.
func (w *walk) routes() []string {
	w.t.Helper()
	var list []string
	for _, pattern := range w.s.routes {
		if !strings.HasPrefix(pattern, "/files") {
			list = append(list, pattern)
		}
	}
	for _, o := range w.alice.operations() {
		list = append(list, o.String())
	}
	for _, path := range []string{"/files", "/files/", "/files/{id}"} {
		allow := w.bob.do(http.MethodPut, path, nil).header.Get("Allow")
		for method := range strings.SplitSeq(allow, ", ") {
			list = append(list, method+" "+path)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// named asks for what alice has, for what never existed, and for what is no id.
func (w *walk) named(o operation, query string) {
	w.t.Helper()
	operations := []operation{{method: o.method, path: o.path + query}}
	if o.method == http.MethodGet { // a mux serves HEAD with it
		operations = append(operations, operation{method: http.MethodHead, path: o.path + query})
	}
	for _, o := range operations {
		unknown := newID()
		want := w.ask(w.bob, unknown, func(u user) answer { return u.perform(o, unknown, unknown) })
		if want.status != http.StatusNotFound {
			w.t.Errorf("%s of what never was: %s", o, want.text)
		}
		for _, ids := range [][2]string{{w.recordingID, w.uploadID}, {w.uploadID, w.recordingID}, {w.pieceID, w.pieceID}} {
			got := w.ask(w.bob, "", func(u user) answer { return u.perform(o, ids[0], ids[1]) })
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(asked{})); diff != "" {
				w.t.Errorf("%s of alice's, asked by bob (-never was +hers):\n%s", o, diff)
			}
		}
		// What is no id can be nobody's: nothing needs to be looked up.
		for _, id := range []string{"x", "0", "%2e%2e", strings.Repeat("a", 1000), w.recordingID + "x", "urn:uuid:" + w.uploadID} {
			got := w.ask(w.bob, "", func(u user) answer { return u.perform(o, id, id) })
			if got.text != want.text {
				w.t.Errorf("%s of no id (-never was +%.40s):\n%s", o, id, cmp.Diff(want.text, got.text))
			}
		}
		w.byTicket(o, want)
	}
}

// hidden asks for what only a role may see, of alice and of nobody.
func (w *walk) hidden(o operation) {
	w.t.Helper()
	nothing := w.ask(w.bob, "", func(u user) answer { return u.do(http.MethodGet, "/v1/recordings/"+newID(), nil) })
	alice := get[struct{ ID string }](w.alice, "/v1/me").ID
	for _, id := range []string{alice, newID(), "x"} {
		got := w.ask(w.bob, "", func(u user) answer { return u.perform(o, id, "") })
		if got.text != nothing.text || len(got.sql) > 0 || got.stored > 0 {
			w.t.Errorf("%s without a role: %+v (-what never was +this):\n%s", o, got, cmp.Diff(nothing.text, got.text))
		}
	}
}

// byTicket asks with the ticket of another of alice's uploads.
func (w *walk) byTicket(o operation, want asked) {
	w.t.Helper()
	if !strings.HasPrefix(o.path, "/files/") {
		got := w.ask(w.ticket, "", func(u user) answer { return u.perform(o, w.recordingID, "") })
		if got.status != http.StatusUnauthorized || len(got.sql) > 0 || got.stored > 0 {
			w.t.Errorf("%s with an upload's ticket: %+v", o, got)
		}
		return
	}
	unknown := newID()
	never := w.ask(w.ticket, unknown, func(u user) answer { return u.perform(o, "", unknown) })
	if never.text != want.text {
		w.t.Errorf("%s of what never was (-token +ticket):\n%s", o, cmp.Diff(want.text, never.text))
	}
	for _, id := range []string{w.uploadID, w.pieceID} {
		got := w.ask(w.ticket, "", func(u user) answer { return u.perform(o, "", id) })
		if diff := cmp.Diff(never, got, cmp.AllowUnexported(asked{})); diff != "" {
			w.t.Errorf("%s with the ticket of another upload (-never was +hers):\n%s", o, diff)
		}
	}
}

// own asks for what bob has.
func (w *walk) own(o operation, query string) {
	w.t.Helper()
	got := w.ask(w.bob, "", func(u user) answer {
		if o.String() == "POST /files" {
			return u.do(o.method, o.path, nil, "Tus-Resumable", "1.0.0", "Upload-Length", "10")
		}
		return u.perform(operation{method: o.method, path: o.path + query}, "", "")
	})
	if got.status >= 300 {
		w.t.Errorf("%s%s: %s", o, query, got.text)
	}
	w.noSecrets(o.String()+query, got.text)
}

func (w *walk) noSecrets(what, text string) {
	w.t.Helper()
	for _, secret := range w.secrets {
		if strings.Contains(text, secret) {
			w.t.Errorf("%s tells bob %q:\n%s", what, secret, text)
		}
	}
}

// needsToken asks as nobody.
func (w *walk) needsToken(o operation) {
	w.t.Helper()
	if o.path == "/v1/events" { // its own answers to that: TestEventSocketLogins
		return
	}
	nobody := user{t: w.t, s: w.s}
	got := w.ask(nobody, "", func(u user) answer { return u.perform(o, w.recordingID, w.uploadID) })
	if got.status != http.StatusUnauthorized || !strings.Contains(got.text, "Bearer") || len(got.sql) > 0 || got.stored > 0 {
		w.t.Errorf("%s without a token: %+v", o, got)
	}
	if !strings.Contains(o.path, "{id}") {
		got = w.ask(w.ticket, "", func(u user) answer { return u.perform(o, "", "") })
		if got.status != http.StatusUnauthorized || len(got.sql) > 0 || got.stored > 0 {
			w.t.Errorf("%s with an upload's ticket: %+v", o, got)
		}
	}
}

// creations name other uploads: those to join, and one by its clientId.
func (w *walk) creations() {
	w.t.Helper()
	w.own(operation{method: http.MethodPost, path: "/files/"}, "")
	data := []byte("fLaC\x00\x00\x00\x22\x10\x00\x10\x00\x00\x00\x0c\x00")
	mine := w.bob.piece(data)
	join := func(list string) func(user) answer {
		return func(u user) answer {
			return u.do(http.MethodPost, "/files/", nil, "Tus-Resumable", "1.0.0", "Upload-Concat", "final;"+list)
		}
	}
	for _, list := range []string{"/files/%s", "/files/" + mine + " /files/%s", "/files/%s /files/" + mine} {
		unknown := newID()
		want := w.ask(w.bob, unknown, join(fmt.Sprintf(list, unknown)))
		if want.status != http.StatusNotFound {
			w.t.Errorf("joining what never was: %s", want.text)
		}
		for _, id := range []string{w.pieceID, w.uploadID} {
			got := w.ask(w.bob, id, join(fmt.Sprintf(list, id)))
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(asked{})); diff != "" {
				w.t.Errorf("joining alice's (-never was +hers):\n%s", diff)
			}
		}
	}
	got := w.ask(w.bob, "", func(u user) answer {
		return u.do(http.MethodPost, "/files/", nil, "Tus-Resumable", "1.0.0", "Upload-Length", "1000",
			"Upload-Metadata", encodeMetadata(map[string]string{"clientId": w.clientID}))
	})
	if got.status != http.StatusCreated {
		w.t.Errorf("a clientId that alice has, too: %s", got.text)
	}
	w.noSecrets("a clientId that alice has, too,", got.text)
}

// sockets subscribe to what alice has, and to what never existed.
func (w *walk) sockets() {
	w.t.Helper()
	unknown := newID()
	want := w.subscribe(unknown, unknown)
	if diff := cmp.Diff(want, w.subscribe(w.recordingID, w.recordingID), cmp.AllowUnexported(asked{})); diff != "" {
		w.t.Errorf("subscribing to alice's recording (-never was +hers):\n%s", diff)
	}
	w.noSecrets("the socket", w.subscribe("", "").text)
}

// subscribe returns what a socket of bob's says of a recording, or of all that is his.
func (w *walk) subscribe(id, mask string) asked {
	w.t.Helper()
	return w.ask(w.bob, mask, func(u user) answer {
		ctx, cancel := context.WithTimeout(w.t.Context(), patience)
		defer cancel()
		c, _, err := websocket.Dial(ctx, w.s.url+"/v1/events", &websocket.DialOptions{HTTPClient: w.s.http, HTTPHeader: http.Header{
			"Authorization": {"Bearer " + u.token}, "X-Request-Id": {u.requestID},
		}})
		if err != nil {
			w.t.Fatal(err)
		}
		defer c.CloseNow()
		subscribe := map[string]any{"type": "subscribe", "since": 0}
		if id != "" {
			subscribe["recordings"] = []string{id}
		}
		// The second message is answered once everything that is there has been sent.
		if err := errors.Join(send(ctx, c, subscribe), send(ctx, c, map[string]string{"type": "that is all"})); err != nil {
			w.t.Fatal(err)
		}
		var said answer
		for !strings.Contains(string(said.body), `"error"`) {
			_, frame, err := c.Read(ctx)
			if err != nil {
				w.t.Fatal(err)
			}
			said.body = append(append(said.body, frame...), '\n')
		}
		return said
	})
}
