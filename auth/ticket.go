package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"reprise/recording"
)

// ticketPrefix tells tickets from tokens, and lets a scanner of leaked secrets
// know one when it sees it.
const ticketPrefix = "rpu_"

// Ticket lets whoever bears it go on with one upload, when the token that has
// created it may have expired. It is nobody's Principal: FromContext knows none
// where there is a ticket. However it is printed or logged, it is not shown.
type Ticket struct{ secret string }

// NewTicket returns a ticket that is good for nothing until its Hash is kept.
func NewTicket() Ticket { return Ticket{ticketPrefix + rand.Text()} }

// Reveal returns the text that the ticket's bearer sends in place of a token.
func (t Ticket) Reveal() string { return t.secret }

// Hash returns what is kept of the ticket with the upload that it opens. The
// upload's id is in it: with any other it is the hash of something else.
func (t Ticket) Hash(upload uuid.UUID) []byte {
	h := sha256.New()
	h.Write(upload[:])
	io.WriteString(h, t.secret)
	return h.Sum(nil)
}

// Opens returns the Hash by which a request finds the upload, or the error for a
// method that takes no tickets.
func (t Ticket) Opens(method string, upload uuid.UUID) ([]byte, error) {
	if !slices.Contains([]string{http.MethodHead, http.MethodPatch, http.MethodDelete}, method) {
		return nil, errTicket()
	}
	return t.Hash(upload), nil
}

// Format implements fmt.Formatter.
func (Ticket) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[upload ticket]") }

// LogValue implements slog.LogValuer.
func (Ticket) LogValue() slog.Value { return slog.StringValue("[upload ticket]") }

type ticketKey struct{}

// NewTicketContext returns a context that carries t, and no principal.
func NewTicketContext(ctx context.Context, t Ticket) context.Context {
	return context.WithValue(ctx, ticketKey{}, t)
}

// TicketFromContext returns the ticket that ctx carries. Whether there is such a
// one is for its upload to say: see Ticket.Opens.
func TicketFromContext(ctx context.Context) (Ticket, bool) {
	t, ok := ctx.Value(ticketKey{}).(Ticket)
	return t, ok
}

// ticketOf takes a token for a ticket if it looks like one.
func ticketOf(token string) (Ticket, bool) {
	return Ticket{token}, strings.HasPrefix(token, ticketPrefix)
}

func errTicket() error {
	return recording.Errorf(recording.CodeUnauthenticated,
		"An upload ticket is for HEAD, PATCH and DELETE of its own upload only; send a token: \"Authorization: Bearer <token>\".")
}
