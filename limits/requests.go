package limits

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"reprise/auth"
	"reprise/recording"
)

// RequestOptions say how many requests are served.
type RequestOptions struct {
	Address Rate // of an address
	User    Rate // of a user
	Proxies Proxies
	// Refuse answers a request with an error.
	Refuse func(w http.ResponseWriter, r *http.Request, err error)
	// Now is the clock.
	Now func() time.Time
}

// ByAddress serves requests of each client's address at its rate. It comes before the
// authentication, which costs more than it does.
func ByAddress(next http.Handler, o RequestOptions) http.Handler {
	addresses := newRates[netip.Addr](o.Address, maxKeys)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wait := addresses.take(networkOf(o.Proxies.ClientOf(r)), o.Now()); wait > 0 {
			o.Refuse(w, r, errRate(recording.LimitAddressRequests, o.Address, wait, "Too many requests come from your network"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ByUser serves requests of each user at the user's rate. It comes behind the
// authentication; requests of nobody go on.
func ByUser(next http.Handler, o RequestOptions) http.Handler {
	users := newRates[uuid.UUID](o.User, maxKeys)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, ok := auth.FromContext(r.Context()); ok {
			if wait := users.take(p.UserID, o.Now()); wait > 0 {
				o.Refuse(w, r, errRate(recording.LimitUserRequests, o.User, wait, "You send too many requests"))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func errRate(name recording.LimitName, rate Rate, wait time.Duration, what string) error {
	e := recording.Errorf(recording.CodeRateLimited, "%s: more than %v a second for too long; wait a moment.", what, rate.PerSecond)
	e.Exceeded = &recording.Exceeded{Name: name, Limit: int64(max(1, rate.PerSecond)), RetryAfter: wait}
	return e
}
