package graphsync

import (
	"bytes"
	"context"

	"github.com/google/uuid"

	"reprise/recording"
)

// rowStream goes through the rows of all kinds in the order of ids.
type rowStream struct {
	kinds []*kindStream
	first *kindStream // whose row is next; nil if that is not known yet
}

// kindStream goes through the rows of one kind.
type kindStream struct {
	source Source
	kind   recording.GraphKind
	after  uuid.UUID
	page   []recording.GraphRow
	ended  bool
}

func newRowStream(source Source) *rowStream {
	s := &rowStream{}
	for _, kind := range recording.GraphKinds() {
		s.kinds = append(s.kinds, &kindStream{source: source, kind: kind})
	}
	return s
}

// peek returns the next row, nil at the end.
func (s *rowStream) peek(ctx context.Context) (*recording.GraphRow, error) {
	if s.first != nil {
		return &s.first.page[0], nil
	}
	for _, k := range s.kinds {
		if err := k.fill(ctx); err != nil {
			return nil, err
		}
		if len(k.page) > 0 && (s.first == nil || bytes.Compare(k.page[0].ID[:], s.first.page[0].ID[:]) < 0) {
			s.first = k
		}
	}
	if s.first == nil {
		return nil, nil
	}
	return &s.first.page[0], nil
}

// next goes on behind what peek has returned.
func (s *rowStream) next() {
	s.first.page = s.first.page[1:]
	s.first = nil
}

// fill reads the next page when the last one is used up.
func (k *kindStream) fill(ctx context.Context) (err error) {
	if len(k.page) > 0 || k.ended {
		return nil
	}
	if k.page, err = k.source.GraphRows(ctx, k.kind, k.after, pageRows); err != nil {
		return err
	}
	k.ended = len(k.page) < pageRows
	if len(k.page) > 0 {
		k.after = k.page[len(k.page)-1].ID
	}
	return nil
}

// nodeStream goes through the nodes of the graph in the order of ids.
type nodeStream struct {
	graph *Graph
	after string
	page  []found
	ended bool
}

// peek returns the next node, nil at the end.
func (s *nodeStream) peek(ctx context.Context) (node *found, err error) {
	if len(s.page) == 0 && !s.ended {
		if s.page, err = s.graph.nodes(ctx, s.after, pageRows); err != nil {
			return nil, err
		}
		s.ended = len(s.page) < pageRows
		if len(s.page) > 0 {
			s.after = s.page[len(s.page)-1].name()
		}
	}
	if len(s.page) == 0 {
		return nil, nil
	}
	return &s.page[0], nil
}

// next goes on behind what peek has returned.
func (s *nodeStream) next() { s.page = s.page[1:] }
