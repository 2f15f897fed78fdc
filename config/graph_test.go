package config_test

import (
	"strings"
	"testing"
)

func TestGraph(t *testing.T) {
	t.Parallel()
	cfg, err := load(t, needed("REPRISE_NEO4J_URL=neo4j+s://graph.example.com", "REPRISE_NEO4J_PASSWORD_FILE="+writeFile(t, "s3cret\n")))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Neo4jUser != "neo4j" || string(cfg.Neo4jPassword) != "s3cret" {
		t.Errorf("%+v", cfg.Graph)
	}
	for want, settings := range map[string][]string{
		"REPRISE_NEO4J_PASSWORD: needed with REPRISE_NEO4J_URL":           {"REPRISE_NEO4J_URL=bolt://127.0.0.1:7687"},
		"REPRISE_NEO4J_URL: not bolt:// or neo4j://":                      {"REPRISE_NEO4J_URL=http://127.0.0.1:7474", "REPRISE_NEO4J_PASSWORD=x"},
		"REPRISE_NEO4J_URL: not bolt:// or neo4j://, perhaps":             {"REPRISE_NEO4J_URL=bolt://", "REPRISE_NEO4J_PASSWORD=x"},
		"REPRISE_NEO4J_URL: credentials don't belong into it: set REPRIS": {"REPRISE_NEO4J_URL=bolt://u:hunter2@a.example", "REPRISE_NEO4J_PASSWORD=x"},
	} {
		_, err := load(t, needed(settings...))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2@") {
			t.Errorf("%v: %v, want %q", settings, err, want)
		}
	}
	if err := (&cfg).CheckGraph(); err != nil {
		t.Error(err)
	}
	cfg.Neo4jURL = ""
	if err := (&cfg).CheckGraph(); err == nil || !strings.Contains(err.Error(), "REPRISE_NEO4J_URL: needed") {
		t.Errorf("without a URL: %v", err)
	}
}
