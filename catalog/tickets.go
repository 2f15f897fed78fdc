package catalog

import (
	"context"

	"github.com/google/uuid"

	"reprise/recording"
)

// maxUploadTickets is how many tickets an upload has at the most. A client whose
// creations go unanswered gets one with each, and uses the last.
const maxUploadTickets = 8

// FindUploadByTicket returns the upload with this id if it has the ticket of this
// hash.
func (c *Catalog) FindUploadByTicket(ctx context.Context, id uuid.UUID, hash []byte) (recording.Upload, error) {
	return oneUpload(ctx, c.pool, `SELECT `+uploadColumns+` FROM uploads u WHERE u.id = $1 AND $2 = ANY(u.ticket_hashes)`, id, hash)
}

// AddUploadTicket gives an upload another ticket. Those before stay, but for the
// oldest of too many.
func (c *Catalog) AddUploadTicket(ctx context.Context, id uuid.UUID, hash []byte) error {
	_, err := c.pool.Exec(ctx, `UPDATE uploads SET ticket_hashes = (array_prepend($2, ticket_hashes))[1:$3] WHERE id = $1`,
		id, hash, maxUploadTickets)
	return classify(err)
}
