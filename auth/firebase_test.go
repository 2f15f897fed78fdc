package auth_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"reprise/auth"
	"reprise/recording"
)

const project = "example-12345"

// google publishes certificates of the test's own, as Google does. It is an
// http.RoundTripper.
type google struct {
	mu    sync.Mutex
	keys  map[string]*rsa.PrivateKey
	down  error
	asked int
}

func newGoogle(t *testing.T, ids ...string) *google {
	t.Helper()
	g := &google{keys: map[string]*rsa.PrivateKey{}}
	for _, id := range ids {
		g.add(t, id)
	}
	return g
}

func (g *google) add(t *testing.T, id string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys[id] = key
}

func (g *google) remove(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.keys, id)
}

func (g *google) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = err
}

func (g *google) requests() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked
}

func (g *google) RoundTrip(r *http.Request) (*http.Response, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	if g.down != nil {
		return nil, g.down
	}
	if !strings.HasPrefix(r.URL.String(), "https://www.googleapis.com/") {
		return nil, errors.New("asked for " + r.URL.String())
	}
	list := map[string]string{}
	for id, key := range g.keys {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			return nil, err
		}
		list[id] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	body, err := json.Marshal(list)
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Cache-Control": {"public, max-age=3600, must-revalidate"}},
		Body: io.NopCloser(strings.NewReader(string(body))), Request: r,
	}, err
}

// idClaims returns what a good ID token has, changed by edit.
func idClaims(edit func(c jwt.MapClaims)) jwt.MapClaims {
	c := jwt.MapClaims{
		"iss": "https://securetoken.google.com/" + project, "aud": project, "sub": "uid1", "user_id": "uid1",
		"iat": testTime.Unix(), "exp": testTime.Add(time.Hour).Unix(), "auth_time": testTime.Add(-time.Minute).Unix(),
		"email": "alice@example.com", "email_verified": true, "name": "Alice",
		"firebase": map[string]any{"sign_in_provider": "google.com", "identities": map[string]any{}},
	}
	if edit != nil {
		edit(c)
	}
	return c
}

// idToken signs claims with one of google's keys.
func (g *google) idToken(t *testing.T, kid string, edit func(c jwt.MapClaims)) string {
	t.Helper()
	g.mu.Lock()
	key := g.keys[kid]
	g.mu.Unlock()
	return sign(t, jwt.SigningMethodRS256, key, idClaims(edit), map[string]any{"kid": kid})
}

// clock stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func newFirebase(g *google, c *clock) *auth.FirebaseVerifier {
	return auth.NewFirebaseVerifier(auth.FirebaseOptions{Project: project, Transport: g, Now: c.now})
}

func TestFirebaseVerifierReadsTokens(t *testing.T) {
	t.Parallel()
	g := newGoogle(t, "k1")
	v := newFirebase(g, &clock{at: testTime})
	good := auth.Identity{
		Profile:  recording.Profile{Subject: "firebase:uid1", Email: "alice@example.com", Name: "Alice", Provider: "google.com", IssuedAt: testTime},
		AuthTime: testTime.Add(-time.Minute),
	}
	with := func(change func(*auth.Identity)) auth.Identity {
		i := good
		change(&i)
		return i
	}
	tests := map[string]struct {
		edit func(c jwt.MapClaims)
		want auth.Identity
	}{
		"all of it":             {nil, good},
		"an unverified address": {func(c jwt.MapClaims) { c["email_verified"] = false }, with(func(i *auth.Identity) { i.Email = "" })},
		"anonymous": {func(c jwt.MapClaims) {
			delete(c, "email")
			delete(c, "name")
			c["firebase"] = map[string]any{"sign_in_provider": "anonymous"}
		}, with(func(i *auth.Identity) { i.Email, i.Name, i.Provider = "", "", "anonymous" })},
		"admin":          {func(c jwt.MapClaims) { c["role"] = "admin" }, with(func(i *auth.Identity) { i.Role = recording.RoleAdmin })},
		"support":        {func(c jwt.MapClaims) { c["role"] = "support" }, with(func(i *auth.Identity) { i.Role = recording.RoleSupport })},
		"operator":       {func(c jwt.MapClaims) { c["role"] = "operator" }, good},
		"another case":   {func(c jwt.MapClaims) { c["role"] = "Admin" }, good},
		"a list":         {func(c jwt.MapClaims) { c["role"] = []string{"admin"} }, good},
		"control marks":  {func(c jwt.MapClaims) { c["name"] = " A\x00l\u202eice\r\n" }, good},
		"a clock behind": {func(c jwt.MapClaims) { c["iat"] = testTime.Add(30 * time.Second).Unix() }, with(func(i *auth.Identity) { i.IssuedAt = testTime.Add(30 * time.Second) })},
	}
	for name, tt := range tests {
		got, err := v.Verify(t.Context(), g.idToken(t, "k1", tt.edit))
		got.IssuedAt, got.AuthTime = got.IssuedAt.UTC(), got.AuthTime.UTC()
		tt.want.IssuedAt, tt.want.AuthTime = tt.want.IssuedAt.UTC(), tt.want.AuthTime.UTC()
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, tt.want)
		}
	}
	if got := g.requests(); got != 1 {
		t.Errorf("Google was asked %d times, want once", got)
	}
}

func TestFirebaseVerifierRefusesBadTokens(t *testing.T) {
	t.Parallel()
	g, stranger := newGoogle(t, "k1"), newGoogle(t, "k1")
	rs256 := func(edit func(c jwt.MapClaims)) string { return g.idToken(t, "k1", edit) }
	header := map[string]any{"kid": "k1"}
	parts := strings.Split(rs256(nil), ".")
	public, err := x509.MarshalPKIXPublicKey(g.keys["k1"].Public())
	if err != nil {
		t.Fatal(err)
	}
	const notOurs = "not a Firebase ID token of the project"
	tests := map[string]struct{ token, message string }{
		"wrong audience":    {rs256(func(c jwt.MapClaims) { c["aud"] = "other-12345" }), notOurs},
		"two audiences":     {rs256(func(c jwt.MapClaims) { c["aud"] = []string{project, "other-12345"} }), notOurs},
		"no audience":       {rs256(func(c jwt.MapClaims) { delete(c, "aud") }), notOurs},
		"wrong issuer":      {rs256(func(c jwt.MapClaims) { c["iss"] = "https://securetoken.google.com/other-12345" }), notOurs},
		"session cookie":    {rs256(func(c jwt.MapClaims) { c["iss"] = "https://session.firebase.google.com/" + project }), notOurs},
		"no issuer":         {rs256(func(c jwt.MapClaims) { delete(c, "iss") }), notOurs},
		"wrong key":         {stranger.idToken(t, "k1", nil), notOurs},
		"unknown key":       {sign(t, jwt.SigningMethodRS256, stranger.keys["k1"], idClaims(nil), map[string]any{"kid": "k9"}), notOurs},
		"no kid":            {sign(t, jwt.SigningMethodRS256, g.keys["k1"], idClaims(nil), nil), notOurs},
		"kid a number":      {sign(t, jwt.SigningMethodRS256, g.keys["k1"], idClaims(nil), map[string]any{"kid": 1}), notOurs},
		"critical":          {sign(t, jwt.SigningMethodRS256, g.keys["k1"], idClaims(nil), map[string]any{"kid": "k1", "crit": []string{"b64"}}), notOurs},
		"alg none":          {sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, idClaims(nil), header), notOurs},
		"alg HS256":         {sign(t, jwt.SigningMethodHS256, public, idClaims(nil), header), notOurs},
		"alg RS512":         {sign(t, jwt.SigningMethodRS512, g.keys["k1"], idClaims(nil), header), notOurs},
		"alg PS256":         {sign(t, jwt.SigningMethodPS256, g.keys["k1"], idClaims(nil), header), notOurs},
		"no signature":      {parts[0] + "." + parts[1] + ".", notOurs},
		"expired":           {rs256(func(c jwt.MapClaims) { c["exp"] = testTime.Add(-2 * time.Minute).Unix() }), "has expired"},
		"no expiry":         {rs256(func(c jwt.MapClaims) { delete(c, "exp") }), notOurs},
		"issued later":      {rs256(func(c jwt.MapClaims) { c["iat"] = testTime.Add(2 * time.Minute).Unix() }), "not valid yet"},
		"signed in later":   {rs256(func(c jwt.MapClaims) { c["auth_time"] = testTime.Add(2 * time.Minute).Unix() }), "not valid yet"},
		"never issued":      {rs256(func(c jwt.MapClaims) { delete(c, "iat") }), notOurs},
		"never signed in":   {rs256(func(c jwt.MapClaims) { delete(c, "auth_time") }), notOurs},
		"missing sub":       {rs256(func(c jwt.MapClaims) { delete(c, "sub") }), "names no valid user"},
		"empty sub":         {rs256(func(c jwt.MapClaims) { c["sub"] = "" }), "names no valid user"},
		"long sub":          {rs256(func(c jwt.MapClaims) { c["sub"] = strings.Repeat("x", 129) }), "names no valid user"},
		"NUL in sub":        {rs256(func(c jwt.MapClaims) { c["sub"] = "a\x00" }), "names no valid user"},
		"a tenant's":        {rs256(func(c jwt.MapClaims) { c["firebase"] = map[string]any{"tenant": "t1"} }), "tenant"},
		"development token": {tokenOf(t, "alice"), notOurs},
		"garbage":           {"garbage", "malformed"},
		"padding":           {rs256(nil) + "=", "malformed"},
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		tt := tests[name]
		identity, err := newFirebase(g, &clock{at: testTime}).Verify(t.Context(), tt.token)
		if recording.CodeOf(err) != recording.CodeUnauthenticated || !strings.Contains(err.Error(), tt.message) {
			t.Errorf("%s: %v, %v; want unauthenticated, %q", name, identity, err, tt.message)
			continue
		}
		for _, part := range strings.Split(tt.token, ".") {
			if len(part) > 8 && strings.Contains(err.Error(), part) {
				t.Errorf("%s: the error quotes the token: %v", name, err)
			}
		}
	}
}

// The certificates' own life: asked for once, again when they are old or a key is
// not among them, and kept while Google can't be reached.
func TestFirebaseCertificates(t *testing.T) {
	t.Parallel()
	g, c := newGoogle(t, "k1"), &clock{at: testTime}
	v := newFirebase(g, c)
	// Long-lived, so that only keys matter.
	token := func(kid string) string {
		return g.idToken(t, kid, func(c jwt.MapClaims) { c["exp"] = testTime.Add(1000 * time.Hour).Unix() })
	}
	check := func(when, token string, want recording.Code, requests int) {
		t.Helper()
		if _, err := v.Verify(t.Context(), token); recording.CodeOf(err) != want || g.requests() != requests {
			t.Errorf("%s: %v after %d requests, want code %q after %d", when, err, g.requests(), want, requests)
		}
	}
	down := errors.New("dial tcp: no route to host")

	g.fail(down)
	check("nothing yet, Google is away", token("k1"), recording.CodeUnavailable, 1)
	g.fail(nil)
	check("just tried", token("k1"), recording.CodeUnavailable, 1)
	c.move(5 * time.Second)
	check("tried again", token("k1"), "", 2)
	check("from memory", token("k1"), "", 2)

	first := token("k1")
	g.add(t, "k2")
	second := token("k2")
	check("a new key, too soon after", second, recording.CodeUnauthenticated, 2)
	c.move(time.Minute)
	check("a new key", second, "", 3)
	g.remove("k1")
	check("the old one while it is kept", first, "", 3)
	c.move(time.Hour)
	check("their time is over", second, "", 4)
	check("a key that was taken back", first, recording.CodeUnauthenticated, 4)

	c.move(time.Hour)
	g.fail(down)
	check("Google is away", second, "", 5)
	check("and not asked for a while", second, "", 5)
	g.add(t, "k3")
	check("a key that can't be known", token("k3"), recording.CodeUnavailable, 5)
	c.move(23 * time.Hour)
	check("for a day", second, "", 6)
	c.move(2 * time.Hour)
	check("but not for ever", second, recording.CodeUnavailable, 7)
	g.fail(nil)
	c.move(5 * time.Second)
	check("it is back", second, "", 8)
}

// Whoever waits for certificates does so together, and leaves alone.
func TestFirebaseCertificatesAreSharedByThoseWhoWait(t *testing.T) {
	t.Parallel()
	g := newGoogle(t, "k1")
	token := g.idToken(t, "k1", nil)
	asked, answer := make(chan struct{}, 8), make(chan struct{})
	slow := roundTripper(func(r *http.Request) (*http.Response, error) {
		asked <- struct{}{}
		<-answer
		return g.RoundTrip(r)
	})
	v := auth.NewFirebaseVerifier(auth.FirebaseOptions{Project: project, Transport: slow, Now: func() time.Time { return testTime }})
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error)
	go func() { _, err := v.Verify(ctx, token); errs <- err }()
	<-asked
	cancel()
	if err := <-errs; recording.CodeOf(err) != recording.CodeUnavailable {
		t.Errorf("who left: %v", err)
	}
	for range 4 {
		go func() { _, err := v.Verify(t.Context(), token); errs <- err }()
	}
	close(answer)
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if g.requests() != 1 {
		t.Errorf("Google was asked %d times, want once", g.requests())
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestEmulatorTokens(t *testing.T) {
	t.Parallel()
	v := auth.NewFirebaseVerifier(auth.FirebaseOptions{Project: project, Emulator: true, Now: func() time.Time { return testTime }})
	g := newGoogle(t, "k1")
	none := func(edit func(c jwt.MapClaims)) string {
		return sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, idClaims(edit), nil)
	}
	if got, err := v.Verify(t.Context(), none(nil)); err != nil || got.Subject != "firebase:uid1" {
		t.Errorf("an emulator's token: %v, %v", got, err)
	}
	for name, token := range map[string]string{
		"a real token":    g.idToken(t, "k1", nil),
		"another project": none(func(c jwt.MapClaims) { c["aud"] = "demo-other" }),
		"expired":         none(func(c jwt.MapClaims) { c["exp"] = testTime.Add(-time.Hour).Unix() }),
	} {
		if got, err := v.Verify(t.Context(), token); recording.CodeOf(err) != recording.CodeUnauthenticated {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
