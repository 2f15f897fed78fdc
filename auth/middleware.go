package auth

import (
	"net/http"
	"strings"

	"reprise/recording"
)

// maxTokenBytes bounds a token before anything parses it. Identity providers'
// tokens are 1 to 2 KB.
const maxTokenBytes = 8 << 10

// Middleware puts the principal into the request's context if the request has
// a valid token in its Authorization header. It answers a request whose header
// is not valid itself. A request without the header goes on without a
// principal: whether that is enough is for the route to say (RequirePrincipal).
// One with an upload's ticket goes on without a principal too, and with the
// ticket, below Options.TicketPath; elsewhere a ticket is not valid.
func (a *Authenticator) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, present, err := bearerToken(r.Header)
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		if !present {
			next.ServeHTTP(w, r)
			return
		}
		if t, ok := ticketOf(token); ok && a.takesTickets(r) {
			next.ServeHTTP(w, r.WithContext(NewTicketContext(r.Context(), t)))
			return
		}
		p, err := a.Authenticate(r.Context(), token)
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), p)))
	})
}

func (a *Authenticator) takesTickets(r *http.Request) bool {
	return a.ticketPath != "" && strings.HasPrefix(r.URL.Path, a.ticketPath)
}

// RequirePrincipal answers requests that Middleware has found no principal for
// with unauthenticated. Answer a browser's preflight (OPTIONS) before it: it
// carries no token.
func (a *Authenticator) RequirePrincipal(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := FromContext(r.Context()); !ok {
			a.refuse(w, r, errMissing())
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *Authenticator) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if recording.CodeOf(err) == recording.CodeUnauthenticated {
		// RFC 9110, 15.5.2: a 401 must say how to authenticate; RFC 6750, 3: the
		// error only if a token was sent.
		challenge := `Bearer realm="reprise"`
		if r.Header.Get("Authorization") != "" {
			challenge += `, error="invalid_token"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
	}
	a.writeProblem(w, r, err)
}

// bearerToken returns the token of the Authorization header, and whether there
// is such a header at all. An error means a header that must not be used.
func bearerToken(h http.Header) (token string, present bool, err error) {
	values := h.Values("Authorization")
	switch len(values) {
	case 0:
		return "", false, nil
	case 1:
	default: // which one counts would depend on who reads them
		return "", true, recording.Errorf(recording.CodeUnauthenticated, "There is more than one Authorization header; send one.")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", true, recording.Errorf(recording.CodeUnauthenticated, "The Authorization header must be \"Bearer\", a space, and a token.")
	}
	token = strings.Trim(token, " ")
	if err := checkToken(token); err != nil {
		return "", true, err
	}
	return token, true, nil
}

// checkToken refuses what can't be a token: only the characters of RFC 6750,
// 2.1, and no more than maxTokenBytes of them.
func checkToken(token string) error {
	if token == "" {
		return errMissing()
	}
	if len(token) > maxTokenBytes {
		return recording.Errorf(recording.CodeUnauthenticated, "The token is too long: it has more than %d bytes.", maxTokenBytes)
	}
	for i := range len(token) {
		c := token[i]
		letterOrDigit := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letterOrDigit && strings.IndexByte("-._~+/=", c) < 0 {
			return errMalformed()
		}
	}
	return nil
}

func errMissing() error {
	return recording.Errorf(recording.CodeUnauthenticated, "A token is needed: send the header \"Authorization: Bearer <token>\".")
}

func errMalformed() error {
	return recording.Errorf(recording.CodeUnauthenticated, "The token is malformed.")
}
