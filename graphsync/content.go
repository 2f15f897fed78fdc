package graphsync

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"reprise/recording"
)

// content is what one side has of a row, as text that can be compared.
type content struct {
	ref     recording.GraphRef // Kind is "" for a node that is nothing but an end of edges
	version int64
	// Labels are those besides Projected, sorted.
	Labels     []string
	Properties map[string]string // as JSON
	Edges      map[string]string // by type and end; their properties as JSON
}

// hash is that of everything but the version.
func (c content) hash() string {
	text, err := json.Marshal(c) // maps are sorted
	if err != nil {
		panic("graphsync: " + err.Error()) // there is nothing but text in it
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// wanted is what the graph should have of a row that is not deleted.
func wanted(row recording.GraphRow) content {
	c := content{ref: row.GraphRef, version: row.Version, Properties: map[string]string{}, Edges: map[string]string{}}
	labels, err := labelsOf(row)
	if err != nil { // the graph refuses such a row
		return c
	}
	c.Labels = strings.Split(labels, ":")
	slices.Sort(c.Labels)
	for name, value := range propertiesOf(row) {
		c.addProperty(name, value)
	}
	for _, e := range edgesOf(row) {
		c.addEdge(e.kind, e.from.String(), e.to.String(), e.properties)
	}
	return c
}

// addProperty adds a property of the node, but for those that say which it is.
func (c *content) addProperty(name string, value any) {
	if name != "id" && name != "version" {
		c.Properties[name] = text(value)
	}
}

func (c *content) addEdge(kind, from, to string, properties map[string]any) {
	key := fmt.Sprintf("%s %s->%s", kind, from, to)
	for c.Edges[key] != "" { // a second one, which there should not be
		key += " again"
	}
	c.Edges[key] = text(properties)
}

// text is a value as JSON. Both sides have a number or a time in one way.
func text(value any) string {
	if at, ok := value.(time.Time); ok {
		value = at.UTC().Format(time.RFC3339Nano)
	}
	out, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprintf("%T", value) // of a type that Reprise writes nowhere
	}
	return string(out)
}

const (
	nodesAfter = `MATCH (n:Projected) WHERE n.id > $after WITH n ORDER BY n.id LIMIT $limit ` + nodeContent
	nodesByID  = `UNWIND $ids AS id MATCH (n:Projected {id: id}) WITH n ORDER BY n.id ` + nodeContent

	nodeContent = `
		RETURN n.id AS id, labels(n) AS labels, properties(n) AS properties,
			[(a)-[r:TOLD|HAS]->(n) | [type(r), a.id, n.id, properties(r)]] +
			[(n)-[r:MENTIONS|ABOUT]->(b) | [type(r), n.id, b.id, properties(r)]] AS edges`
)

// found is what the graph has of a node.
type found struct {
	content
	tombstone bool
	bare      bool   // it has no version: nothing but an end of edges, so far
	stranger  string // its id, if that is none of ours; nothing else is known of it then
}

// name is its id, as the graph has it.
func (f found) name() string {
	if f.stranger != "" {
		return f.stranger
	}
	return f.ref.ID.String()
}

// nodes reads a page of the graph, in the order of ids.
func (g *Graph) nodes(ctx context.Context, after string, limit int) ([]found, error) {
	return g.readNodes(ctx, nodesAfter, map[string]any{"after": after, "limit": limit})
}

// nodesOf reads the nodes of these ids.
func (g *Graph) nodesOf(ctx context.Context, ids []string) ([]found, error) {
	return g.readNodes(ctx, nodesByID, map[string]any{"ids": ids})
}

func (g *Graph) readNodes(ctx context.Context, statement string, params map[string]any) ([]found, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	session := g.driver.NewSession(ctx, neo4j.SessionConfig{AccessMode: neo4j.AccessModeRead})
	defer session.Close(ctx)
	list, err := session.ExecuteRead(ctx, func(tx neo4j.ManagedTransaction) (any, error) {
		result, err := tx.Run(ctx, statement, params)
		if err != nil {
			return nil, err
		}
		var list []found
		for result.Next(ctx) {
			list = append(list, readNode(result.Record().AsMap()))
		}
		return list, result.Err()
	}, neo4j.WithTxTimeout(readTime))
	if err != nil {
		return nil, classify(err)
	}
	return list.([]found), nil
}

// readTime bounds the reading of a page.
const readTime = time.Minute

func readNode(row map[string]any) found {
	properties, _ := row["properties"].(map[string]any)
	name := fmt.Sprint(row["id"])
	id, err := uuid.Parse(name)
	if err != nil || id.String() != name {
		return found{stranger: name}
	}
	f := found{content: content{Properties: map[string]string{}, Edges: map[string]string{}}}
	f.ref.ID = id
	version, hasVersion := properties["version"].(int64)
	f.version, f.bare = version, !hasVersion
	_, f.tombstone = properties["deletedAt"]
	for _, label := range row["labels"].([]any) {
		if name, _ := label.(string); name != "Projected" {
			f.Labels = append(f.Labels, name)
		}
	}
	slices.Sort(f.Labels)
	for _, kind := range recording.GraphKinds() {
		if slices.ContainsFunc(f.Labels, func(l string) bool { return strings.EqualFold(l, string(kind)) }) {
			f.ref.Kind = kind
		}
	}
	for name, value := range properties {
		f.addProperty(name, value)
	}
	for _, e := range row["edges"].([]any) {
		fields := e.([]any)
		properties, _ := fields[3].(map[string]any)
		f.addEdge(fmt.Sprint(fields[0]), fmt.Sprint(fields[1]), fmt.Sprint(fields[2]), properties)
	}
	return f
}

// differences says in what two contents differ, in words that hold nothing of a user's.
func differences(want, has content) []finding {
	var list []finding
	switch {
	case has.version < want.version:
		list = append(list, finding{OldVersion, ""})
	case has.version > want.version:
		list = append(list, finding{NewVersion, ""})
	}
	if !slices.Equal(want.Labels, has.Labels) {
		list = append(list, finding{ChangedLabels, strings.Join(has.Labels, ", ")})
	}
	for _, name := range changedKeys(want.Properties, has.Properties) {
		list = append(list, finding{ChangedProperty, name})
	}
	for _, key := range changedKeys(want.Edges, has.Edges) {
		kind := ChangedEdge
		if _, ok := has.Edges[key]; !ok {
			kind = MissingEdge
		} else if _, ok := want.Edges[key]; !ok {
			kind = ExtraEdge
		}
		list = append(list, finding{kind, key})
	}
	return list
}

// changedKeys returns the keys whose values differ, sorted.
func changedKeys(a, b map[string]string) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(key string) bool {
		va, oka := a[key]
		vb, okb := b[key]
		return oka == okb && va == vb
	})
}
