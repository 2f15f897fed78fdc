package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// showBacklog shows recordings in the graph that were ready before there was one, a
// bounded number of one owner in each transaction: it can be interrupted.
func showBacklog(ctx context.Context, db interface {
	Begin(context.Context) (pgx.Tx, error)
}) error {
	for more := true; more; {
		err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) (err error) {
			more, err = showSome(ctx, tx)
			return err
		})
		if err != nil {
			return fmt.Errorf("write what recordings mention: %w", err)
		}
	}
	return nil
}

func showSome(ctx context.Context, tx pgx.Tx) (more bool, err error) {
	ids, err := queryIDs(ctx, tx, `DELETE FROM graph_backlog WHERE (owner_id, recording_id) IN (
		SELECT owner_id, recording_id FROM graph_backlog WHERE owner_id = (SELECT owner_id FROM graph_backlog ORDER BY owner_id LIMIT 1)
		ORDER BY recording_id LIMIT 200) RETURNING recording_id`)
	if err != nil || len(ids) == 0 {
		return false, err
	}
	// All recordings before the graph: the order of locks.
	list, err := queryRecordings(ctx, tx, `SELECT `+recordingColumns+` FROM recordings r WHERE r.id = ANY($1) AND r.state = 'ready' ORDER BY r.id FOR UPDATE`, ids)
	if err != nil {
		return false, err
	}
	if len(list) == 0 {
		return true, nil
	}
	owner, now := list[0].OwnerID, time.Now()
	if err := lockGraph(ctx, tx, owner); err != nil {
		return false, err
	}
	keys, err := queryIDs(ctx, tx, `
		SELECT DISTINCT s.key FROM recordings r JOIN stories s ON s.owner_id = r.owner_id AND s.id = r.story_id WHERE r.id = ANY($1)`, ids)
	if err != nil {
		return false, err
	}
	refs := graphRefs(recording.GraphStory, keys...)
	for _, r := range list {
		a, err := optional(readAnalysis(ctx, tx, owner, r.ID))
		if err != nil {
			return false, err
		}
		if a == nil {
			a = &recording.Analysis{}
		}
		changed, err := putMentions(ctx, tx, owner, r.ID, a, now)
		if err != nil {
			return false, err
		}
		refs = append(refs, changed...)
	}
	return true, touchGraph(ctx, tx, owner, now, refs...)
}
