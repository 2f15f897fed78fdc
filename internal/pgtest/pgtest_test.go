package pgtest_test

import (
	"context"
	"testing"

	"reprise/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestNewIsMigratedAndIsolated(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			pool := pgtest.New(t)
			// The same key in each database: it would clash in a shared one.
			_, err := pool.Exec(ctx, "INSERT INTO users (id, subject) VALUES ('00000000-0000-0000-0000-000000000001', 'dev:alice')")
			if err != nil {
				t.Fatal(err)
			}
			var users, jobs int
			err = pool.QueryRow(ctx, "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM river_job)").Scan(&users, &jobs)
			if err != nil {
				t.Fatal(err)
			}
			if users != 1 || jobs != 0 {
				t.Errorf("got %d users and %d jobs, want 1 and 0", users, jobs)
			}
		})
	}
}
