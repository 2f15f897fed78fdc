package config

import (
	"net/url"
	"slices"
)

func (g *Graph) check(p *Problems) {
	g.Neo4j.check(p)
	positive(p, "REPRISE_GRAPH_TIMEOUT", g.GraphTimeout)
}

func (g *Neo4j) check(p *Problems) {
	secretFromFile(p, "REPRISE_NEO4J_PASSWORD", &g.Neo4jPassword, &g.Neo4jPasswordFile)
	if g.Neo4jURL == "" {
		return
	}
	schemes := []string{"bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc"}
	u, err := url.Parse(g.Neo4jURL) // its error would quote what may be a password
	switch {
	case err != nil || !slices.Contains(schemes, u.Scheme) || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		p.add("REPRISE_NEO4J_URL", "not bolt:// or neo4j://, perhaps with +s, and a host, such as bolt://127.0.0.1:7687")
	case u.User != nil:
		p.add("REPRISE_NEO4J_URL", "credentials don't belong into it: set REPRISE_NEO4J_USER and REPRISE_NEO4J_PASSWORD")
	}
	if g.Neo4jPassword == "" {
		p.require("REPRISE_NEO4J_PASSWORD", "needed with REPRISE_NEO4J_URL, or REPRISE_NEO4J_PASSWORD_FILE")
	}
}
