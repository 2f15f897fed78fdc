package graphsync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

const (
	pageRows = 500
	// settleTime is how long it is waited for what may be on its way to arrive.
	settleTime  = 30 * time.Second
	settlePause = 200 * time.Millisecond
	// looks is how often a row is looked at that has changed since the last look.
	looks = 5
)

// Source is what comparing and rebuilding ask of Postgres; package catalog says what the
// methods promise.
type Source interface {
	GraphRows(ctx context.Context, kind recording.GraphKind, after uuid.UUID, limit int) ([]recording.GraphRow, error)
	GraphRowsOf(ctx context.Context, refs []recording.GraphRef) ([]recording.GraphRow, error)
	GraphWaits(ctx context.Context, then time.Time) (bool, error)
}

// VerifyOptions say what to compare, and whether to mend it.
type VerifyOptions struct {
	Graph  *Graph
	Source Source
	Report Report
	Repair bool
	// SettleTime is how long it is waited for what may be on its way; 0 means half a
	// minute.
	SettleTime time.Duration
}

// Verify compares the graph with Postgres, in the order of ids: every row with its node,
// its properties and its edges, as they are read from each side. Servers may run
// meanwhile. What it reports was so at two looks, between which Postgres said the same
// and what waited then was applied, or could not be in time.
//
// With Repair it has the graph show what Postgres has. Its memory doesn't grow with what
// it compares.
func Verify(ctx context.Context, o VerifyOptions) (s Summary, err error) {
	if o.SettleTime == 0 {
		o.SettleTime = settleTime
	}
	v := &verifier{VerifyOptions: o, sum: Summary{StartedAt: time.Now()}}
	err = v.run(ctx)
	v.sum.Complete = err == nil
	v.sum.Took = time.Since(v.sum.StartedAt)
	return v.sum, errors.Join(err, o.Report.Done(v.sum))
}

type verifier struct {
	VerifyOptions
	sum      Summary
	suspects []uuid.UUID
	stalled  bool // what waits is not applied: nobody waits for it again
}

// run walks both sides at once.
func (v *verifier) run(ctx context.Context) error {
	rows, nodes := newRowStream(v.Source), &nodeStream{graph: v.Graph}
	for {
		row, err := rows.peek(ctx)
		if err != nil {
			return err
		}
		node, err := nodes.peek(ctx)
		if err != nil {
			return err
		}
		if row == nil && node == nil {
			break
		}
		switch order := compareIDs(row, node); {
		case node != nil && node.stranger != "":
			if err := v.tellStranger(ctx, node.stranger); err != nil {
				return err
			}
			nodes.next()
			v.sum.Nodes++
		case order < 0:
			v.suspects = append(v.suspects, row.ID)
			rows.next()
			v.sum.Rows++
		case order > 0:
			if !node.tombstone {
				v.suspects = append(v.suspects, node.ref.ID)
				v.sum.Nodes++
			}
			nodes.next()
		default:
			want := wanted(*row)
			if node.tombstone || want.version != node.version || want.hash() != node.hash() {
				v.suspects = append(v.suspects, row.ID)
			}
			rows.next()
			nodes.next()
			v.sum.Rows++
			v.sum.Nodes++
		}
		if len(v.suspects) >= pageRows {
			if err := v.confirm(ctx); err != nil {
				return err
			}
		}
	}
	return v.confirm(ctx)
}

// compareIDs is the order of what comes next on the two sides; nil is behind everything.
func compareIDs(row *recording.GraphRow, node *found) int {
	switch {
	case node == nil:
		return -1
	case row == nil:
		return 1
	}
	return bytes.Compare(row.ID[:], node.ref.ID[:])
}

// A pair is what the two sides have of an id.
type pair struct {
	id   uuid.UUID
	row  recording.GraphRow // Deleted if Postgres has nothing to show; Version 0 if it never had
	node *found             // nil if the graph has nothing, not even a tombstone
}

// equal reports whether the graph shows what it should.
func (p pair) equal() bool { return len(p.findings()) == 0 }

func (p pair) findings() []finding {
	shown := p.node != nil && !p.node.tombstone
	switch {
	case p.row.Deleted && !shown:
		return nil
	case p.row.Deleted:
		return []finding{{ExtraNode, ""}}
	case !shown || p.node.bare:
		return []finding{{MissingNode, ""}}
	}
	return differences(wanted(p.row), p.node.content)
}

// confirm looks again at what seemed to differ, until Postgres says the same twice, and
// reports and repairs what does.
func (v *verifier) confirm(ctx context.Context) error {
	suspects := v.suspects
	v.suspects = nil
	before := map[uuid.UUID]int64{} // versions at the last look
	for look := range looks {
		if len(suspects) == 0 {
			return nil
		}
		read := time.Now()
		pairs, err := v.look(ctx, suspects)
		if err != nil {
			return err
		}
		suspects = nil
		var sure []pair
		for _, p := range pairs {
			version, seen := before[p.id]
			switch {
			case p.equal():
			case seen && version == p.row.Version:
				sure = append(sure, p)
			default:
				before[p.id] = p.row.Version
				suspects = append(suspects, p.id)
			}
		}
		if err := v.tell(ctx, read, sure); err != nil {
			return err
		}
		if len(suspects) > 0 && look < looks-1 {
			if err := v.settle(ctx); err != nil {
				return err
			}
		}
	}
	v.sum.Unsettled += len(suspects)
	return nil
}

// settle waits until all that waits now has been applied, for a while. If that was in vain
// it is the last time: there is nobody who applies it, or far too much of it.
func (v *verifier) settle(ctx context.Context) error {
	if v.stalled {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, v.SettleTime)
	defer cancel()
	now := time.Now()
	for {
		waits, err := v.Source.GraphWaits(ctx, now)
		switch {
		case err == nil && !waits:
			return nil
		case err != nil && ctx.Err() == nil:
			return err
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			v.stalled = true
			return nil // it is reported as it is
		case <-time.After(settlePause):
		}
	}
}

// look reads what both sides have of some ids: Postgres first, so that what the graph
// has is not older.
func (v *verifier) look(ctx context.Context, ids []uuid.UUID) ([]pair, error) {
	var refs []recording.GraphRef
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id.String()
		for _, kind := range recording.GraphKinds() { // whichever it is of: the others never were
			refs = append(refs, recording.GraphRef{Kind: kind, ID: id})
		}
	}
	rows, err := v.Source.GraphRowsOf(ctx, refs)
	if err != nil {
		return nil, err
	}
	nodes, err := v.Graph.nodesOf(ctx, names)
	if err != nil {
		return nil, err
	}
	pairs := map[uuid.UUID]*pair{}
	for _, row := range rows {
		// Of the kinds one is shown, or was.
		if p := pairs[row.ID]; p == nil || !row.Deleted || p.row.Deleted && row.Version > p.row.Version {
			pairs[row.ID] = &pair{id: row.ID, row: row}
		}
	}
	for _, node := range nodes {
		if p := pairs[node.ref.ID]; p != nil {
			p.node = &node
		}
	}
	list := make([]pair, 0, len(ids))
	for _, id := range ids {
		if p := pairs[id]; p != nil {
			list = append(list, *p)
		}
	}
	return list, nil
}

// tell reports differences, after repairing them if that is wanted.
func (v *verifier) tell(ctx context.Context, read time.Time, pairs []pair) error {
	repaired := map[uuid.UUID]bool{}
	if v.Repair && len(pairs) > 0 {
		var err error
		if repaired, err = v.repair(ctx, read, pairs); err != nil {
			return err
		}
	}
	for _, p := range pairs {
		d := Difference{Of: p.row.Kind, ID: p.id, Version: p.row.Version, Repaired: repaired[p.id]}
		if !p.row.Deleted {
			d.Hash = wanted(p.row).hash()
		}
		if p.node != nil {
			d.Graph, d.Has = p.node.version, p.node.hash()
			if p.row.Deleted {
				d.Of = p.node.ref.Kind
			}
		}
		for _, f := range p.findings() {
			d.Kind, d.Detail = f.kind, f.detail
			v.sum.Differences++
			if d.Repaired {
				v.sum.Repaired++
			}
			if err := v.Report.Difference(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// repair writes what Postgres has over what the graph was seen to have, and returns for
// which ids both are equal then.
func (v *verifier) repair(ctx context.Context, read time.Time, pairs []pair) (map[uuid.UUID]bool, error) {
	var changes []change
	var unknown []map[string]any
	ids := make([]uuid.UUID, len(pairs))
	for i, p := range pairs {
		ids[i] = p.id
		seen := int64(-1)
		if p.node != nil && !p.node.bare {
			seen = p.node.version
		}
		if p.row.Deleted && p.row.Version == 0 {
			unknown = append(unknown, map[string]any{"id": p.id.String(), "seen": seen})
			continue
		}
		changes = append(changes, change{p.row, max(p.row.Version, seen)})
	}
	if len(unknown) > 0 {
		if _, err := v.Graph.run(ctx, removeNodes, map[string]any{"nodes": unknown}); err != nil {
			return nil, classify(err)
		}
	}
	if _, err := v.Graph.apply(ctx, read, changes); err != nil {
		return nil, err
	}
	after, err := v.look(ctx, ids)
	if err != nil {
		return nil, err
	}
	equal := map[uuid.UUID]bool{}
	for _, p := range after {
		equal[p.id] = p.equal()
	}
	return equal, nil
}

// removeNodes removes what Postgres never had, unless it has become something else since.
const removeNodes = `
	UNWIND $nodes AS node
	MATCH (n:Projected {id: node.id}) WHERE coalesce(n.version, -1) = node.seen
	DETACH DELETE n`

// tellStranger reports a node with an id that none of ours can have, and removes it if
// that is wanted.
func (v *verifier) tellStranger(ctx context.Context, id string) error {
	d := Difference{Kind: ExtraNode, Detail: fmt.Sprintf("its id is %.100q", id)}
	if v.Repair {
		if _, err := v.Graph.run(ctx, removeStranger, map[string]any{"id": id}); err != nil {
			return classify(err)
		}
		d.Repaired = true
		v.sum.Repaired++
	}
	v.sum.Differences++
	return v.Report.Difference(d)
}

const removeStranger = `MATCH (n:Projected {id: $id}) DETACH DELETE n`
