package clients

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reprise/app"
	"reprise/config"
	"reprise/internal/firebasetest"
	"reprise/internal/pgtest"
)

// newFirebaseServers starts replicas whose users are the Firebase emulator's. Each
// knows nothing of what another has looked up.
func newFirebaseServers(t *testing.T, n int) (servers []*server, cfg config.Config) {
	t.Helper()
	address, database, disk := firebasetest.Address(t), pgtest.NewURL(t), t.TempDir()
	for range n {
		servers = append(servers, newServer(t, func(c *config.Config) {
			c.Auth, c.FirebaseProject, c.FirebaseEmulator = "firebase", firebasetest.Project, address
			c.DatabaseURL, c.StorageURL = config.Secret(database), "file://"+disk
			cfg = *c
		}))
	}
	return servers, cfg
}

// of returns somebody at another server.
func (s *server) of(t *testing.T, token string) user { return user{t: t, s: s, token: token} }

type meView struct{ ID, Subject, Email, Name, Provider, Role string }

// Somebody signs up and in at Firebase, and uploads with tus-js-client.
func TestFirebaseSignIn(t *testing.T) {
	t.Parallel()
	servers, _ := newFirebaseServers(t, 1)
	s := servers[0]
	account := firebasetest.SignUp(t, "upload@example.com")
	u := s.of(t, account.SignIn())
	p := u.startClient(tusCase{File: speech})
	p.mustSucceed()
	u.checkStored(p.recording(), speech)

	me := get[meView](u, "/v1/me")
	want := meView{ID: me.ID, Subject: "firebase:" + account.UID, Provider: "password"}
	if diff := cmp.Diff(want, me); diff != "" { // the address is not verified
		t.Errorf("me (-want +got):\n%s", diff)
	}
	account.Update(map[string]any{"emailVerified": true, "displayName": "Zoë", "customAttributes": `{"role":"support"}`})
	newer := s.of(t, account.SignIn())
	want.Email, want.Name, want.Role = account.Email, "Zoë", "support"
	if diff := cmp.Diff(want, get[meView](newer, "/v1/me")); diff != "" {
		t.Errorf("me, with a newer token (-want +got):\n%s", diff)
	}
	if got := get[meView](u, "/v1/me"); got.Name != "Zoë" || got.Role != "" {
		t.Errorf("me, with the older token again: %+v", got)
	}

	header := strings.Split(u.token, ".")[0]
	claims, err := json.Marshal(map[string]any{
		"iss": "https://securetoken.google.com/" + firebasetest.Project, "aud": firebasetest.Project, "sub": account.UID,
		"iat": time.Now().Add(-2 * time.Hour).Unix(), "auth_time": time.Now().Add(-2 * time.Hour).Unix(), "exp": time.Now().Add(-time.Hour).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	expired := s.of(t, header+"."+base64.RawURLEncoding.EncodeToString(claims)+".")
	if got := expired.do(http.MethodGet, "/v1/me", nil); got.status != 401 || !strings.Contains(string(got.body), "has expired") {
		t.Errorf("an expired token: %v", got)
	}
}

// Who is revoked, disabled or deleted at Firebase can't create, complete or delete
// any more.
func TestFirebaseShutsOut(t *testing.T) {
	t.Parallel()
	servers, _ := newFirebaseServers(t, 2)
	tests := map[string]struct {
		change func(*firebasetest.Account)
		status int
		code   string
	}{
		"revoked":  {func(a *firebasetest.Account) { a.Revoke(time.Now().Add(time.Hour)) }, 401, "unauthenticated"},
		"disabled": {func(a *firebasetest.Account) { a.Update(map[string]any{"disableUser": true}) }, 403, "account_disabled"},
		"deleted":  {func(a *firebasetest.Account) { a.Delete() }, 401, "unauthenticated"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			account := firebasetest.SignUp(t, name+"@example.com")
			// The first server knows the account from before, for a minute; the second
			// looks it up when it has been shut out.
			before, after := servers[0].of(t, account.SignIn()), servers[1].of(t, account.SignIn())
			flac := makeFLAC(t)
			path, id := before.create(len(flac), nil)
			path = path[len(before.s.url):]
			if got := before.patch(path, 0, flac[:len(flac)/2]); got.status != 204 {
				t.Fatalf("half of it: %v", got)
			}
			tt.change(account)
			check := func(what string, got answer) {
				t.Helper()
				if got.status != tt.status || got.code() != tt.code {
					t.Errorf("%s: %v, want %d %s", what, got, tt.status, tt.code)
				}
			}
			check("create", after.do(http.MethodPost, "/files/", nil, "Tus-Resumable", "1.0.0", "Upload-Length", "10"))
			check("complete", after.patch(path, len(flac)/2, flac[len(flac)/2:]))
			check("delete the upload", after.do(http.MethodDelete, path, nil, "Tus-Resumable", "1.0.0"))
			check("delete the recording", after.do(http.MethodDelete, "/v1/recordings/"+id, nil))
			check("open a socket", after.do(http.MethodGet, "/v1/events", nil, "Upgrade", "websocket", "Connection", "Upgrade",
				"Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))
			if got := after.head(path); got.header.Get("Upload-Offset") != fmt.Sprint(len(flac)/2) {
				t.Errorf("what was acknowledged before: %v", got)
			}
		})
	}
}

// What a user, support and an admin can do, and what the audit says of it.
func TestRoles(t *testing.T) {
	t.Parallel()
	servers, cfg := newFirebaseServers(t, 2)
	s, other := servers[0], servers[1]
	signIn := func(email, claims string) (user, string) {
		account := firebasetest.SignUp(t, email)
		account.Update(map[string]any{"emailVerified": true, "customAttributes": claims})
		u := s.of(t, account.SignIn())
		return u, get[meView](u, "/v1/me").ID
	}
	plain, plainID := signIn("plain@example.com", `{"role":"user"}`)
	support, supportID := signIn("support@example.com", `{"role":"support"}`)
	admin, adminID := signIn("admin@example.com", `{"role":"admin"}`)
	recordingID, _ := plain.upload(makeFLAC(t), map[string]string{"title": "Private"})

	base, body := "/v1/admin/users/"+plainID, []byte(`{"reason":"spam"}`)
	routes := []struct {
		method, path   string
		asSupport      int
		action, target string
	}{
		{"GET", "/v1/admin/users", 200, "users.list", ""},
		{"GET", "/v1/admin/users?find=Plain@Example.com", 200, "users.find", "Plain@Example.com"},
		{"GET", base, 200, "user.show", plainID},
		{"GET", base + "/recordings", 200, "user.recordings", plainID},
		{"GET", "/v1/admin/audit", 403, "audit.read", ""},
		{"POST", base + "/disable", 403, "user.disable", plainID},
		{"POST", base + "/enable", 403, "user.enable", plainID},
	}
	type line struct{ ActorID, Role, Action, Target, Reason string }
	var want []line
	never := plain.do(http.MethodGet, "/v1/admin/nothing", nil)
	for _, r := range routes {
		do := func(u user) answer {
			if r.method == http.MethodPost {
				return u.do(r.method, r.path, body, "Content-Type", "application/json")
			}
			return u.do(r.method, r.path, nil)
		}
		if got := do(plain); comparable(got) != comparable(never) || got.status != 404 {
			t.Errorf("%s %s as a user: %v", r.method, r.path, got)
		}
		got := do(support)
		if got.status != r.asSupport {
			t.Errorf("%s %s as support: %v", r.method, r.path, got)
		}
		if got.status == 200 {
			want = append(want, line{supportID, "support", r.action, r.target, ""})
		}
		if strings.Contains(string(got.body), "Private") || strings.Contains(string(got.body), "filename") {
			t.Errorf("%s %s tells what is the user's own: %s", r.method, r.path, got.body)
		}
		if got := do(admin); got.status != 200 {
			t.Errorf("%s %s as admin: %v", r.method, r.path, got)
		}
		l := line{adminID, "admin", r.action, r.target, ""}
		if r.method == http.MethodPost {
			l.Reason = "spam"
		}
		want = append(want, l)
	}
	states := get[page[struct{ ID, State string }]](support, base+"/recordings").Items
	if len(states) != 1 || states[0].ID != recordingID || states[0].State == "" {
		t.Errorf("the user's recordings: %+v", states)
	}
	want = append(want, line{supportID, "support", "user.recordings", plainID, ""})
	if found := get[page[meView]](support, "/v1/admin/users?find=plain@example.com").Items; len(found) != 1 || found[0].ID != plainID {
		t.Errorf("found %+v", found)
	}
	want = append(want, line{supportID, "support", "users.find", "plain@example.com", ""})

	// The operator needs no token. A server that has not seen the user knows at once,
	// one that has within a minute.
	var out strings.Builder
	o := app.UserOptions{Config: cfg, Out: &out}
	if err := app.SetUserDisabled(t.Context(), o, "plain@example.com", true, "asked by letter"); err != nil {
		t.Fatal(err)
	}
	want = append(want, line{"", "operator", "user.disable", plainID, "asked by letter"})
	if got := other.of(t, plain.token).do(http.MethodGet, "/v1/me", nil); got.status != 403 || got.code() != "account_disabled" {
		t.Errorf("a disabled user at another server: %v", got)
	}
	if err := app.ShowUser(t.Context(), o, "plain@example.com"); err != nil || !strings.Contains(out.String(), "asked by letter") {
		t.Errorf("reprise user show: %v, %s", err, &out)
	}
	want = append(want, line{"", "operator", "user.show", plainID, ""})
	if err := app.SetUserDisabled(t.Context(), o, "nobody@example.com", true, "x"); err == nil {
		t.Error("somebody who does not exist was disabled")
	}

	var got []line
	for _, l := range get[page[line]](admin, "/v1/admin/audit?limit=200").Items {
		got = append([]line{l}, got...)
	}
	want = append(want, line{adminID, "admin", "audit.read", "", ""})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the audit (-want +got):\n%s", diff)
	}
}
