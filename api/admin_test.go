package api

import (
	"errors"
	"net/http"
	"testing"

	"reprise/recording"
)

// adminRoutes are those for roles.
func adminRoutes() []request {
	one := "/v1/admin/users/" + alice.UserID.String()
	change := []string{"Content-Type", "application/json"}
	return []request{
		{method: "GET", path: "/v1/admin/users"},
		{method: "GET", path: "/v1/admin/users?find=alice@example.com"},
		{method: "GET", path: one},
		{method: "GET", path: one + "/recordings"},
		{method: "POST", path: one + "/disable", body: `{"reason":"spam"}`, headers: change},
		{method: "POST", path: one + "/enable", body: `{"reason":"sorry"}`, headers: change},
		{method: "GET", path: "/v1/admin/audit"},
	}
}

func TestRolesSeeOnlyTheirs(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for i, req := range adminRoutes() {
		wantProblem(t, s.do(req), recording.CodeUnauthenticated)
		req.as = bob
		wantProblem(t, s.do(req), recording.CodeNotFound)
		wantProblem(t, s.get(bob, "/v1/admin/users?limit=x"), recording.CodeNotFound) // nothing of parameters either
		req.as.Role = recording.RoleSupport
		if w := s.do(req); i < 4 && w.Code != http.StatusOK || i >= 4 && w.Code != http.StatusForbidden {
			t.Errorf("%s %s as support: %d %s", req.method, req.path, w.Code, w.Body)
		}
		req.as.Role = recording.RoleAdmin
		if w := s.do(req); w.Code != http.StatusOK {
			t.Errorf("%s %s as admin: %d %s", req.method, req.path, w.Code, w.Body)
		}
	}
	if want := 4 + len(adminRoutes()); len(s.audit) != want {
		t.Errorf("%d uses were written down, want %d", len(s.audit), want)
	}
}

// A role ends with its account, and what can't be written down is not answered.
func TestRolesOfRefusedAccounts(t *testing.T) {
	t.Parallel()
	for _, req := range adminRoutes() {
		s := newServer(t)
		req.as = bob
		req.as.Role = recording.RoleAdmin
		s.refused = recording.Errorf(recording.CodeAccountDisabled, "disabled")
		wantProblem(t, s.do(req), recording.CodeAccountDisabled)
		if len(s.audit) != 0 {
			t.Errorf("%s %s: written down %+v", req.method, req.path, s.audit)
		}
		s.refused, s.err = nil, errors.New("no audit")
		wantProblem(t, s.do(req), recording.CodeInternal)
	}
}

func TestAdminRefusesControlCharacters(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	admin := bob
	admin.Role = recording.RoleAdmin
	wantProblem(t, s.get(admin, "/v1/admin/users?find=a%00b"), recording.CodeInvalidRequest)
	wantProblem(t, s.get(admin, "/v1/admin/users?find=a%ffb"), recording.CodeInvalidRequest)
	wantProblem(t, s.do(request{as: admin, method: "POST", path: "/v1/admin/users/" + alice.UserID.String() + "/disable",
		body: `{"reason":"a\u001bb"}`, headers: []string{"Content-Type", "application/json"}}), recording.CodeInvalidRequest)
	if len(s.audit) != 0 {
		t.Errorf("written down: %+v", s.audit)
	}
}

// What changes something is for accounts that are in order; looking is for all.
func TestRefusedAccountsChangeNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	id := s.add(alice).ID
	s.refused = recording.Errorf(recording.CodeAccountDisabled, "disabled")
	for _, req := range routes(id.String()) {
		req.as = alice
		w := s.do(req)
		if changes := req.method != "GET" && req.method != "HEAD"; changes != (w.Code == http.StatusForbidden) {
			t.Errorf("%s %s: status %d", req.method, req.path, w.Code)
		}
	}
}
