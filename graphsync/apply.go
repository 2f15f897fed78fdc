package graphsync

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"reprise/recording"
)

// batchTime bounds how old what was read from Postgres may be when it is written. It is
// far below tombstoneTime, for which something older may still be on its way.
const batchTime = 15 * time.Second

// The statements of a batch, in their order. Every node that a batch writes or leads an
// edge to is locked first, in the order of ids, so that the versions which are then read
// stay until the batch ends, and so that two batches wait for each other instead of
// deadlocking. (A version read in the statement that takes the lock may be of before.)
const (
	lockNodes = `UNWIND $ids AS id MERGE (n:Projected {id: id}) SET n.locked = true`

	replaceNodes = `
		UNWIND $rows AS row
		MATCH (n:Projected {id: row.id}) WHERE coalesce(n.version, -1) <= row.over
		REMOVE n:User:Story:Recording:Entity:Person:Place:Organization:Date:Topic
		SET n = row.properties`
	returnIDs = `
		RETURN row.id AS id`

	buryNodes = `
		UNWIND $rows AS row
		MATCH (n:Projected {id: row.id}) WHERE coalesce(n.version, -1) <= row.over
		REMOVE n:User:Story:Recording:Entity:Person:Place:Organization:Date:Topic
		SET n = {id: row.id, version: row.version, deletedAt: datetime()}
		RETURN row.id AS id`

	clearEdges = `
		UNWIND $ids AS id
		MATCH (n:Projected {id: id})
		CALL (n) { MATCH ()-[r:TOLD|HAS]->(n) DELETE r }
		CALL (n) { MATCH (n)-[r:MENTIONS|ABOUT]->() DELETE r }`

	unlockNodes = `UNWIND $ids AS id MATCH (n:Projected {id: id}) WHERE n.locked REMOVE n.locked`
)

// writeEdges returns the statement that writes edges of a type, one of the constants.
func writeEdges(kind string) string {
	return `
		UNWIND $edges AS edge
		MATCH (a:Projected {id: edge.from})
		MATCH (b:Projected {id: edge.to})
		CREATE (a)-[r:` + kind + `]->(b) SET r = edge.properties`
}

// A change is a row, and the highest version of a node that it may replace.
type change struct {
	recording.GraphRow
	over int64
}

// Apply writes rows into the graph, in one transaction unless one of them can't be
// written, or takes longer than batchTime although it is alone. Those are returned. A row
// that is older than what the graph has changes nothing, and nor does one of the same
// version. Read is when, at the earliest, they were read. An error says that the graph can't be reached; what of the rows it has by then
// is not known, and they may be applied again.
func (g *Graph) Apply(ctx context.Context, read time.Time, rows []recording.GraphRow) ([]recording.GraphRefusal, error) {
	changes := make([]change, len(rows))
	for i, row := range rows {
		changes[i] = change{row, row.Version - 1}
	}
	return g.apply(ctx, read, changes)
}

func (g *Graph) apply(ctx context.Context, read time.Time, changes []change) ([]recording.GraphRefusal, error) {
	inTime, cancel := context.WithDeadline(ctx, read.Add(batchTime))
	defer cancel()
	b, refused := newBatch(changes)
	more, err := g.bisect(inTime, b)
	if err != nil && len(b) == 1 && inTime.Err() != nil && g.Ping(ctx) == nil {
		// The server is well and had nothing else to do: it is the row.
		more, err = []recording.GraphRefusal{refuse(b[0], "not written in "+batchTime.String())}, nil
	}
	return append(refused, more...), classify(err)
}

func refuse(c change, reason string) recording.GraphRefusal {
	return recording.GraphRefusal{Ref: c.GraphRef, Version: c.Version, Reason: reason}
}

// bisect writes a batch, or all of it but what can't be written.
func (g *Graph) bisect(ctx context.Context, changes []change) ([]recording.GraphRefusal, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	err := g.write(ctx, changes)
	if err == nil {
		return nil, nil
	}
	reason := refusal(err)
	switch {
	case reason == "" || ctx.Err() != nil:
		return nil, err
	case len(changes) == 1:
		return []recording.GraphRefusal{refuse(changes[0], reason)}, nil
	}
	first, err := g.bisect(ctx, changes[:len(changes)/2])
	if err != nil {
		return nil, err
	}
	second, err := g.bisect(ctx, changes[len(changes)/2:])
	return append(first, second...), err
}

// newBatch returns the newest change of each row, and refuses what is none.
func newBatch(changes []change) ([]change, []recording.GraphRefusal) {
	newest := map[uuid.UUID]change{}
	var refused []recording.GraphRefusal
	for _, c := range changes {
		if _, err := labelsOf(c.GraphRow); err != nil && !c.Deleted {
			refused = append(refused, refuse(c, err.Error()))
			continue
		}
		if was, ok := newest[c.ID]; !ok || was.Version < c.Version {
			newest[c.ID] = c
		}
	}
	return slices.Collect(maps.Values(newest)), refused
}

// write writes changes in one transaction. There is at most one of each node.
func (g *Graph) write(ctx context.Context, changes []change) error {
	session := g.driver.NewSession(ctx, neo4j.SessionConfig{AccessMode: neo4j.AccessModeWrite})
	defer session.Close(ctx)
	_, err := session.ExecuteWrite(ctx, func(tx neo4j.ManagedTransaction) (any, error) {
		return nil, (&batch{ctx, tx}).write(changes)
	}, neo4j.WithTxTimeout(batchTime))
	return err
}

// A batch is a transaction of one call.
type batch struct {
	ctx context.Context
	tx  neo4j.ManagedTransaction
}

func (b *batch) write(changes []change) error {
	edges := map[string][]edge{} // by the row that writes them
	nodes := map[string]bool{}
	for _, c := range changes {
		id := c.ID.String()
		nodes[id], edges[id] = true, edgesOf(c.GraphRow)
		for _, e := range edges[id] {
			nodes[e.from.String()], nodes[e.to.String()] = true, true
		}
	}
	ids := slices.Sorted(maps.Keys(nodes))
	if _, err := b.run(lockNodes, map[string]any{"ids": ids}); err != nil {
		return err
	}
	written, err := b.writeNodes(changes)
	if err != nil {
		return err
	}
	if err := b.writeEdges(written, edges); err != nil {
		return err
	}
	_, err = b.run(unlockNodes, map[string]any{"ids": ids})
	return err
}

// writeNodes writes the nodes that are older than their rows, and returns their ids.
func (b *batch) writeNodes(changes []change) (written []string, err error) {
	statements := map[string][]map[string]any{}
	for _, c := range changes {
		row := map[string]any{"id": c.ID.String(), "version": c.Version, "over": c.over}
		statement := buryNodes
		if !c.Deleted {
			labels, _ := labelsOf(c.GraphRow) // newBatch has seen that there are some
			statement = replaceNodes + ", n:" + labels + returnIDs
			row["properties"] = propertiesOf(c.GraphRow)
		}
		statements[statement] = append(statements[statement], row)
	}
	for statement, rows := range statements {
		ids, err := b.run(statement, map[string]any{"rows": rows})
		if err != nil {
			return nil, err
		}
		written = append(written, ids...)
	}
	return written, nil
}

// writeEdges has the written nodes have the edges of their rows, and no other.
func (b *batch) writeEdges(written []string, edges map[string][]edge) error {
	if _, err := b.run(clearEdges, map[string]any{"ids": written}); err != nil {
		return err
	}
	byType := map[string][]map[string]any{}
	for _, id := range written {
		for _, e := range edges[id] {
			byType[e.kind] = append(byType[e.kind], map[string]any{"from": e.from.String(), "to": e.to.String(), "properties": e.properties})
		}
	}
	for kind, list := range byType {
		if _, err := b.run(writeEdges(kind), map[string]any{"edges": list}); err != nil {
			return err
		}
	}
	return nil
}

// run runs a statement and returns the ids that it returns, if it does.
func (b *batch) run(statement string, params map[string]any) (ids []string, err error) {
	result, err := b.tx.Run(b.ctx, statement, params)
	if err != nil {
		return nil, err
	}
	for result.Next(b.ctx) {
		id, _, err := neo4j.GetRecordValue[string](result.Record(), "id")
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, result.Err()
}
