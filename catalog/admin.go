package catalog

import (
	"context"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// Audit writes down one use of a role, for good.
func (c *Catalog) Audit(ctx context.Context, e recording.AuditEntry) error {
	return c.inTx(ctx, func(tx pgx.Tx) error { return c.audit(ctx, tx, e) })
}

func (c *Catalog) audit(ctx context.Context, tx pgx.Tx, e recording.AuditEntry) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO audit (id, at, actor_id, role, action, target, reason, request_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		recording.NewID(), c.now(), nullID(e.ActorID), e.Role, e.Action, e.Target, e.Reason, e.RequestID)
	return err
}

// AuditEntries lists the audit, newest first.
func (c *Catalog) AuditEntries(ctx context.Context, page recording.Page) ([]recording.AuditEntry, error) {
	rows, err := c.pool.Query(ctx, `
		SELECT id, at, actor_id, role, action, target, reason, request_id FROM audit
		WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2`, nullID(page.Before), page.Limit)
	if err != nil {
		return nil, classify(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (recording.AuditEntry, error) {
		var e recording.AuditEntry
		var actor *uuid.UUID
		err := row.Scan(&e.ID, &e.At, &actor, &e.Role, &e.Action, &e.Target, &e.Reason, &e.RequestID)
		e.ActorID = orNil(actor)
		return e, err
	})
	return list, classify(err)
}

// Users lists users, who was created last first.
func (c *Catalog) Users(ctx context.Context, page recording.Page) ([]recording.User, error) {
	return c.users(ctx, `SELECT `+userColumns+` FROM users
		WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2`, nullID(page.Before), page.Limit)
}

// FindUsers lists the users whose id, subject or e-mail address this is, as Users
// does. Several may have one address: each way to sign in can be a user of its own.
func (c *Catalog) FindUsers(ctx context.Context, what string, page recording.Page) ([]recording.User, error) {
	id, err := uuid.Parse(what)
	if err != nil {
		id = uuid.Nil
	}
	return c.users(ctx, `SELECT `+userColumns+` FROM users
		WHERE (id = $1 OR subject = $2 OR email <> '' AND lower(email) = $3) AND ($4::uuid IS NULL OR id < $4)
		ORDER BY id DESC LIMIT $5`, nullID(id), what, strings.ToLower(what), nullID(page.Before), page.Limit)
}

func (c *Catalog) users(ctx context.Context, sql string, args ...any) ([]recording.User, error) {
	rows, err := c.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, classify(err)
	}
	list, err := pgx.CollectRows(rows, scanUser)
	return list, classify(err)
}

// CountRecordings counts a user's recordings by state, without deleted ones.
func (c *Catalog) CountRecordings(ctx context.Context, owner uuid.UUID) (recording.UserRecordings, error) {
	rows, err := c.pool.Query(ctx, `SELECT state, count(*) FROM recordings WHERE owner_id = $1 AND state <> 'deleted' GROUP BY state`, owner)
	if err != nil {
		return nil, classify(err)
	}
	counts := recording.UserRecordings{}
	var state recording.State
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&state, &n}, func() error { counts[state] = n; return nil })
	return counts, classify(err)
}

// SetUserDisabled shuts a user out or lets them in again, and writes e down in the
// same transaction; e.Reason is kept with the user. Doing it twice changes nothing
// but the reason.
func (c *Catalog) SetUserDisabled(ctx context.Context, id uuid.UUID, disabled bool, e recording.AuditEntry) (recording.User, error) {
	var u recording.User
	err := c.inTx(ctx, func(tx pgx.Tx) (err error) {
		u, err = oneUser(ctx, tx, `
			UPDATE users SET disabled_at = CASE WHEN $2 THEN coalesce(disabled_at, $3) END,
				disabled_reason = CASE WHEN $2 THEN $4 ELSE '' END
			WHERE id = $1 RETURNING `+userColumns, id, disabled, c.now(), e.Reason)
		if err != nil {
			return err
		}
		return c.audit(ctx, tx, e)
	})
	return u, err
}
