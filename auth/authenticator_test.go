package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"reprise/auth"
	"reprise/recording"
)

// users hands out ids and counts how often each subject is asked for.
type users struct {
	err error

	mu       sync.Mutex
	ids      map[string]uuid.UUID
	asked    map[string]int
	disabled map[string]bool
}

func newUsers() *users {
	return &users{ids: map[string]uuid.UUID{}, asked: map[string]int{}, disabled: map[string]bool{}}
}

func (u *users) SeeUser(_ context.Context, p recording.Profile) (recording.User, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked[p.Subject]++
	if u.err != nil {
		return recording.User{}, u.err
	}
	if _, ok := u.ids[p.Subject]; !ok {
		u.ids[p.Subject] = recording.NewID()
	}
	return u.user(p.Subject), nil
}

func (u *users) User(_ context.Context, id uuid.UUID) (recording.User, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for subject, other := range u.ids {
		if other == id {
			u.asked[subject]++
			return u.user(subject), u.err
		}
	}
	return recording.User{}, recording.ErrNotFound
}

// user is one of them, for the holder of the lock.
func (u *users) user(subject string) recording.User {
	found := recording.User{ID: u.ids[subject], Subject: subject}
	if u.disabled[subject] {
		found.DisabledAt = &found.CreatedAt
	}
	return found
}

func (u *users) disable(subject string, disabled bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.disabled[subject] = disabled
}

func newAuthenticator(t *testing.T, u *users, cacheSize int) *auth.Authenticator {
	t.Helper()
	return auth.New(auth.Options{
		Verifier:  newVerifier(t),
		Users:     u,
		CacheSize: cacheSize,
		WriteProblem: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprint(w, err)
		},
	})
}

func tokenOf(t *testing.T, user string) string {
	t.Helper()
	token, err := auth.IssueDevToken(testKey, user, time.Hour, testTime)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestAuthenticateAsksForAUserOnce(t *testing.T) {
	t.Parallel()
	u := newUsers()
	a := newAuthenticator(t, u, 0)
	for range 3 {
		got, err := a.Authenticate(context.Background(), tokenOf(t, "alice"))
		if want := (auth.Principal{UserID: u.ids["dev:alice"], Subject: "dev:alice"}); err != nil || got != want {
			t.Errorf("Authenticate = %v, %v; want %v", got, err, want)
		}
	}
	if u.asked["dev:alice"] != 1 {
		t.Errorf("the user was asked for %d times, want once", u.asked["dev:alice"])
	}
}

func TestAuthenticateCacheIsBounded(t *testing.T) {
	t.Parallel()
	u := newUsers()
	a := newAuthenticator(t, u, 2)
	const rounds = 5
	for range rounds {
		for _, user := range []string{"alice", "bob", "carol", "dave"} {
			got, err := a.Authenticate(context.Background(), tokenOf(t, user))
			if err != nil || got.UserID != u.ids["dev:"+user] {
				t.Errorf("Authenticate(%s) = %v, %v", user, got, err)
			}
		}
	}
	total := 0
	for _, n := range u.asked {
		total += n
	}
	// With two places for four users in turn, each round misses at least twice.
	if total < 2*rounds {
		t.Errorf("users were asked for %d times: the cache holds more than 2", total)
	}
}

func TestAuthenticateWithoutUsers(t *testing.T) {
	t.Parallel()
	u := newUsers()
	u.err = errors.New("dial tcp 10.0.0.1:5432: refused")
	a := newAuthenticator(t, u, 0)
	_, err := a.Authenticate(context.Background(), tokenOf(t, "alice"))
	var shown *recording.Error
	if !errors.As(err, &shown) || shown.Code != recording.CodeUnavailable || !errors.Is(err, u.err) {
		t.Fatalf("error is %v, want unavailable with its cause", err)
	}
	if strings.Contains(shown.Message, "10.0.0.1") {
		t.Errorf("the message tells internals: %q", shown.Message)
	}
	u.err = nil
	if _, err := a.Authenticate(context.Background(), tokenOf(t, "alice")); err != nil {
		t.Errorf("the failure was remembered: %v", err)
	}
}

func TestAuthenticateConcurrently(t *testing.T) {
	t.Parallel()
	u := newUsers()
	a := newAuthenticator(t, u, 3)
	var wg sync.WaitGroup
	for i := range 64 {
		user := fmt.Sprintf("user%d", i%8)
		token := tokenOf(t, user)
		wg.Go(func() {
			got, err := a.Authenticate(context.Background(), token)
			if err != nil || got.Subject != "dev:"+user {
				t.Errorf("Authenticate(%s) = %v, %v", user, got, err)
			}
		})
	}
	wg.Wait()
}

func TestMiddleware(t *testing.T) {
	t.Parallel()
	good := tokenOf(t, "alice")
	tests := map[string]struct {
		headers   []string
		want      int
		body      string // of the answer
		challenge string
	}{
		"valid":            {[]string{"Bearer " + good}, 200, "dev:alice", ""},
		"any case, spaces": {[]string{"bEARER   " + good + " "}, 200, "dev:alice", ""},
		"none":             {nil, 401, "A token is needed", `Bearer realm="reprise"`},
		"twice":            {[]string{"Bearer " + good, "Bearer " + good}, 401, "more than one", `Bearer realm="reprise", error="invalid_token"`},
		"another scheme":   {[]string{"Basic YWxpY2U6eA=="}, 401, `must be "Bearer"`, `Bearer realm="reprise", error="invalid_token"`},
		"token only":       {[]string{good}, 401, `must be "Bearer"`, `Bearer realm="reprise", error="invalid_token"`},
		"scheme only":      {[]string{"Bearer"}, 401, "A token is needed", `Bearer realm="reprise", error="invalid_token"`},
		"two tokens":       {[]string{"Bearer " + good + " " + good}, 401, "malformed", `Bearer realm="reprise", error="invalid_token"`},
		"a list":           {[]string{"Bearer " + good + ", Bearer " + good}, 401, "malformed", `Bearer realm="reprise", error="invalid_token"`},
		"huge":             {[]string{"Bearer " + strings.Repeat("a", 8<<10+1)}, 401, "too long", `Bearer realm="reprise", error="invalid_token"`},
		"garbage":          {[]string{"Bearer \x00\xff"}, 401, "malformed", `Bearer realm="reprise", error="invalid_token"`},
		"bad":              {[]string{"Bearer " + good + "x"}, 401, "token", `Bearer realm="reprise", error="invalid_token"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthenticator(t, newUsers(), 0)
			handler := a.Middleware(a.RequirePrincipal(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				p, _ := auth.FromContext(r.Context())
				_, _ = fmt.Fprint(w, p.Subject)
			})))
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			for _, h := range tt.headers {
				r.Header.Add("Authorization", h)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != tt.want || !strings.Contains(w.Body.String(), tt.body) {
				t.Errorf("answer is %d %q, want %d with %q", w.Code, w.Body, tt.want, tt.body)
			}
			if got := w.Header().Get("WWW-Authenticate"); got != tt.challenge {
				t.Errorf("WWW-Authenticate is %q, want %q", got, tt.challenge)
			}
			if w.Code != 200 && strings.Contains(w.Body.String(), good) {
				t.Errorf("the answer quotes the token: %s", w.Body)
			}
		})
	}
}

func TestMiddlewareLetsTheAnonymousPass(t *testing.T) {
	t.Parallel()
	a := newAuthenticator(t, newUsers(), 0)
	handler := a.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if p, ok := auth.FromContext(r.Context()); ok {
			t.Errorf("a request without a token is %v's", p)
		}
	}))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != 200 {
		t.Errorf("status is %d, want 200", w.Code)
	}
}
