package api

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/auth"
	"reprise/recording"
)

// routes are all of the API's, with a body that is valid.
func routes(id string) []request {
	one := "/v1/recordings/" + id
	return []request{
		{method: "GET", path: "/v1/me"},
		{method: "GET", path: "/v1/recordings"},
		{method: "GET", path: "/v1/uploads"},
		{method: "POST", path: "/v1/events/ticket"},
		{method: "GET", path: one},
		{method: "PATCH", path: one, body: `{"title":"x"}`, headers: []string{"Content-Type", "application/json"}},
		{method: "GET", path: one + "/audio?format=original"},
		{method: "GET", path: one + "/audio?format=aac"},
		{method: "HEAD", path: one + "/audio?format=opus"},
		{method: "GET", path: one + "/peaks"},
		{method: "GET", path: one + "/peaks?format=dat"},
		{method: "GET", path: one + "/events"},
		{method: "POST", path: one + "/reprocess"},
		{method: "POST", path: one + "/reprocess", body: `{"stages":["analyse"]}`, headers: []string{"Content-Type", "application/json"}},
		{method: "GET", path: one + "/transcript"},
		{method: "GET", path: one + "/transcript.json"},
		{method: "GET", path: one + "/transcript.vtt"},
		{method: "GET", path: one + "/transcript.srt"},
		{method: "GET", path: one + "/transcript.txt"},
		{method: "PATCH", path: one + "/transcript", body: `{"version":1,"startMs":0,"endMs":1,"text":"x"}`, headers: []string{"Content-Type", "application/json"}},
		{method: "GET", path: one + "/transcript/corrections"},
		{method: "GET", path: one + "/analysis"},
		{method: "GET", path: "/v1/search?q=x"},
		{method: "GET", path: "/v1/stories"},
		{method: "POST", path: "/v1/stories", body: `{"title":"x"}`, headers: []string{"Content-Type", "application/json"}},
		{method: "GET", path: "/v1/stories/" + id},
		{method: "PATCH", path: "/v1/stories/" + id, body: `{"title":"x"}`, headers: []string{"Content-Type", "application/json"}},
		{method: "DELETE", path: "/v1/stories/" + id},
		{method: "PATCH", path: "/v1/entities/" + id, body: `{"name":"x"}`, headers: []string{"Content-Type", "application/json"}},
		{method: "POST", path: "/v1/entities/" + id + "/merge", body: `{"entityId":"` + id + `"}`, headers: []string{"Content-Type", "application/json"}},
		{method: "POST", path: "/v1/entities/" + id + "/split", body: `{"entityId":"` + id + `"}`, headers: []string{"Content-Type", "application/json"}},
		{method: "DELETE", path: one},
	}
}

func TestEveryRouteNeedsAPrincipal(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, req := range routes(s.add(alice).ID.String()) {
		w := s.do(req)
		if got := w.Header()["Www-Authenticate"]; w.Code != http.StatusUnauthorized || !cmp.Equal(got, []string{`Bearer realm="reprise"`}) {
			t.Errorf("%s %s: status %d, WWW-Authenticate %q", req.method, req.path, w.Code, got)
		}
	}
	// Who is nobody learns nothing of parameters either.
	wantProblem(t, s.get(auth.Principal{}, "/v1/recordings?limit=x"), recording.CodeUnauthenticated)
}

func TestEveryRouteHidesInternalErrors(t *testing.T) {
	t.Parallel()
	secret := errors.New("dial tcp 10.0.0.7:5432: password=hunter2")
	for _, req := range routes(uuid.NewString()) {
		s := newServer(t)
		s.err = fmt.Errorf("query: %w", secret)
		req.as = alice
		w := s.do(req)
		if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "hunter2") {
			t.Errorf("%s %s: %d %s", req.method, req.path, w.Code, w.Body)
		}
		if req.method == http.MethodHead {
			continue
		}
		p := wantProblem(t, w, recording.CodeInternal)
		if p.ID == "" || !strings.Contains(s.log.String(), p.ID) || !strings.Contains(s.log.String(), "hunter2") {
			t.Errorf("%s %s: id %q, log %s", req.method, req.path, p.ID, s.log)
		}
		s.err = recording.Wrap(recording.CodeUnavailable, secret, "The database can't be reached.")
		w = s.do(req)
		p = wantProblem(t, w, recording.CodeUnavailable)
		if w.Header().Get("Retry-After") != "5" || p.Detail != "The database can't be reached." {
			t.Errorf("%s %s: %v %s", req.method, req.path, w.Header(), w.Body)
		}
	}
}
