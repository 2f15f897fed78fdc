package auth_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"

	"reprise/auth"
	"reprise/recording"
)

// A ticket is nobody, goes no further than to uploads, and is no token anywhere.
func TestTicketIsNobody(t *testing.T) {
	t.Parallel()
	ticket := auth.NewTicket()
	a := auth.New(auth.Options{
		Verifier: newVerifier(t), Users: newUsers(), TicketPath: "/files/",
		WriteProblem: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprint(w, err)
		},
	})
	through := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, ok := auth.FromContext(r.Context()); ok {
			t.Errorf("%s: a ticket is taken for %v", r.URL.Path, p)
		}
		if got, ok := auth.TicketFromContext(r.Context()); !ok || got != ticket {
			t.Errorf("%s: the ticket does not come through", r.URL.Path)
		}
	})
	get := func(h http.Handler, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodHead, path, nil)
		r.Header.Set("Authorization", "bearer "+ticket.Reveal())
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	if w := get(a.Middleware(through), "/files/x"); w.Code != http.StatusOK {
		t.Errorf("an upload: %d %s", w.Code, w.Body)
	}
	if w := get(a.Middleware(a.RequirePrincipal(through)), "/files/x"); w.Code != http.StatusUnauthorized {
		t.Errorf("a route that needs a principal: %d %s", w.Code, w.Body)
	}
	for _, path := range []string{"/", "/files", "/filesystem/", "/v1/recordings", "/v1/events", "/v1/files/x"} {
		w := get(a.Middleware(through), path)
		if w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "HEAD, PATCH and DELETE") || w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
		}
	}
	if w := get(newAuthenticator(t, newUsers(), 0).Middleware(through), "/files/x"); w.Code != http.StatusUnauthorized {
		t.Errorf("where no tickets are taken: %d", w.Code)
	}
	if p, err := a.Authenticate(t.Context(), ticket.Reveal()); recording.CodeOf(err) != recording.CodeUnauthenticated || p != (auth.Principal{}) {
		t.Errorf("as a token: %v, %v", p, err)
	}
}

func TestTicketOpensOneUpload(t *testing.T) {
	t.Parallel()
	a, b := auth.NewTicket(), auth.NewTicket()
	mine, other := recording.NewID(), recording.NewID()
	if len(a.Hash(mine)) != 32 || !bytes.Equal(a.Hash(mine), a.Hash(mine)) {
		t.Error("a ticket's hash is not always the same")
	}
	if bytes.Equal(a.Hash(mine), a.Hash(other)) || bytes.Equal(a.Hash(mine), b.Hash(mine)) {
		t.Error("a hash is that of two tickets or uploads")
	}
	for method, opens := range map[string]bool{"HEAD": true, "PATCH": true, "DELETE": true, "GET": false, "POST": false, "OPTIONS": false, "PUT": false, "head": false} {
		hash, err := a.Opens(method, mine)
		if opens && (err != nil || !bytes.Equal(hash, a.Hash(mine))) || !opens && (hash != nil || recording.CodeOf(err) != recording.CodeUnauthenticated) {
			t.Errorf("%s: %x, %v", method, hash, err)
		}
	}
	if text := a.Reveal(); len(text) < 26+4 || !strings.HasPrefix(text, "rpu_") {
		t.Errorf("a ticket of %d bytes", len(text))
	}
}

func TestTicketIsNotShown(t *testing.T) {
	t.Parallel()
	ticket := auth.NewTicket()
	var out bytes.Buffer
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, format, ticket)
		fmt.Fprintf(&out, format, &ticket)
		fmt.Fprintf(&out, format, struct{ T auth.Ticket }{ticket})
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("message", slog.Any("ticket", ticket), slog.Any("in", []auth.Ticket{ticket}))
	}
	_, err := ticket.Opens(http.MethodPost, uuid.Nil)
	fmt.Fprint(&out, err)
	secret := ticket.Reveal()
	if text := out.String(); strings.Contains(text, secret) || strings.Contains(text, secret[4:12]) || strings.Contains(text, fmt.Sprintf("%x", secret[4:12])) {
		t.Errorf("the ticket %s is in:\n%s", secret, text)
	}
}
