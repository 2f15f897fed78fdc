package catalog

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// ticketLifetime is long enough to open a socket with it and too short to be
// worth stealing.
const ticketLifetime = 30 * time.Second

// EnsureUser returns the id of the user with this subject, who is created at
// first sight.
func (c *Catalog) EnsureUser(ctx context.Context, subject string) (uuid.UUID, error) {
	var id uuid.UUID
	err := c.pool.QueryRow(ctx, `SELECT id FROM users WHERE subject = $1`, subject).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		// DO UPDATE, not DO NOTHING, so that the loser of a race gets the winner's id.
		err = c.pool.QueryRow(ctx, `
			INSERT INTO users (id, subject, created_at) VALUES ($1, $2, $3)
			ON CONFLICT (subject) DO UPDATE SET subject = excluded.subject RETURNING id`,
			recording.NewID(), subject, c.now()).Scan(&id)
	}
	return id, classify(err)
}

// User returns a user.
func (c *Catalog) User(ctx context.Context, id uuid.UUID) (recording.User, error) {
	var u recording.User
	err := c.pool.QueryRow(ctx, `SELECT id, subject, created_at FROM users WHERE id = $1`, id).
		Scan(&u.ID, &u.Subject, &u.CreatedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return u, recording.ErrNotFound
	}
	return u, classify(err)
}

// IssueTicket makes a ticket that opens one WebSocket of this user.
func (c *Catalog) IssueTicket(ctx context.Context, owner uuid.UUID) (ticket string, expiresAt time.Time, err error) {
	ticket, expiresAt = rand.Text(), c.now().Add(ticketLifetime)
	hash := sha256.Sum256([]byte(ticket))
	// The expired ones are few; whoever makes a new one clears them away.
	_, err = c.pool.Exec(ctx, `
		WITH expired AS (DELETE FROM socket_tickets WHERE expires_at < $4)
		INSERT INTO socket_tickets (hash, owner_id, expires_at) VALUES ($1, $2, $3)`,
		hash[:], owner, expiresAt, c.now())
	return ticket, expiresAt, classify(err)
}

// RedeemTicket uses a ticket up and returns whose it was. One that is unknown,
// used or expired is CodeUnauthenticated.
func (c *Catalog) RedeemTicket(ctx context.Context, ticket string) (uuid.UUID, error) {
	hash := sha256.Sum256([]byte(ticket))
	var owner uuid.UUID
	err := c.pool.QueryRow(ctx, `DELETE FROM socket_tickets WHERE hash = $1 AND expires_at >= $2 RETURNING owner_id`,
		hash[:], c.now()).Scan(&owner)
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, recording.Errorf(recording.CodeUnauthenticated, "This ticket is unknown, used or expired; ask for a new one.")
	}
	return owner, classify(err)
}
