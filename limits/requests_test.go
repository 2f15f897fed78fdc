package limits

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/auth"
	"reprise/recording"
)

// TestRequestsAreLimited: an address and a user have a limit each, at its place.
func TestRequestsAreLimited(t *testing.T) {
	t.Parallel()
	alice, bob := uuid.New(), uuid.New()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var refused []recording.Exceeded
	o := RequestOptions{
		Address: Rate{PerSecond: 1, Burst: 4}, User: Rate{PerSecond: 0.5, Burst: 2},
		Refuse: func(w http.ResponseWriter, _ *http.Request, err error) {
			var e *recording.Error
			if !errors.As(err, &e) || e.Code != recording.CodeRateLimited {
				t.Errorf("refused with %v", err)
			}
			refused = append(refused, *e.Exceeded)
			w.WriteHeader(http.StatusTooManyRequests)
		},
		Now: func() time.Time { return now },
	}
	served := 0
	h := ByUser(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }), o)
	byAddress := ByAddress(h, o)
	ask := func(address string, user uuid.UUID) int {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = address
		r.Header.Set("X-Forwarded-For", uuid.NewString()) // means nothing from here
		if user != uuid.Nil {
			r = r.WithContext(auth.NewContext(r.Context(), auth.Principal{UserID: user}))
		}
		w := httptest.NewRecorder()
		byAddress.ServeHTTP(w, r)
		return w.Code
	}
	var got []int
	for _, a := range []struct {
		address string
		user    uuid.UUID
	}{
		{"192.0.2.1:1", alice}, {"192.0.2.1:2", alice}, {"192.0.2.1:3", alice}, // the user's third
		{"192.0.2.1:4", bob}, {"192.0.2.1:5", bob}, // the address's fifth
		{"192.0.2.2:1", alice}, // elsewhere it is the same user
		{"192.0.2.2:1", uuid.Nil},
	} {
		got = append(got, ask(a.address, a.user))
	}
	if diff := cmp.Diff([]int{200, 200, 429, 200, 429, 429, 200}, got); diff != "" {
		t.Error(diff)
	}
	want := []recording.Exceeded{
		{Name: "user_requests", Limit: 1, RetryAfter: 2 * time.Second},
		{Name: "address_requests", Limit: 1, RetryAfter: time.Second},
		{Name: "user_requests", Limit: 1, RetryAfter: 2 * time.Second},
	}
	if diff := cmp.Diff(want, refused); diff != "" {
		t.Error(diff)
	}
	now = now.Add(2 * time.Second)
	if got := ask("192.0.2.1:6", alice); got != http.StatusOK || served != 5 {
		t.Errorf("after waiting: %d, served %d", got, served)
	}
}
