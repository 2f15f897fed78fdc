package graphsync

import (
	"context"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"
)

// The statements of a purge. What looks like an old tombstone is locked before that is
// looked at again: it may be alive again by then. One that edges lead to is about to be,
// when the row that it is of is applied too. Both clocks have to say that it is old:
// before is Postgres' time, deletedAt Neo4j's.
const (
	oldTombstones = `
		MATCH (n:Projected) WHERE n.deletedAt < $before AND n.deletedAt < datetime() - duration({seconds: $seconds}) AND n.id > $after
		RETURN n.id AS id ORDER BY id LIMIT 1000`
	lockPresent = `UNWIND $ids AS id MATCH (n:Projected {id: id}) SET n.locked = true`
	deleteOld   = `
		UNWIND $ids AS id
		MATCH (n:Projected {id: id}) WHERE n.deletedAt < $before AND NOT (n)--()
		DELETE n
		RETURN id`
)

// purge deletes tombstones of before a time, and returns how many.
func (g *Graph) purge(ctx context.Context, before time.Time) (purged int, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	session := g.driver.NewSession(ctx, neo4j.SessionConfig{})
	defer session.Close(ctx)
	for after := ""; ; {
		var ids, deleted []string
		_, err := session.ExecuteWrite(ctx, func(tx neo4j.ManagedTransaction) (_ any, err error) {
			b := &batch{ctx, tx}
			params := map[string]any{"before": before.UTC(), "seconds": int64(tombstoneTime.Seconds()), "after": after}
			if ids, err = b.run(oldTombstones, params); err != nil || len(ids) == 0 {
				return nil, err
			}
			params["ids"] = ids
			if _, err = b.run(lockPresent, params); err != nil {
				return nil, err
			}
			if deleted, err = b.run(deleteOld, params); err != nil {
				return nil, err
			}
			_, err = b.run(unlockNodes, params)
			return nil, err
		})
		if err != nil || len(ids) == 0 {
			return purged, classify(err)
		}
		purged += len(deleted)
		after = ids[len(ids)-1]
	}
}
