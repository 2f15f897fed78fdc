package graphsync

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"reprise/migrations"
)

// A migration is one file of numbered statements.
type migration struct {
	version    int64
	file       string
	sum        string // SHA-256 of the file, in hex
	statements []string
}

const (
	// Both are there before anything is recorded or locked.
	migrationConstraint = `CREATE CONSTRAINT migration_version IF NOT EXISTS FOR (m:Migration) REQUIRE m.version IS UNIQUE`
	lockConstraint      = `CREATE CONSTRAINT migration_lock IF NOT EXISTS FOR (l:MigrationLock) REQUIRE l.id IS UNIQUE`

	takeLock        = `MERGE (l:MigrationLock {id: 'migrate'}) SET l.takenAt = datetime()`
	holdLock        = `RETURN 1`
	appliedFiles    = `MATCH (m:Migration) RETURN m.version AS version, m.file AS file, m.sha256 AS sum`
	recordApplied   = `MERGE (m:Migration {version: $version}) SET m.file = $file, m.sha256 = $sum, m.appliedAt = datetime()`
	awaitIndexes    = `CALL db.awaitIndexes(3600)`
	constraintTries = 10
	constraintPause = 200 * time.Millisecond
)

// Migrate brings the graph's schema up to date. It is safe to run on several replicas at
// once: one holds the lock, the others wait and find nothing left to do. A file that was
// applied and has changed since is an error.
func (g *Graph) Migrate(ctx context.Context, log *slog.Logger) error {
	files, err := fs.Sub(migrations.Neo4j, "neo4j")
	if err == nil {
		err = g.migrate(ctx, files, log)
	}
	if err != nil {
		return fmt.Errorf("migrate the graph: %w", err)
	}
	return nil
}

func (g *Graph) migrate(ctx context.Context, files fs.FS, log *slog.Logger) error {
	list, err := readMigrations(files)
	if err != nil {
		return err
	}
	for _, constraint := range []string{migrationConstraint, lockConstraint} {
		if err := g.constrain(ctx, constraint); err != nil {
			return err
		}
	}
	// The lock is the write lock of a node, held by a transaction that stays open: it ends
	// with the process, however that ends.
	session := g.driver.NewSession(ctx, neo4j.SessionConfig{})
	defer session.Close(context.WithoutCancel(ctx))
	lock, err := session.BeginTransaction(ctx)
	if err != nil {
		return err
	}
	defer lock.Close(context.WithoutCancel(ctx))
	if err := hold(ctx, lock, takeLock); err != nil {
		return err
	}
	pending, err := g.pending(ctx, list)
	if err != nil {
		return err
	}
	for _, m := range pending {
		if err := hold(ctx, lock, holdLock); err != nil {
			return fmt.Errorf("the lock is lost: %w", err)
		}
		start := time.Now()
		if err := g.applyMigration(ctx, m); err != nil {
			return fmt.Errorf("%s: %w", m.file, err)
		}
		log.InfoContext(ctx, "applied graph migration", slog.String("file", m.file), slog.Duration("took", time.Since(start)))
	}
	return lock.Commit(ctx) // the node stays: making it takes longer than finding it
}

// hold runs a statement in the transaction that holds the lock.
func hold(ctx context.Context, lock neo4j.ExplicitTransaction, statement string) error {
	result, err := lock.Run(ctx, statement, nil)
	if err == nil {
		_, err = result.Consume(ctx)
	}
	return err
}

// constrain makes a constraint. If another makes it at the same moment that is an error,
// and the next try finds it.
func (g *Graph) constrain(ctx context.Context, statement string) error {
	for try := 1; ; try++ {
		_, err := g.run(ctx, statement, nil)
		var refused *neo4j.Neo4jError
		if err == nil || !errors.As(err, &refused) || try == constraintTries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(constraintPause):
		}
	}
}

func (g *Graph) applyMigration(ctx context.Context, m migration) error {
	for _, statement := range m.statements {
		if _, err := g.run(ctx, statement, nil); err != nil {
			return err
		}
	}
	if _, err := g.run(ctx, awaitIndexes, nil); err != nil {
		return err
	}
	_, err := g.run(ctx, recordApplied, map[string]any{"version": m.version, "file": m.file, "sum": m.sum})
	return err
}

// ownMigrations are those of this program, which are read once: before each batch it is
// asked whether the graph has them.
var ownMigrations = sync.OnceValues(func() ([]migration, error) {
	files, err := fs.Sub(migrations.Neo4j, "neo4j")
	if err != nil {
		return nil, err
	}
	return readMigrations(files)
})

// CheckMigrated returns an error if the graph lacks migrations of this program. One that
// has more is fine: a newer replica has started already.
func (g *Graph) CheckMigrated(ctx context.Context) error {
	list, err := ownMigrations()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	pending, err := g.pending(ctx, list)
	if err == nil && len(pending) > 0 {
		err = errNotMigrated
	}
	return err
}

// pending returns the migrations that are to be applied.
func (g *Graph) pending(ctx context.Context, list []migration) ([]migration, error) {
	records, err := g.run(ctx, appliedFiles, nil)
	if err != nil {
		return nil, classify(err)
	}
	sums := map[int64]string{}
	for _, record := range records {
		row := record.AsMap()
		version, _ := row["version"].(int64)
		sums[version], _ = row["sum"].(string)
	}
	var pending []migration
	for _, m := range list {
		switch sum, applied := sums[m.version]; {
		case !applied:
			pending = append(pending, m)
		case sum != m.sum:
			return nil, fmt.Errorf("migrations/neo4j/%s has changed since it was applied: take the change back, and make it in a new file", m.file)
		}
	}
	return pending, nil
}

// readMigrations reads the files, in the order of their numbers.
func readMigrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "*.cypher")
	if err != nil {
		return nil, err
	}
	var list []migration
	for _, name := range names {
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s does not begin with a number", name)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		list = append(list, migration{version, name, hex.EncodeToString(sum[:]), statements(string(text))})
	}
	slices.SortFunc(list, func(a, b migration) int { return int(a.version - b.version) })
	for i := 1; i < len(list); i++ {
		if list[i].version == list[i-1].version {
			return nil, fmt.Errorf("%s and %s have the same number", list[i-1].file, list[i].file)
		}
	}
	return list, nil
}

// statements returns what is between the lines that end with a semicolon, without
// comments.
func statements(text string) []string {
	var list []string
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "//") {
			continue
		}
		line, ends := strings.CutSuffix(line, ";")
		b.WriteString(line + "\n")
		if ends {
			list = append(list, strings.TrimSpace(b.String()))
			b.Reset()
		}
	}
	if rest := strings.TrimSpace(b.String()); rest != "" {
		list = append(list, rest)
	}
	return list
}
