package graphsync

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

const (
	// Of the edges all but TOLD: that everything is told by its owner connects nothing.
	nodeOf = `{key: n.id, id: CASE WHEN n:Story THEN n.storyId ELSE n.id END, kind: ` + kindOf + `, name: coalesce(n.title, n.name), at: n.at}`
	edgeOf = `{from: startNode(e).id, to: endNode(e).id, kind: toLower(type(e)), count: coalesce(e.count, 0), weight: coalesce(e.weight, 0.0)}`

	oneNode = `
		MATCH (n:Projected {id: $id}) WHERE n.ownerId = $owner AND (n:Recording OR n:Entity)
		RETURN ` + nodeOf + ` AS node`

	shortest = `
		MATCH (a:Projected {id: $from}) WHERE a.ownerId = $owner
		MATCH (b:Projected {id: $to}) WHERE b.ownerId = $owner
		MATCH p = shortestPath((a)-[:HAS|MENTIONS|ABOUT*..6]-(b)) WHERE all(n IN nodes(p) WHERE n.ownerId = $owner)
		RETURN [n IN nodes(p) | ` + nodeOf + `] AS nodes, [e IN relationships(p) | ` + edgeOf + `] AS edges`

	// What is next to a node: of recordings the newest first.
	firstRing = `
		MATCH (c:Projected {id: $id}) WHERE c.ownerId = $owner
		MATCH (c)-[:HAS|MENTIONS|ABOUT]-(n) WHERE n.ownerId = $owner
		WITH n ORDER BY n.at DESC, n.id LIMIT $limit
		RETURN ` + nodeOf + ` AS node ORDER BY n.at DESC, n.id`

	// What is next to those: what most of them are connected to first.
	secondRing = `
		UNWIND $ring AS id
		MATCH (c:Projected {id: id}) WHERE c.ownerId = $owner
		CALL (c) {
			MATCH (c)-[:HAS|MENTIONS|ABOUT]-(n) WHERE n.ownerId = $owner AND NOT n.id IN $known
			RETURN n ORDER BY n.at DESC, n.id LIMIT $limit
		}
		WITH n, count(*) AS ways ORDER BY ways DESC, n.id LIMIT $limit
		RETURN ` + nodeOf + ` AS node ORDER BY ways DESC, n.id`

	// Every edge has a recording at one end, which has few: what else is there may have
	// very many.
	edgesBetween = `
		UNWIND $known AS id
		MATCH (r:Projected {id: id}) WHERE r:Recording AND r.ownerId = $owner
		MATCH (r)-[e:HAS|MENTIONS|ABOUT]-(n) WHERE n.ownerId = $owner AND n.id IN $known
		RETURN ` + edgeOf + ` AS edge ORDER BY edge.from, edge.to, edge.kind`
)

// node is a node as statements return it.
type node struct {
	Key  string // its id in the graph
	ID   uuid.UUID
	Kind string
	Name string
	At   time.Time
}

// link is an edge as statements return it.
type link struct {
	From, To string
	Kind     string
	Count    int
	Weight   float64
}

// find returns a recording or an entity of the owner's.
func (a *asker) find(id uuid.UUID) (node, error) {
	rows, err := read[struct{ Node node }](a, oneNode, map[string]any{"id": id.String()})
	switch {
	case err != nil:
		return node{}, err
	case len(rows) == 0:
		return node{}, recording.ErrNotFound
	}
	return rows[0].Node, nil
}

// Path returns a shortest way between two recordings or entities of at most six edges, in
// its order; nothing if there is none.
func (q *Questions) Path(ctx context.Context, owner, from, to uuid.UUID) (recording.Subgraph, error) {
	return ask(ctx, q, owner, func(a *asker) (recording.Subgraph, error) {
		first, err := a.find(from)
		if err == nil {
			_, err = a.find(to)
		}
		switch {
		case err != nil:
			return recording.Subgraph{}, err
		case from == to: // which shortestPath refuses
			return subgraph([]node{first}, nil), nil
		}
		paths, err := read[struct {
			Nodes []node
			Edges []link
		}](a, shortest, map[string]any{"from": from.String(), "to": to.String()})
		if err != nil || len(paths) == 0 {
			return subgraph(nil, nil), err
		}
		return subgraph(paths[0].Nodes, paths[0].Edges), nil
	})
}

// Neighborhood returns a recording or an entity, which is the first node, and what is at
// most depth (1 or 2) edges away: at most limit nodes, the nearest first, and all edges
// between them.
func (q *Questions) Neighborhood(ctx context.Context, owner, of uuid.UUID, depth, limit int) (recording.Subgraph, error) {
	return ask(ctx, q, owner, func(a *asker) (recording.Subgraph, error) {
		center, err := a.find(of)
		if err != nil {
			return recording.Subgraph{}, err
		}
		nodes, complete := []node{center}, true
		rings := []string{firstRing, secondRing}
		for _, ring := range rings[:depth] {
			if len(nodes) == 1 && ring == secondRing {
				break
			}
			known := keys(nodes)
			room := limit - len(nodes)
			found, err := read[struct{ Node node }](a, ring, map[string]any{
				"id": center.Key, "ring": known[1:], "known": known, "limit": room + 1,
			})
			if err != nil {
				return recording.Subgraph{}, err
			}
			found, more := onePage(found, room)
			for _, f := range found {
				nodes = append(nodes, f.Node)
			}
			if more {
				complete = false
				break
			}
		}
		edges, err := read[struct{ Edge link }](a, edgesBetween, map[string]any{"known": keys(nodes)})
		if err != nil {
			return recording.Subgraph{}, err
		}
		links := make([]link, len(edges))
		for i, e := range edges {
			links[i] = e.Edge
		}
		g := subgraph(nodes, links)
		g.Complete = complete
		return g, nil
	})
}

func keys(nodes []node) []string {
	list := make([]string, len(nodes))
	for i, n := range nodes {
		list[i] = n.Key
	}
	return list
}

// subgraph names the ends of edges by their numbers.
func subgraph(nodes []node, links []link) recording.Subgraph {
	g := recording.Subgraph{Nodes: []recording.GraphNode{}, Edges: []recording.GraphEdge{}, Complete: true}
	for _, n := range nodes {
		g.Nodes = append(g.Nodes, recording.GraphNode{ID: n.ID, Kind: n.Kind, Name: n.Name, At: n.At})
	}
	known := keys(nodes)
	for _, l := range links {
		g.Edges = append(g.Edges, recording.GraphEdge{
			From: slices.Index(known, l.From), To: slices.Index(known, l.To), Kind: l.Kind, Count: l.Count, Weight: l.Weight,
		})
	}
	return g
}
