package upload

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"reprise/auth"
	"reprise/recording"
)

// ticketHeader is what a creation's answer has the upload's ticket in.
const ticketHeader = "Reprise-Upload-Ticket"

// open finds out for whom a request acts and, if it is about an upload, finds that
// one. It is the one place where ownership is decided, for every method alike: what
// comes after it works on req.owner and req.found. A join names further uploads,
// which the ledger looks up by the same owner.
func (s *Server) open(r *http.Request, req *request, path string) error {
	ctx := r.Context()
	principal, known := auth.FromContext(ctx)
	ticket, byTicket := auth.TicketFromContext(ctx)
	if !known && !byTicket {
		return recording.Errorf(recording.CodeUnauthenticated, "Send a token: Authorization: Bearer <token>.")
	}
	req.owner, req.byTicket, req.account = principal.UserID, !known, principal
	var id uuid.UUID
	var err error
	if path != "" {
		if id, err = uuid.Parse(path); err != nil || id.String() != path { // one spelling, so that one upload has one lock
			return recording.ErrNotFound
		}
	}
	switch {
	case req.byTicket:
		req.found, err = s.findByTicket(ctx, r.Method, ticket, id)
		req.owner = req.found.OwnerID
		// Who has got it had signed in before the upload was created.
		req.account = auth.Principal{UserID: req.owner, AuthTime: req.found.CreatedAt}
	case path != "":
		req.found, err = s.o.Ledger.FindUpload(ctx, req.owner, id)
	}
	if err != nil || path == "" {
		return err
	}
	return s.checkAlive(req.found)
}

// findByTicket finds the upload that a ticket opens. The ticket of one that is
// complete lives as long as if it weren't, for a client that has lost the last answer.
func (s *Server) findByTicket(ctx context.Context, method string, ticket auth.Ticket, id uuid.UUID) (recording.Upload, error) {
	hash, err := ticket.Opens(method, id)
	if err != nil {
		return recording.Upload{}, err
	}
	u, err := s.o.Ledger.FindUploadByTicket(ctx, id, hash)
	if err == nil && u.Complete() && !u.Expires() && !s.o.Now().Before(u.ExpiresAt) {
		err = recording.Errorf(recording.CodeUnauthenticated, "The upload's ticket has expired; send a token.")
	}
	return u, err
}

// giveTicket answers a repeated creation with one more ticket. Those that were given
// before stay valid: their bearer may be on its way.
func (s *Server) giveTicket(ctx context.Context, req *request, u recording.Upload) error {
	if u.Complete() { // there is nothing left to do with one
		return nil
	}
	ticket := auth.NewTicket()
	if err := s.o.Ledger.AddUploadTicket(ctx, u.ID, ticket.Hash(u.ID)); err != nil {
		return err
	}
	req.tellTicket(ticket)
	return nil
}

// tellTicket puts a ticket into the answer.
func (req *request) tellTicket(ticket auth.Ticket) {
	req.w.Header().Set(ticketHeader, ticket.Reveal())
	req.w.Header().Set("Cache-Control", "no-store") // RFC 6750, 5.3
}

// checkAlive answers for an upload that ended without success.
func (s *Server) checkAlive(u recording.Upload) error {
	if u.Expired(s.o.Now()) {
		return recording.Errorf(recording.CodeUploadGone, "This upload has expired.")
	}
	switch u.State {
	case recording.UploadRefused:
		return recording.Errorf(recording.CodeUploadGone, "This upload was refused: its content is not audio.")
	case recording.UploadTerminated:
		return recording.Errorf(recording.CodeUploadGone, "This upload was terminated.")
	case recording.UploadFailed:
		return recording.Errorf(recording.CodeUploadGone, "Bytes of this upload were lost on the server; start it again.")
	}
	return nil
}
