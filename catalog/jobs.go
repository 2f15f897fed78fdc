package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"reprise/recording"
)

// StageAttempts is how often a stage that decodes the file is tried before its
// recording fails: the file may be what stops it.
const StageAttempts = 3

// storeAttempts is for the stages that only move bytes. What stops them is the
// server's own trouble, and a client was told that its recording is safe, so they
// are tried until that is mended. Queue columns hold no more.
const storeAttempts = math.MaxInt16

// enqueue adds a job in the transaction; at is when it may run, zero for now.
func (c *Catalog) enqueue(ctx context.Context, tx pgx.Tx, args river.JobArgs, at time.Time) error {
	opts := &river.InsertOpts{ScheduledAt: at}
	switch args := args.(type) {
	case recording.StageJob:
		opts.MaxAttempts = StageAttempts
		if args.Stage == recording.StageStore || args.Stage == recording.StageVerify {
			opts.MaxAttempts = storeAttempts
		}
	case recording.InsightJob:
		opts.Queue = string(args.Stage) // only a worker that has the means takes from it
		opts.MaxAttempts = StageAttempts
	case recording.PurgeJob:
		opts.Priority = 3 // people wait for stages, nobody waits for this
		opts.MaxAttempts = storeAttempts
	}
	if _, err := c.jobs.InsertTx(ctx, tx, args, opts); err != nil {
		return fmt.Errorf("enqueue %s: %w", args.Kind(), err)
	}
	return nil
}

// workerLockKey is the advisory lock of a worker process, by its client id.
const workerLockKey = `hashtextextended('reprise-worker:' || $1, 0)`

// HoldWorkerLock tells the other replicas that the worker process clientID is
// alive, until release: it holds an advisory lock on a connection of its own,
// which the kernel closes when the process dies. The lock comes back by itself
// after the database was away.
func (c *Catalog) HoldWorkerLock(ctx context.Context, clientID string) (release func(), err error) {
	conn, err := c.lockWorker(ctx, clientID)
	if err != nil {
		return nil, classify(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Without its lock the worker looks dead, and others take up its jobs.
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				if conn != nil {
					// The server closes a connection in its own time; the lock should be free now.
					ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
					defer cancel()
					_, _ = conn.Exec(ctx, "SELECT pg_advisory_unlock_all()")
					conn.Close(ctx)
				}
				return
			case <-tick.C:
			}
			if conn != nil && pingSoon(ctx, conn) != nil {
				conn.Close(ctx)
				conn = nil
			}
			if conn == nil {
				conn, _ = c.lockWorker(ctx, clientID) // the next tick tries again
			}
		}
	}()
	return func() { cancel(); <-done }, nil
}

// pingSoon fails too if no answer comes: TCP alone would take a quarter of an hour
// to notice, and the database has let go of the lock long before.
func pingSoon(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return conn.Ping(ctx)
}

func (c *Catalog) lockWorker(ctx context.Context, clientID string) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, c.pool.Config().ConnConfig)
	if err != nil {
		return nil, err
	}
	// A host that lost its power closes nothing: the server's keepalive finds out in half a minute.
	for _, sql := range []string{"SET tcp_keepalives_idle = 10", "SET tcp_keepalives_interval = 5", "SET tcp_keepalives_count = 4"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			conn.Close(ctx)
			return nil, err
		}
	}
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock("+workerLockKey+")", clientID); err != nil {
		conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

// RescueJobs puts jobs that a dead worker was running back into the queue and
// returns how many. A stage whose last attempt died with its worker is given up:
// its recording fails. Safe to run on every replica at once.
func (c *Catalog) RescueJobs(ctx context.Context) (int, error) {
	rows, err := c.pool.Query(ctx, `
		SELECT DISTINCT attempted_by[array_upper(attempted_by, 1)] FROM river_job
		WHERE state = 'running' AND attempted_by IS NOT NULL`)
	if err != nil {
		return 0, classify(err)
	}
	workers, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, classify(err)
	}
	rescued := 0
	for _, worker := range workers {
		for {
			found, err := c.rescueDead(ctx, worker)
			if err != nil {
				return rescued, err
			}
			if !found {
				break
			}
			rescued++
		}
	}
	return rescued, nil
}

// RunningJobs returns the ids of the jobs that are the worker's by the queue's rows.
func (c *Catalog) RunningJobs(ctx context.Context, clientID string) ([]int64, error) {
	rows, err := c.pool.Query(ctx, `
		SELECT id FROM river_job WHERE state = 'running' AND attempted_by[array_upper(attempted_by, 1)] = $1`, clientID)
	if err != nil {
		return nil, classify(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	return ids, classify(err)
}

// RescueLost is RescueJobs for jobs of a living worker which it knows nothing of.
// Only that worker itself may say so.
func (c *Catalog) RescueLost(ctx context.Context, clientID string, ids []int64) (int, error) {
	rescued := 0
	for _, id := range ids {
		err := c.inTx(ctx, func(tx pgx.Tx) error {
			found, err := c.rescueOne(ctx, tx, clientID, &id, "the worker knows nothing of this job")
			if found {
				rescued++
			}
			return err
		})
		if err != nil {
			return rescued, err
		}
	}
	return rescued, nil
}

// maxDeaths is the attempt at which a stage that its worker did not survive is
// given up. It is more than StageAttempts: a worker is killed by deployments and
// by want of memory, and decoders run in processes of their own.
const maxDeaths = 10

// rescueDead rescues a job that the worker was running, if it is dead, and reports
// whether there was one.
func (c *Catalog) rescueDead(ctx context.Context, worker string) (found bool, err error) {
	err = c.inTx(ctx, func(tx pgx.Tx) error {
		var dead bool
		err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock("+workerLockKey+")", worker).Scan(&dead)
		if err == nil && dead {
			found, err = c.rescueOne(ctx, tx, worker, nil, "the worker process died")
		}
		return err
	})
	return found && err == nil, err
}

// rescueOne requeues a job that is the worker's by the queue's rows, the one with
// this id or any, and reports whether there was one. One is a transaction: a
// verdict's event locks the recording's owner, after which no other recording may be
// locked. It writes River's table itself: River's own rescuer knows only time, and
// waits for an hour.
func (c *Catalog) rescueOne(ctx context.Context, tx pgx.Tx, worker string, id *int64, reason string) (found bool, err error) {
	var kind, state string
	var args json.RawMessage
	err = tx.QueryRow(ctx, `
		UPDATE river_job SET
			state = CASE WHEN attempt >= $2 AND attempt >= max_attempts THEN 'discarded' ELSE 'available' END::river_job_state,
			finalized_at = CASE WHEN attempt >= $2 AND attempt >= max_attempts THEN now() END,
			max_attempts = greatest(max_attempts, least(max_attempts + 1, $2)),
			scheduled_at = now(),
			errors = array_append(errors, jsonb_build_object('at', now(), 'attempt', attempt, 'error', $4::text, 'trace', ''))
		WHERE state = 'running' AND id = (
			SELECT id FROM river_job
			WHERE state = 'running' AND attempted_by[array_upper(attempted_by, 1)] = $1 AND ($3::bigint IS NULL OR id = $3) LIMIT 1)
		RETURNING kind, state::text, args`, worker, maxDeaths, id, reason).Scan(&kind, &state, &args)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if state != "discarded" {
		return true, nil
	}
	return true, c.giveUp(ctx, tx, kind, args)
}

// giveUp fails what a job was to do, which its worker has not survived on any attempt.
func (c *Catalog) giveUp(ctx context.Context, tx pgx.Tx, kind string, args json.RawMessage) error {
	const detail = "Processing this recording stopped the server's worker on every attempt."
	switch kind {
	case recording.StageJob{}.Kind():
		var job recording.StageJob
		if err := json.Unmarshal(args, &job); err != nil {
			return fmt.Errorf("read the arguments of a job: %w", err)
		}
		return c.fail(ctx, tx, job.RecordingID, job.Stage, recording.ReasonInternal, detail)
	case recording.InsightJob{}.Kind():
		var job recording.InsightJob
		if err := json.Unmarshal(args, &job); err != nil {
			return fmt.Errorf("read the arguments of a job: %w", err)
		}
		return c.failInsight(ctx, tx, job, recording.ReasonInternal, detail)
	}
	return nil
}

// JobCount says how many jobs of a kind are in a state, and since when the
// oldest of them waits.
type JobCount struct {
	Kind, State string
	Count       int64
	OldestAt    time.Time // when the oldest was due
}

// JobCounts counts the jobs that are not finished.
func (c *Catalog) JobCounts(ctx context.Context) ([]JobCount, error) {
	rows, err := c.pool.Query(ctx, `
		SELECT kind, state::text, count(*), min(CASE kind WHEN $1 THEN scheduled_at ELSE created_at END) FROM river_job
		WHERE state IN ('available', 'pending', 'retryable', 'running', 'scheduled') GROUP BY kind, state`,
		recording.PurgeJob{}.Kind()) // made long before it is due; of others a retry must not hide the age
	if err != nil {
		return nil, classify(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[JobCount])
	return list, classify(err)
}
