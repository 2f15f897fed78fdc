package app

import (
	"reprise/api"
	"reprise/graphsync"
)

// openQuestions opens a graph for what users ask; nil if none is configured. Its
// connections are not those by which changes are written, which so wait for no question.
// Nothing is asked yet: while the graph is away only questions are answered with that.
func (s *server) openQuestions() (api.Graph, error) {
	cfg := s.o.Config.Graph
	if cfg.Neo4jURL == "" {
		return nil, nil
	}
	graph, err := graphsync.Open(graphsync.Options{URL: cfg.Neo4jURL, User: cfg.Neo4jUser, Password: string(cfg.Neo4jPassword)})
	if err != nil {
		return nil, err
	}
	s.life.onStop("questions to the graph", graph.Close)
	return graphsync.NewQuestions(graph), nil
}
