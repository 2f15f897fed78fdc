package auth_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"reprise/auth"
	"reprise/recording"
)

// directory says of every account what it is told to say, and counts.
type directory struct {
	mu      sync.Mutex
	account auth.Account
	err     error
	asked   int
	delay   time.Duration
}

func (d *directory) Account(context.Context, string) (auth.Account, error) {
	time.Sleep(d.delay)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	return d.account, d.err
}

func (d *directory) say(account auth.Account, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.account, d.err = account, err
}

// replica is an authenticator as one of several processes has it.
func replica(t *testing.T, u *users, d auth.Directory, c *clock) *auth.Authenticator {
	t.Helper()
	v, err := auth.NewDevVerifier(testKey, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return auth.New(auth.Options{Verifier: v, Users: u, Directory: d, Stale: time.Hour, Now: c.now})
}

func longToken(t *testing.T, user string) string {
	t.Helper()
	token, err := auth.IssueDevToken(testKey, user, 1000*time.Hour, testTime)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// What an operator says on one replica is known to every other within a minute,
// for development tokens too.
func TestDisabledByAnOperator(t *testing.T) {
	t.Parallel()
	u, c := newUsers(), &clock{at: testTime}
	here, there := replica(t, u, nil, c), replica(t, u, nil, c)
	token := longToken(t, "alice")
	var p auth.Principal
	for _, a := range []*auth.Authenticator{here, there} {
		var err error
		if p, err = a.Authenticate(t.Context(), token); err != nil || a.CheckAccount(t.Context(), p) != nil {
			t.Fatal(err)
		}
	}
	u.disable("dev:alice", true)
	asked := u.asked["dev:alice"]
	c.move(time.Minute - time.Second)
	if got := there.AccountHolds(p); got != time.Second {
		t.Errorf("what is known holds for %v, want a second", got)
	}
	if there.CheckAccount(t.Context(), p) != nil || u.asked["dev:alice"] != asked {
		t.Error("within the minute the users were asked again")
	}
	c.move(time.Second)
	if err := there.CheckAccount(t.Context(), p); recording.CodeOf(err) != recording.CodeAccountDisabled {
		t.Errorf("after a minute: %v", err)
	}
	if _, err := here.Authenticate(t.Context(), token); recording.CodeOf(err) != recording.CodeAccountDisabled {
		t.Errorf("after a minute, a new request: %v", err)
	}
	u.disable("dev:alice", false)
	c.move(time.Minute)
	if _, err := here.Authenticate(t.Context(), token); err != nil {
		t.Errorf("let in again: %v", err)
	}
}

func TestAccountsAreLookedUp(t *testing.T) {
	t.Parallel()
	away := errors.New("dial tcp 10.0.0.1:443: refused")
	signedIn := testTime.Add(-time.Hour)
	tests := map[string]struct {
		account auth.Account
		err     error
		want    recording.Code
	}{
		"in order":                 {auth.Account{}, nil, ""},
		"signed in when revoked":   {auth.Account{ValidAfter: signedIn}, nil, ""},
		"signed in before revoked": {auth.Account{ValidAfter: signedIn.Add(time.Second)}, nil, recording.CodeUnauthenticated},
		"disabled":                 {auth.Account{Disabled: true}, nil, recording.CodeAccountDisabled},
		"gone":                     {auth.Account{Gone: true}, nil, recording.CodeUnauthenticated},
		"never known":              {auth.Account{}, away, recording.CodeUnavailable},
	}
	for name, tt := range tests {
		u, c, d := newUsers(), &clock{at: testTime}, &directory{account: tt.account, err: tt.err}
		a := replica(t, u, d, c)
		p, err := a.Authenticate(t.Context(), longToken(t, "alice"))
		if err != nil || d.asked != 0 {
			t.Fatalf("%s: %v; the directory was asked %d times per request, want never", name, err, d.asked)
		}
		p.AuthTime = signedIn
		for range 3 {
			if err := a.CheckAccount(t.Context(), p); recording.CodeOf(err) != tt.want {
				t.Errorf("%s: %v, want %q", name, err, tt.want)
			}
		}
		if d.asked != 1 {
			t.Errorf("%s: asked %d times, want once", name, d.asked)
		}
	}
}

// The last answer holds while the directory is away, as long as it may.
func TestDirectoryAway(t *testing.T) {
	t.Parallel()
	u, c, d := newUsers(), &clock{at: testTime}, &directory{}
	a := replica(t, u, d, c)
	p, err := a.Authenticate(t.Context(), longToken(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string, want recording.Code, asked int) {
		t.Helper()
		if err := a.CheckAccount(t.Context(), p); recording.CodeOf(err) != want || d.asked != asked {
			t.Errorf("%s: %v, asked %d times; want %q, %d", when, err, d.asked, want, asked)
		}
	}
	check("known", "", 1)
	d.say(auth.Account{}, errors.New("away"))
	c.move(time.Minute)
	check("away for a minute", "", 2)
	c.move(30 * time.Second)
	check("asked once a minute", "", 2)
	c.move(58*time.Minute + 30*time.Second)
	check("away for an hour", "", 3)
	c.move(time.Minute)
	check("away for too long", recording.CodeUnavailable, 4)
	d.say(auth.Account{Disabled: true}, nil)
	c.move(time.Minute)
	check("back", recording.CodeAccountDisabled, 5)
	c.move(time.Minute)
	d.say(auth.Account{}, errors.New("away"))
	check("away: shut out stays shut out", recording.CodeAccountDisabled, 6)
}

// Many requests of one user at once make one look-up.
func TestLookupsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, c, d := newUsers(), &clock{at: testTime}, &directory{delay: time.Second}
		a := replica(t, u, d, c)
		p, err := a.Authenticate(t.Context(), longToken(t, "alice"))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := a.CheckAccount(t.Context(), p); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if d.asked != 1 {
			t.Errorf("asked %d times, want once", d.asked)
		}
	})
}
