package catalog

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/internal/failpoint"
	"reprise/recording"
)

const (
	// graphAttempts is how often the graph may refuse a row before it is given up.
	graphAttempts = 5
	// graphPause is how long a row waits that was refused once; each time it is four times
	// as long: ten minutes at last.
	graphPause = 10 * time.Second
)

// claim is a row of the outbox that a transaction has to itself.
type claim struct {
	seq      int64
	ref      recording.GraphRef
	attempts int
}

// DrainGraph takes up to limit rows off the outbox, the oldest first, and has what they
// name applied as it is now: each once, in the order of recording.GraphKinds, then of
// ids. Others at the same time take other rows. It returns how many it took; fewer than
// limit are all there are now.
//
// If apply fails, or the process dies before this has ended, nothing of it counts and the
// same is applied again. A row that apply refuses comes again later, and is a dead letter
// after some attempts.
func (c *Catalog) DrainGraph(ctx context.Context, limit int, apply func(context.Context, []recording.GraphRow) ([]recording.GraphRefusal, error)) (n int, err error) {
	var failed error // apply's own: it is not the database's
	err = c.inTx(ctx, func(tx pgx.Tx) error {
		// The graph has longer to answer than a client of the database may be silent.
		if _, err := tx.Exec(ctx, `SET LOCAL idle_in_transaction_session_timeout = '1min'`); err != nil {
			return err
		}
		claims, err := c.claimGraph(ctx, tx, limit)
		if err != nil || len(claims) == 0 {
			return err
		}
		refs := make([]recording.GraphRef, len(claims))
		for i, cl := range claims {
			refs[i] = cl.ref
		}
		rows, err := graphRowsOf(ctx, tx, refs)
		if err != nil {
			return err
		}
		refused, err := apply(ctx, rows)
		if err != nil {
			failed = err
			return err
		}
		failpoint.Hit("graph.ack")
		n = len(claims)
		return c.settleGraph(ctx, tx, claims, refused)
	})
	if failed != nil {
		err = failed
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (c *Catalog) claimGraph(ctx context.Context, tx pgx.Tx, limit int) ([]claim, error) {
	rows, err := tx.Query(ctx, `
		SELECT seq, kind, id, attempts FROM graph_outbox WHERE not_before <= $1
		ORDER BY seq LIMIT $2 FOR UPDATE SKIP LOCKED`, c.now(), limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (claim, error) {
		var cl claim
		err := row.Scan(&cl.seq, &cl.ref.Kind, &cl.ref.ID, &cl.attempts)
		return cl, err
	})
}

// settleGraph deletes the rows that were applied, and puts off or gives up those that were
// refused.
func (c *Catalog) settleGraph(ctx context.Context, tx pgx.Tx, claims []claim, refused []recording.GraphRefusal) error {
	reasons := map[recording.GraphRef]recording.GraphRefusal{}
	for _, r := range refused {
		reasons[r.Ref] = r
	}
	last := map[recording.GraphRef]claim{} // of those that were refused, one row stays
	var done []int64
	var applied []recording.GraphRef
	for _, cl := range claims {
		if _, ok := reasons[cl.ref]; !ok {
			done, applied = append(done, cl.seq), append(applied, cl.ref)
			continue
		}
		if was, ok := last[cl.ref]; ok {
			done = append(done, was.seq)
			cl.attempts = max(cl.attempts, was.attempts)
		}
		last[cl.ref] = cl
	}
	for ref, cl := range last {
		cl.attempts++
		if cl.attempts < graphAttempts {
			if _, err := tx.Exec(ctx, `UPDATE graph_outbox SET attempts = $2, not_before = $3 WHERE seq = $1`,
				cl.seq, cl.attempts, c.now().Add(graphPause<<(2*(cl.attempts-1)))); err != nil {
				return err
			}
			continue
		}
		done = append(done, cl.seq)
		if _, err := tx.Exec(ctx, `
			INSERT INTO graph_dead_letters (kind, id, version, reason, attempts, at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (kind, id) DO UPDATE SET version = $3, reason = $4, attempts = $5, at = $6`,
			ref.Kind, ref.ID, reasons[ref].Version, reasons[ref].Reason, cl.attempts, c.now()); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, `DELETE FROM graph_outbox WHERE seq = ANY($1)`, done); err != nil {
		return err
	}
	return c.reviveGraph(ctx, tx, applied)
}

// reviveGraph forgets dead letters of what the graph has taken since.
func (c *Catalog) reviveGraph(ctx context.Context, tx pgx.Tx, applied []recording.GraphRef) error {
	kinds, ids := make([]recording.GraphKind, len(applied)), make([]uuid.UUID, len(applied))
	for i, ref := range applied {
		kinds[i], ids[i] = ref.Kind, ref.ID
	}
	_, err := tx.Exec(ctx, `
		DELETE FROM graph_dead_letters WHERE (kind, id) IN (SELECT * FROM unnest($1::text[], $2::uuid[]))`, kinds, ids)
	return err
}
