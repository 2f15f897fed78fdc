package events

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"

	"reprise/auth"
	"reprise/recording"
)

// session is who a connection belongs to and how long that holds.
type session struct {
	principal auth.Principal
	every     time.Duration
	recheck   func(context.Context) error // called every so often; an error closes the connection
}

// ServeHTTP opens a WebSocket and serves it until either side closes it.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.enter(); err != nil {
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	defer h.exit()
	if status, err := h.checkRequest(r); err != nil {
		refuse(w, status, err)
		return
	}
	var known *session // from the header, before the handshake
	if r.Header.Get("Authorization") != "" {
		s, err := h.sessionOfHeader(r)
		if err != nil {
			refuseUnauthenticated(w, err)
			return
		}
		known = &s
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:       []string{subprotocol},
		InsecureSkipVerify: true, // checkRequest has compared the origin, more strictly
	})
	if err != nil { // answered by Accept
		return
	}
	ws.SetReadLimit(h.limits.message)
	// The request's context ends with the handler that hijacked it; only its
	// values are of use.
	c := newConn(h, ws)
	c.run(context.WithoutCancel(r.Context()), func(ctx context.Context) (session, error) {
		if known != nil {
			return *known, nil
		}
		return h.login(ctx, c, ticketOf(r))
	})
}

// checkRequest looks at what must hold before anybody is asked who they are.
func (h *Hub) checkRequest(r *http.Request) (status int, err *recording.Error) {
	query := r.URL.Query()
	for _, name := range []string{"token", "access_token", "ticket"} {
		if query.Has(name) {
			return http.StatusBadRequest, recording.Errorf(recording.CodeInvalidRequest,
				"A token or ticket must not be in the address: send it in the Authorization header, as a subprotocol, or in a first message.")
		}
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return http.StatusUpgradeRequired, recording.Errorf(recording.CodeInvalidRequest, "This address speaks WebSocket only.")
	}
	if !h.originAllowed(r) {
		message := "Pages of this origin may not connect."
		if len(r.Header.Values("Origin")) == 0 {
			message = "Without an Origin, as of a browser, the token must be in the Authorization header."
		}
		return http.StatusForbidden, recording.Errorf(recording.CodeForbidden, "%s", message)
	}
	return 0, nil
}

// originAllowed is exact where the library's patterns are not, and lets a missing
// Origin pass with a token in the header only: see the package's doc.
func (h *Hub) originAllowed(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return r.Header.Get("Authorization") != ""
	}
	if len(origins) > 1 {
		return false
	}
	if h.origins[origins[0]] {
		return true
	}
	u, err := url.Parse(origins[0])
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Scheme+"://"+u.Host == origins[0] &&
		u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

func (h *Hub) sessionOfHeader(r *http.Request) (session, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || len(r.Header.Values("Authorization")) != 1 {
		return session{}, recording.Errorf(recording.CodeUnauthenticated, "The Authorization header must be \"Bearer\", a space, and a token.")
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.limits.authWait)
	defer cancel()
	return h.sessionOfToken(ctx, strings.TrimSpace(token))
}

// sessionOfToken checks a token, and will do so again now and then: it may
// expire or be revoked while the connection lasts.
func (h *Hub) sessionOfToken(ctx context.Context, token string) (session, error) {
	p, err := h.auth.Authenticate(ctx, token)
	if err == nil {
		err = h.auth.CheckAccount(ctx, p)
	}
	if err != nil {
		return session{}, err
	}
	return session{principal: p, every: h.limits.tokenRecheck, recheck: func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, h.limits.authWait)
		defer cancel()
		again, err := h.auth.Authenticate(ctx, token)
		if err == nil && again.UserID != p.UserID {
			return closedUnauthenticated(tokenOver)
		}
		return lost(err, tokenOver)
	}}, nil
}

const tokenOver = "the token is not valid any more"

// checkAccount returns a closure if the account is not in order any more. A
// connection lasts longer than what is known when it begins.
func (h *Hub) checkAccount(ctx context.Context, p auth.Principal) error {
	ctx, cancel := context.WithTimeout(ctx, h.limits.authWait)
	defer cancel()
	return lost(h.auth.CheckAccount(ctx, p), "the sign-in is not valid any more")
}

// nextCheck returns when to check an account again: when what is known of it has
// aged.
func (h *Hub) nextCheck(p auth.Principal) time.Duration {
	return min(max(h.auth.AccountHolds(p), h.limits.accountPause), h.limits.accountRecheck)
}

// lost turns what a later check says into a closure. Not being able to check now is
// no reason to drop anybody.
func lost(err error, unauthenticated string) error {
	switch recording.CodeOf(err) {
	case recording.CodeUnauthenticated:
		return closedUnauthenticated(unauthenticated)
	case recording.CodeAccountDisabled:
		return closedDisabled()
	}
	return nil
}

// sessionOfTicket redeems a ticket. It can't be checked again, so the connection has
// an end.
func (h *Hub) sessionOfTicket(ctx context.Context, ticket string) (session, error) {
	t, err := h.store.RedeemTicket(ctx, ticket)
	if err != nil {
		return session{}, err
	}
	p := auth.Principal{UserID: t.UserID, Subject: t.Subject, AuthTime: t.AuthTime}
	if err := h.auth.CheckAccount(ctx, p); err != nil {
		return session{}, err
	}
	return session{principal: p, every: h.limits.ticketAge, recheck: func(context.Context) error {
		return closedUnauthenticated("the ticket's time is over; reconnect with a new one")
	}}, nil
}

// ticketOf returns the ticket among the subprotocols, "" if there is none.
func ticketOf(r *http.Request) string {
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			if ticket, ok := strings.CutPrefix(strings.TrimSpace(name), ticketPrefix); ok {
				return ticket
			}
		}
	}
	return ""
}

// login authenticates an open connection by a ticket or, if that is "", by its
// first message. Errors are closures: a browser can read a close code, but not
// the status of a failed handshake.
func (h *Hub) login(ctx context.Context, c *conn, ticket string) (session, error) {
	wait, cancel := context.WithTimeout(ctx, h.limits.authWait)
	defer cancel()
	m := &message{Ticket: ticket}
	if ticket == "" {
		select {
		case <-ctx.Done():
			return session{}, context.Cause(ctx)
		case <-wait.Done():
			return session{}, closedUnauthenticated("nobody authenticated in time")
		case cmd := <-c.inbox:
			if m = cmd.auth; m == nil {
				return session{}, closedUnauthenticated("authenticate first")
			}
		}
	}
	check, secret := h.sessionOfToken, m.Token
	if m.Ticket != "" {
		check, secret = h.sessionOfTicket, m.Ticket
	}
	s, err := check(wait, secret)
	switch {
	case err == nil:
		return s, nil
	case ctx.Err() != nil:
		return s, context.Cause(ctx)
	case recording.CodeOf(err) == recording.CodeUnauthenticated:
		return s, closedUnauthenticated("the token or ticket is not valid")
	case recording.CodeOf(err) == recording.CodeAccountDisabled:
		return s, closedDisabled()
	default:
		return s, closedUnavailable()
	}
}

func refuseUnauthenticated(w http.ResponseWriter, err error) {
	var e *recording.Error
	if errors.As(err, &e) && e.Code == recording.CodeUnauthenticated {
		w.Header().Set("WWW-Authenticate", `Bearer realm="reprise"`)
		refuse(w, http.StatusUnauthorized, e)
		return
	}
	if e != nil && e.Code == recording.CodeAccountDisabled {
		refuse(w, http.StatusForbidden, e)
		return
	}
	refuse(w, http.StatusServiceUnavailable,
		recording.Errorf(recording.CodeUnavailable, "Your token can't be checked right now; try again."))
}

// refuse answers a handshake with a problem (RFC 9457).
func refuse(w http.ResponseWriter, status int, err *recording.Error) {
	if status == http.StatusUpgradeRequired {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The peer may have gone; there is nobody else to tell.
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "/docs#" + string(err.Code), "title": http.StatusText(status), "status": status, "code": err.Code, "detail": err.Message,
	})
}
