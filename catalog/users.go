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

const (
	// ticketLifetime is long enough to open a socket with it and too short to be
	// worth stealing.
	ticketLifetime = 30 * time.Second

	// seenEvery is how often it is written that a user was seen.
	seenEvery = 5 * time.Minute
)

// userColumns are what scanUser reads, of users.
const userColumns = `id, subject, email, name, provider, created_at, last_seen_at, disabled_at, disabled_reason`

func scanUser(row pgx.CollectableRow) (recording.User, error) {
	var u recording.User
	err := row.Scan(&u.ID, &u.Subject, &u.Email, &u.Name, &u.Provider, &u.CreatedAt, &u.LastSeenAt, &u.DisabledAt, &u.DisabledReason)
	return u, err
}

// oneUser runs a query for one row of userColumns; no row is ErrNotFound.
func oneUser(ctx context.Context, q querier, sql string, args ...any) (recording.User, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return recording.User{}, classify(err)
	}
	u, err := pgx.CollectExactlyOneRow(rows, scanUser)
	if errors.Is(err, pgx.ErrNoRows) {
		return u, recording.ErrNotFound
	}
	return u, classify(err)
}

// EnsureUser returns the id of the user with this subject, who is created at
// first sight.
func (c *Catalog) EnsureUser(ctx context.Context, subject string) (uuid.UUID, error) {
	u, err := c.SeeUser(ctx, recording.Profile{Subject: subject})
	return u.ID, err
}

// SeeUser notes that a user was seen with a token that says this, and returns
// them. Who is seen for the first time is created. That they were seen is written
// every few minutes, and what the token says if that has changed.
func (c *Catalog) SeeUser(ctx context.Context, p recording.Profile) (recording.User, error) {
	u, err := oneUser(ctx, c.pool, `SELECT `+userColumns+` FROM users WHERE subject = $1`, p.Subject)
	if errors.Is(err, recording.ErrNotFound) {
		return c.addUser(ctx, p)
	}
	changed := !p.IssuedAt.IsZero() && (p.Email != u.Email || p.Name != u.Name || p.Provider != u.Provider)
	if err != nil || !changed && c.now().Sub(u.LastSeenAt) < seenEvery {
		return u, err
	}
	updated, err := c.updateUser(ctx, u.ID, p)
	if errors.Is(err, recording.ErrNotFound) {
		return u, nil
	}
	return updated, err
}

// addUser writes a user who is seen for the first time.
func (c *Catalog) addUser(ctx context.Context, p recording.Profile) (u recording.User, err error) {
	err = c.inTx(ctx, func(tx pgx.Tx) error {
		// DO UPDATE, not DO NOTHING, so that the loser of a race gets the winner's row.
		u, err = oneUser(ctx, tx, `
			INSERT INTO users (id, subject, email, name, provider, profile_at, created_at, last_seen_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
			ON CONFLICT (subject) DO UPDATE SET subject = excluded.subject RETURNING `+userColumns,
			recording.NewID(), p.Subject, p.Email, p.Name, p.Provider, nullTime(p.IssuedAt), c.now())
		if err != nil {
			return err
		}
		return touchGraph(ctx, tx, u.ID, c.now(), graphRefs(recording.GraphUser, u.ID)...)
	})
	return u, err
}

// updateUser writes that a user was seen, and what a newer token says; ErrNotFound says
// that somebody else has just done so.
func (c *Catalog) updateUser(ctx context.Context, id uuid.UUID, p recording.Profile) (u recording.User, err error) {
	const newer = `$2::timestamptz > coalesce(profile_at, '-infinity')`
	now, issued := c.now(), nullTime(p.IssuedAt)
	err = c.inTx(ctx, func(tx pgx.Tx) error {
		// Whoever draws an event's number has the row until its transaction ends: then it
		// is left for the next time.
		was, err := oneUser(ctx, tx, `
			SELECT `+userColumns+` FROM users WHERE id = $1 AND (`+newer+` OR last_seen_at <= $3) FOR NO KEY UPDATE SKIP LOCKED`,
			id, issued, now.Add(-seenEvery))
		if err != nil {
			return err
		}
		u, err = oneUser(ctx, tx, `
			UPDATE users SET last_seen_at = greatest(last_seen_at, $3),
				email      = CASE WHEN `+newer+` THEN $4 ELSE email END,
				name       = CASE WHEN `+newer+` THEN $5 ELSE name END,
				provider   = CASE WHEN `+newer+` THEN $6 ELSE provider END,
				profile_at = greatest(profile_at, $2)
			WHERE id = $1 RETURNING `+userColumns, id, issued, now, p.Email, p.Name, p.Provider)
		if err != nil || u.Name == was.Name {
			return err
		}
		return touchGraph(ctx, tx, id, now, graphRefs(recording.GraphUser, id)...)
	})
	return u, err
}

// User returns a user.
func (c *Catalog) User(ctx context.Context, id uuid.UUID) (recording.User, error) {
	return oneUser(ctx, c.pool, `SELECT `+userColumns+` FROM users WHERE id = $1`, id)
}

// IssueTicket makes a ticket that opens one WebSocket of this user, who signed in
// at authTime.
func (c *Catalog) IssueTicket(ctx context.Context, owner uuid.UUID, authTime time.Time) (ticket string, expiresAt time.Time, err error) {
	ticket, expiresAt = rand.Text(), c.now().Add(ticketLifetime)
	hash := sha256.Sum256([]byte(ticket))
	// The expired ones are few; whoever makes a new one clears them away.
	_, err = c.pool.Exec(ctx, `
		WITH expired AS (DELETE FROM socket_tickets WHERE expires_at < $4)
		INSERT INTO socket_tickets (hash, owner_id, expires_at, auth_time) VALUES ($1, $2, $3, $5)`,
		hash[:], owner, expiresAt, c.now(), nullTime(authTime))
	return ticket, expiresAt, classify(err)
}

// RedeemTicket uses a ticket up and returns whose it was. One that is unknown,
// used or expired is CodeUnauthenticated.
func (c *Catalog) RedeemTicket(ctx context.Context, ticket string) (recording.Ticket, error) {
	hash := sha256.Sum256([]byte(ticket))
	var t recording.Ticket
	var authTime *time.Time
	err := c.pool.QueryRow(ctx, `
		DELETE FROM socket_tickets USING users
		WHERE hash = $1 AND expires_at >= $2 AND users.id = owner_id RETURNING owner_id, subject, auth_time`,
		hash[:], c.now()).Scan(&t.UserID, &t.Subject, &authTime)
	if errors.Is(err, pgx.ErrNoRows) {
		return t, recording.Errorf(recording.CodeUnauthenticated, "This ticket is unknown, used or expired; ask for a new one.")
	}
	if authTime != nil {
		t.AuthTime = *authTime
	}
	return t, classify(err)
}

// nullTime makes the zero time an SQL NULL.
func nullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
