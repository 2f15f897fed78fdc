package api

import (
	"net/http"

	"reprise/recording"
)

// edgePolicy is what a browser may do with an answer that is no page: nothing, even if
// it can be made to take it for one.
const edgePolicy = "default-src 'none'; frame-ancestors 'none'"

// SecureHeaders gives every answer the headers that keep a browser from taking it for
// what it is not: its type is what it says, it loads and frames nothing, pages of other
// origins can't include it, and its address is told to nobody. Handlers below may set
// others, as the pages do that are meant to be looked at.
func SecureHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", edgePolicy)
		h.Set("Cross-Origin-Resource-Policy", "same-origin") // fetch with CORS is not affected
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// RefuseMethodOverride answers requests with X-HTTP-Method-Override. What stands
// between a client and this server (proxies, firewalls, logs) judges a request by its
// method, so it has one and not two; and passing the header over would make a POST of
// what was meant as another.
func RefuseMethodOverride(problems *Problems, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header.Values("X-HTTP-Method-Override")) > 0 {
			problems.Write(w, r, recording.Errorf(recording.CodeInvalidRequest,
				"X-HTTP-Method-Override is not accepted; send the request with the method that is meant."))
			return
		}
		next.ServeHTTP(w, r)
	})
}
