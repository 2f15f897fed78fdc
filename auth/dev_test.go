package auth_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"reprise/auth"
	"reprise/recording"
)

var (
	testKey  = bytes.Repeat([]byte{7}, 32)
	testTime = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
)

func testNow() time.Time { return testTime }

func newVerifier(t *testing.T) *auth.DevVerifier {
	t.Helper()
	v, err := auth.NewDevVerifier(testKey, testNow)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDevTokenNamesItsUser(t *testing.T) {
	t.Parallel()
	v := newVerifier(t)
	for _, user := range []string{"alice", "Zoë Ångström", strings.Repeat("x", 100), "a@b:c"} {
		token, err := auth.IssueDevToken(testKey, user, time.Hour, testTime)
		if err != nil {
			t.Fatal(err)
		}
		got, err := v.Verify(context.Background(), token)
		if want := (auth.Identity{Profile: recording.Profile{Subject: "dev:" + user}}); err != nil || got != want {
			t.Errorf("Verify(token of %q) = %v, %v; want %v", user, got, err, want)
		}
	}
}

func TestIssueDevTokenRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		key  []byte
		user string
		ttl  time.Duration
	}{
		"short key":         {testKey[:31], "alice", time.Hour},
		"no user":           {testKey, "", time.Hour},
		"spaces":            {testKey, " alice", time.Hour},
		"control character": {testKey, "ali\nce", time.Hour},
		"not UTF-8":         {testKey, "ali\xffce", time.Hour},
		"long user":         {testKey, strings.Repeat("x", 101), time.Hour},
		"no time":           {testKey, "alice", 0},
		"negative time":     {testKey, "alice", -time.Hour},
	}
	for name, tt := range tests {
		if token, err := auth.IssueDevToken(tt.key, tt.user, tt.ttl, testTime); err == nil {
			t.Errorf("%s: a token was issued: %s", name, token)
		}
	}
}

func TestDevVerifierNeedsALongKey(t *testing.T) {
	t.Parallel()
	if _, err := auth.NewDevVerifier(testKey[:31], testNow); err == nil {
		t.Error("a key of 31 bytes was accepted")
	}
}

// claims returns what a good token has, changed by edit.
func claims(edit func(c jwt.MapClaims)) jwt.MapClaims {
	c := jwt.MapClaims{
		"iss": "reprise-dev", "aud": "reprise", "sub": "alice",
		"iat": testTime.Unix(), "exp": testTime.Add(time.Hour).Unix(),
	}
	if edit != nil {
		edit(c)
	}
	return c
}

func sign(t *testing.T, method jwt.SigningMethod, key any, c jwt.MapClaims, header map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	for k, v := range header {
		token.Header[k] = v
	}
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestDevVerifierRefusesBadTokens(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	hs256 := func(edit func(c jwt.MapClaims)) string {
		return sign(t, jwt.SigningMethodHS256, testKey, claims(edit), nil)
	}
	good := hs256(nil)
	if _, err := newVerifier(t).Verify(context.Background(), good); err != nil {
		t.Fatalf("the token that the bad ones are made of is not good: %v", err)
	}
	parts := strings.Split(good, ".")
	segment := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	const notOurs, malformed = "not one of this server's", "malformed"

	tests := map[string]struct{ token, message string }{
		"alg none": {sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims(nil), nil), notOurs},
		"alg none with our signature": {
			segment(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + "." + parts[2], notOurs},
		"alg HS512":       {sign(t, jwt.SigningMethodHS512, testKey, claims(nil), nil), notOurs},
		"alg RS256":       {sign(t, jwt.SigningMethodRS256, rsaKey, claims(nil), nil), notOurs},
		"alg unknown":     {segment(`{"alg":"XX"}`) + "." + parts[1] + "." + parts[2], notOurs},
		"alg a number":    {segment(`{"alg":5}`) + "." + parts[1] + "." + parts[2], notOurs},
		"critical":        {sign(t, jwt.SigningMethodHS256, testKey, claims(nil), map[string]any{"crit": []string{"b64"}}), notOurs},
		"another key":     {sign(t, jwt.SigningMethodHS256, bytes.Repeat([]byte{8}, 32), claims(nil), nil), notOurs},
		"no signature":    {parts[0] + "." + parts[1] + ".", notOurs},
		"other claims":    {parts[0] + "." + segment(`{"sub":"bob"}`) + "." + parts[2], notOurs},
		"another iss":     {hs256(func(c jwt.MapClaims) { c["iss"] = "evil" }), notOurs},
		"no iss":          {hs256(func(c jwt.MapClaims) { delete(c, "iss") }), notOurs},
		"another aud":     {hs256(func(c jwt.MapClaims) { c["aud"] = "other" }), notOurs},
		"no aud":          {hs256(func(c jwt.MapClaims) { delete(c, "aud") }), notOurs},
		"no exp":          {hs256(func(c jwt.MapClaims) { delete(c, "exp") }), notOurs},
		"expired":         {hs256(func(c jwt.MapClaims) { c["exp"] = testTime.Add(-time.Minute).Unix() }), "has expired"},
		"future nbf":      {hs256(func(c jwt.MapClaims) { c["nbf"] = testTime.Add(time.Minute).Unix() }), "not valid yet"},
		"future iat":      {hs256(func(c jwt.MapClaims) { c["iat"] = testTime.Add(time.Minute).Unix() }), "not valid yet"},
		"no sub":          {hs256(func(c jwt.MapClaims) { delete(c, "sub") }), "names no valid user"},
		"sub with spaces": {hs256(func(c jwt.MapClaims) { c["sub"] = " alice " }), "names no valid user"},
		"sub a number":    {hs256(func(c jwt.MapClaims) { c["sub"] = 5 }), malformed},
		"exp a string":    {hs256(func(c jwt.MapClaims) { c["exp"] = "tomorrow" }), malformed},
		"claims null":     {parts[0] + "." + segment(`null`) + "." + parts[2], notOurs},
		"claims a list":   {parts[0] + "." + segment(`[]`) + "." + parts[2], malformed},
		"header null":     {segment(`null`) + "." + parts[1] + "." + parts[2], notOurs},
		"two segments":    {parts[0] + "." + parts[1], malformed},
		"four segments":   {good + ".x", malformed},
		"garbage":         {"garbage", malformed},
		"dots":            {"..", malformed},
		"empty":           {"", malformed},
		"padding":         {good + "=", malformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			identity, err := newVerifier(t).Verify(context.Background(), tt.token)
			if recording.CodeOf(err) != recording.CodeUnauthenticated {
				t.Fatalf("Verify = %v, %v; want unauthenticated", identity, err)
			}
			if !strings.Contains(err.Error(), tt.message) {
				t.Errorf("error is %q, want it to contain %q", err, tt.message)
			}
			for _, part := range strings.Split(tt.token, ".") {
				if len(part) > 8 && strings.Contains(err.Error(), part) {
					t.Errorf("the error quotes the token: %v", err)
				}
			}
		})
	}
}

func TestDevVerifierForgivesClocks(t *testing.T) {
	t.Parallel()
	token, err := auth.IssueDevToken(testKey, "alice", time.Hour, testTime.Add(4*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newVerifier(t).Verify(context.Background(), token); err != nil {
		t.Errorf("a token from a clock 4 s ahead: %v", err)
	}
}

// No text but what IssueDevToken has made is a token.
func FuzzDevToken(f *testing.F) {
	token, err := auth.IssueDevToken(testKey, "alice", time.Hour, testTime)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("..")
	f.Add(token + "=")
	f.Add(strings.ToLower(token))
	verifier, err := auth.NewDevVerifier(testKey, func() time.Time { return testTime })
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		identity, err := verifier.Verify(context.Background(), text)
		if err == nil && text != token {
			t.Fatalf("%q is a token of %s", text, identity.Subject)
		}
		if err != nil && (recording.CodeOf(err) != recording.CodeUnauthenticated || len(text) > 12 && strings.Contains(err.Error(), text)) {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
