package catalog_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestLockOrder: a transaction that ends several recordings of an owner meets one
// that has locked a recording of theirs and is about to append an event, which
// locks the owner. Were the owner locked between two recordings, the database
// would have to break a deadlock.
func TestLockOrder(t *testing.T) {
	t.Parallel()
	const many = 10 // the order in which they end is the database's
	for name, tt := range map[string]struct {
		prepare func(*rig) (last uuid.UUID)
		run     func(context.Context, *rig) (int, error)
	}{
		"expire": {
			func(r *rig) (last uuid.UUID) {
				for range many {
					last = r.create(r.alice).RecordingID
				}
				r.clock = r.clock.Add(2 * time.Hour)
				return last
			},
			func(ctx context.Context, r *rig) (int, error) { return r.ExpireUploads(ctx, r.clock) },
		},
		"rescue": {
			func(r *rig) (last uuid.UUID) {
				for range many {
					last = r.receive(r.alice).RecordingID
				}
				_, err := r.pool.Exec(r.t.Context(), `UPDATE river_job SET state = 'running', attempt = 50, max_attempts = 50, attempted_by = ARRAY['dead']`)
				must(r.t, err)
				return last
			},
			func(ctx context.Context, r *rig) (int, error) { return r.RescueJobs(ctx) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			ctx := t.Context()
			last := tt.prepare(r)
			tx, err := r.pool.Begin(ctx)
			must(t, err)
			defer tx.Rollback(context.WithoutCancel(ctx))
			_, err = tx.Exec(ctx, `UPDATE recordings SET version = version + 1 WHERE id = $1`, last)
			must(t, err)
			type result struct {
				n   int
				err error
			}
			done := make(chan result, 1)
			go func() {
				n, err := tt.run(ctx, r)
				done <- result{n, err}
			}()
			for r.count(`SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT granted AND a.datname = current_database()`) == 0 {
				time.Sleep(5 * time.Millisecond)
			}
			if _, err := tx.Exec(ctx, `UPDATE users SET event_seq = event_seq WHERE id = $1`, r.alice); err != nil {
				t.Errorf("lock the owner: %v", err)
			}
			_ = tx.Commit(ctx)
			if res := <-done; res.err != nil || res.n != many {
				t.Errorf("%d done, %v", res.n, res.err)
			}
		})
	}
}
