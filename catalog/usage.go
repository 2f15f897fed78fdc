package catalog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"reprise/recording"
)

// What users have is counted by triggers on the table of uploads (migration 6),
// and checked here in the transaction in which it grows. The owner's row of usage
// is locked from the one to that transaction's end, on every replica alike, so two
// of them can't take the same room.

// limitCode is the SQLSTATE by which check_usage refuses.
const limitCode = "RP001"

// checkUsage refuses a transaction that has made its owner's use grow beyond a
// limit. Args are those of checkArgs.
const checkUsage = `SELECT check_usage($1, $2, $3, $4, $5)`

func (c *Catalog) checkArgs(owner uuid.UUID) []any {
	return []any{owner, recording.Day(c.now()), c.limits.OpenUploads, c.limits.StoredBytes, c.limits.BytesPerDay}
}

// growth is by how much a transaction has made use grow, for its refusal.
type growth struct{ uploads, bytes int64 }

// checkGrowth runs checkUsage.
func (c *Catalog) checkGrowth(ctx context.Context, tx pgx.Tx, owner uuid.UUID, by growth) error {
	if c.limits.BytesPerDay > 0 && by.bytes > c.limits.BytesPerDay {
		e := recording.Errorf(recording.CodeTooLarge, "This upload alone has more than the %d bytes that you may send in a day.", c.limits.BytesPerDay)
		e.Exceeded = &recording.Exceeded{Name: recording.LimitDailyBytes, Limit: c.limits.BytesPerDay}
		return e
	}
	_, err := tx.Exec(ctx, checkUsage, c.checkArgs(owner)...)
	return c.exceeded(err, by)
}

// exceeded makes the refusal of check_usage the error that a client sees. Any other
// error stays.
func (c *Catalog) exceeded(err error, by growth) error {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != limitCode {
		return err
	}
	now, err := strconv.ParseInt(pgErr.Detail, 10, 64)
	if err != nil {
		return fmt.Errorf("read what is used: %w", err)
	}
	switch name := recording.LimitName(pgErr.Message); name {
	case recording.LimitOpenUploads:
		return c.errOpenUploads(now - by.uploads)
	case recording.LimitStoredBytes:
		return c.errStoredBytes(now - by.bytes)
	case recording.LimitDailyBytes:
		return c.errDailyBytes(now - by.bytes)
	default:
		return fmt.Errorf("check_usage knows a limit %q", name)
	}
}

// openPatience is when it makes sense to ask again for an upload that would be one
// too many: others end, or expire.
const openPatience = time.Minute

func (c *Catalog) errOpenUploads(used int64) error {
	e := recording.Errorf(recording.CodeTooManyUploads,
		"You have %d unfinished uploads, as many as you may; finish or delete some of them first.", used)
	e.Exceeded = &recording.Exceeded{Name: recording.LimitOpenUploads, Limit: int64(c.limits.OpenUploads), Used: used, RetryAfter: openPatience}
	return e
}

func (c *Catalog) errStoredBytes(used int64) error {
	e := recording.Errorf(recording.CodeStorageQuota,
		"You may store %d bytes, and with this it would be more; delete recordings to make room.", c.limits.StoredBytes)
	e.Exceeded = &recording.Exceeded{Name: recording.LimitStoredBytes, Limit: c.limits.StoredBytes, Used: used}
	return e
}

func (c *Catalog) errDailyBytes(used int64) error {
	ends := recording.Day(c.now()).AddDate(0, 0, 1)
	e := recording.Errorf(recording.CodeDailyQuota,
		"You may send %d bytes in a day, and with this it would be more; go on after midnight (UTC).", c.limits.BytesPerDay)
	e.Exceeded = &recording.Exceeded{Name: recording.LimitDailyBytes, Limit: c.limits.BytesPerDay, Used: used, RetryAfter: ends.Sub(c.now()), ResetAt: ends}
	return e
}

// Usage returns what a user has and has used today.
func (c *Catalog) Usage(ctx context.Context, owner uuid.UUID) (recording.Usage, error) {
	today := recording.Day(c.now())
	u := recording.Usage{DayEnds: today.AddDate(0, 0, 1)}
	var decodedMs int64
	err := c.pool.QueryRow(ctx, `
		SELECT open_uploads, stored_bytes, CASE WHEN day >= $2 THEN day_bytes ELSE 0 END, CASE WHEN day >= $2 THEN day_decoded_ms ELSE 0 END
		FROM usage WHERE owner_id = $1`, owner, today).Scan(&u.OpenUploads, &u.StoredBytes, &u.DayBytes, &decodedMs)
	if errors.Is(err, pgx.ErrNoRows) { // has never uploaded anything
		err = nil
	}
	u.DayDecoded = time.Duration(decodedMs) * time.Millisecond
	return u, classify(err)
}

// Room returns how many bytes more a user may send now, to an upload of unknown
// length, and the error to give beyond them. Others may take it meanwhile: the
// commit decides.
func (c *Catalog) Room(ctx context.Context, owner uuid.UUID) (bytes int64, beyond error, err error) {
	if c.limits.StoredBytes == 0 && c.limits.BytesPerDay == 0 {
		return math.MaxInt64, nil, nil
	}
	u, err := c.Usage(ctx, owner)
	if err != nil {
		return 0, nil, err
	}
	bytes = math.MaxInt64
	if c.limits.BytesPerDay > 0 {
		bytes, beyond = max(0, c.limits.BytesPerDay-u.DayBytes), c.errDailyBytes(u.DayBytes)
	}
	if stored := max(0, c.limits.StoredBytes-u.StoredBytes); c.limits.StoredBytes > 0 && stored <= bytes {
		bytes, beyond = stored, c.errStoredBytes(u.StoredBytes)
	}
	return bytes, beyond, nil
}

// countDecoded counts audio that a stage of a recording has decoded. It locks the
// upload first: who else has locked the recording and wants the owner's row of usage
// has locked that.
func (c *Catalog) countDecoded(ctx context.Context, tx pgx.Tx, recordingID uuid.UUID, stage recording.Stage, decoded time.Duration) error {
	if decoded <= 0 {
		return nil
	}
	if _, err := lockUploadOf(ctx, tx, recordingID); err != nil {
		return err
	}
	owner, current, err := lockStage(ctx, tx, recordingID, stage)
	if err != nil || !current {
		return err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO usage AS was (owner_id, day, day_decoded_ms) VALUES ($1, $2, $3)
		ON CONFLICT (owner_id) DO UPDATE SET
			day = greatest(was.day, excluded.day),
			day_bytes = CASE WHEN excluded.day > was.day THEN 0 ELSE was.day_bytes END,
			day_decoded_ms = CASE WHEN excluded.day > was.day THEN 0 ELSE was.day_decoded_ms END + excluded.day_decoded_ms`,
		owner, recording.Day(c.now()), decoded.Milliseconds())
	return err
}

// CountDecoded counts audio that a stage has decoded in vain, if it is the current
// one. What a stage has decoded that ends well is counted by CompleteStage.
func (c *Catalog) CountDecoded(ctx context.Context, recordingID uuid.UUID, stage recording.Stage, decoded time.Duration) error {
	return c.inTx(ctx, func(tx pgx.Tx) error {
		return c.countDecoded(ctx, tx, recordingID, stage, decoded)
	})
}

// MayDecode returns nil if more audio of this user may be decoded today, else
// when it may again.
func (c *Catalog) MayDecode(ctx context.Context, owner uuid.UUID) (from *time.Time, err error) {
	if c.limits.DecodedPerDay == 0 {
		return nil, nil
	}
	u, err := c.Usage(ctx, owner)
	if err != nil || u.DayDecoded < c.limits.DecodedPerDay {
		return nil, err
	}
	return &u.DayEnds, nil
}

// DelayStage tells a recording's owner that its stage waits until a day's limit
// begins anew, once for each such day.
func (c *Catalog) DelayStage(ctx context.Context, recordingID uuid.UUID, stage recording.Stage, until time.Time) error {
	detail := fmt.Sprintf("As much of your audio as may be was processed today; this goes on at %s.", until.UTC().Format(time.RFC3339))
	return c.inTx(ctx, func(tx pgx.Tx) error {
		owner, current, err := lockStage(ctx, tx, recordingID, stage)
		if err != nil || !current {
			return err
		}
		tag, err := tx.Exec(ctx, `
			UPDATE recordings SET detail = $2, updated_at = $3, version = version + 1 WHERE id = $1 AND detail <> $2`, recordingID, detail, c.now())
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return appendEvent(ctx, tx, recording.NewEvent(owner, recordingID, recording.EventProcessingDelayed, c.now(),
			map[string]any{"stage": stage, "until": until.UTC(), "detail": detail}))
	})
}

// usageDrift finds users whose counts are not what their uploads say.
const usageDrift = `
	SELECT coalesce(c.owner_id, n.owner_id) FROM usage c FULL JOIN (
		SELECT owner_id, sum(usage_open(u)) AS open_uploads, sum(usage_stored(u)) AS stored_bytes FROM uploads u GROUP BY owner_id
	) n ON n.owner_id = c.owner_id
	WHERE (coalesce(c.open_uploads, 0), coalesce(c.stored_bytes, 0)) <> (coalesce(n.open_uploads, 0), coalesce(n.stored_bytes, 0))`

// RecountUsage corrects what is counted wrong, and returns for how many users it
// was. Nothing here does that: a hand in the database may, or triggers that were
// switched off. It reads every upload.
func (c *Catalog) RecountUsage(ctx context.Context) (int, error) {
	rows, err := c.pool.Query(ctx, usageDrift)
	if err != nil {
		return 0, classify(err)
	}
	owners, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return 0, classify(err)
	}
	total := 0
	for _, owner := range owners {
		changed, err := c.recountUser(ctx, owner)
		if err != nil {
			return total, err
		}
		if changed {
			total++
		}
	}
	return total, nil
}

// recountUser counts under the lock, so that every transaction has either been
// counted by its trigger and is seen, or waits to be counted and isn't.
func (c *Catalog) recountUser(ctx context.Context, owner uuid.UUID) (changed bool, err error) {
	err = c.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `
			INSERT INTO usage AS was (owner_id, day) VALUES ($1, $2)
			ON CONFLICT (owner_id) DO UPDATE SET day = was.day`, owner, recording.Day(c.now())); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			UPDATE usage SET open_uploads = n.open_uploads, stored_bytes = n.stored_bytes FROM (
				SELECT coalesce(sum(usage_open(u)), 0) AS open_uploads, coalesce(sum(usage_stored(u)), 0) AS stored_bytes FROM uploads u WHERE owner_id = $1
			) n WHERE owner_id = $1 AND (usage.open_uploads, usage.stored_bytes) <> (n.open_uploads, n.stored_bytes)`, owner)
		changed = err == nil && tag.RowsAffected() > 0
		return err
	})
	return changed && err == nil, err
}
