package app

import (
	"reprise/api"
	"reprise/graphsync"
)

// openQuestions opens a graph for what users ask; nil if none is configured. Its
// connections are not those by which changes are written, which so wait for no question.
// While the graph is away only questions are answered with that.
func (s *server) openQuestions() (api.Graph, error) {
	if s.o.Config.Neo4jURL == "" {
		return nil, nil
	}
	graph, err := openGraph(s.o.Config.Neo4j)
	if err != nil {
		return nil, err
	}
	s.life.onStop("questions to the graph", graph.Close)
	questions := graphsync.NewQuestions(graph, s.o.Config.GraphTimeout)
	s.background("graph questions", questions.KeepWarm)
	return questions, nil
}
