package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"reprise/migrations"
)

// migrationLock is the advisory lock that one migrator holds: its number is
// arbitrary, but must never change.
const migrationLock = 7_239_001

// Migrate brings the database up to date: Reprise's own tables, then River's.
// It is safe to run on several replicas at once: the others wait and find
// nothing left to do. It only goes forward.
func Migrate(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("migrate: connect to the database: %w", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", migrationLock); err != nil {
		return fmt.Errorf("migrate: wait for other migrators: %w", err)
	}
	defer func() {
		// The connection goes back to the pool, so the lock must not stay with it.
		if _, err := conn.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", migrationLock); err != nil {
			conn.Conn().Close(context.WithoutCancel(ctx))
		}
	}()

	files, err := fs.Sub(migrations.Postgres, "postgres")
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return fmt.Errorf("migrate: read the migrations: %w", err)
	}
	applied, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for _, r := range applied {
		log.InfoContext(ctx, "applied migration", slog.String("file", r.Source.Path), slog.Duration("took", r.Duration))
	}

	if err := indexBacklog(ctx, pool); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if err := showBacklog(ctx, pool); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}

	queue, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return fmt.Errorf("migrate the job queue: %w", err)
	}
	res, err := queue.Migrate(ctx, rivermigrate.DirectionUp, nil)
	if err != nil {
		return fmt.Errorf("migrate the job queue: %w", err)
	}
	for _, v := range res.Versions {
		log.InfoContext(ctx, "applied job queue migration", slog.Int("version", v.Version), slog.Duration("took", v.Duration))
	}
	return nil
}

// CheckMigrated returns an error if the database lacks migrations of this
// program. One that has more is fine, since a newer replica has started already,
// and a warning, since this one should follow.
func CheckMigrated(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	files, err := fs.Sub(migrations.Postgres, "postgres")
	if err != nil {
		return err
	}
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	pending, err := provider.HasPending(ctx)
	if err != nil {
		return fmt.Errorf("look up the database's migrations: %w", err)
	}
	queue, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return fmt.Errorf("read the job queue's migrations: %w", err)
	}
	valid, err := queue.Validate(ctx, nil)
	if err != nil {
		return fmt.Errorf("look up the job queue's migrations: %w", err)
	}
	if pending || !valid.OK {
		return errors.New("the database is not up to date: run \"reprise migrate\" first")
	}
	has, known, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("look up the database's version: %w", err)
	}
	if has > known {
		log.WarnContext(ctx, "the database is of a newer version of reprise: replace this program soon",
			slog.Int64("databaseVersion", has), slog.Int64("programVersion", known))
	}
	return nil
}
