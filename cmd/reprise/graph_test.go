package main

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestGraph(t *testing.T) {
	t.Parallel()
	environ := []string{"REPRISE_DATABASE_URL=postgres://u:hunter2@db/reprise", "REPRISE_NEO4J_URL=bolt://graph:7687", "REPRISE_NEO4J_PASSWORD=hunter2"}
	for _, args := range []string{"rebuild --restart --json", "verify --repair --json", "rebuild"} {
		var c calls
		code, stdout, stderr := reprise(t.Context(), &c, environ, strings.Fields("graph "+args)...)
		if code != 0 || stdout != "" || stderr != "" {
			t.Fatalf("%s: exit code %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
		o, flags := c.graph, strings.Contains(args, "--")
		if o.Config.Neo4jURL != "bolt://graph:7687" || o.Config.Neo4jUser != "neo4j" || o.Config.Neo4jPassword != "hunter2" ||
			o.Config.DatabaseURL != "postgres://u:hunter2@db/reprise" || o.JSON != flags || c.flagged != flags {
			t.Errorf("%s: options are %+v", args, o)
		}
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx     context.Context
		calls   calls
		environ []string
		args    string
		want    int
		stderr  string
	}{
		"differences":         {calls: calls{found: 3}, environ: environ, args: "verify", want: 1},
		"verify fails":        {calls: calls{err: errors.New("no"), found: 3}, environ: environ, args: "verify", want: 2, stderr: "reprise: no\n"},
		"verify, interrupted": {ctx: stopped, calls: calls{err: context.Canceled}, environ: environ, args: "verify", want: 130},
		"verify, no graph":    {environ: environ[:1], args: "verify", want: 2, stderr: "reprise: REPRISE_NEO4J_URL: needed"},
		"verify, flag":        {environ: environ, args: "verify --fix", want: 2, stderr: "reprise: unknown flag --fix; see reprise graph verify --help\n"},
		"rebuild, no graph":   {environ: environ[:1], args: "rebuild", want: 1, stderr: "reprise: REPRISE_NEO4J_URL: needed"},
		"rebuild fails":       {calls: calls{err: errors.New("no")}, environ: environ, args: "rebuild", want: 2, stderr: "reprise: no\n"},
		"retry, no graph":     {environ: environ[:1], args: "retry"},
		"retry, no database":  {environ: environ[1:], args: "retry", want: 1, stderr: "reprise: REPRISE_DATABASE_URL: needed"},
		"retry fails":         {calls: calls{err: errors.New("no")}, environ: environ, args: "retry", want: 2, stderr: "reprise: no\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := tt.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			code, _, stderr := reprise(ctx, &tt.calls, tt.environ, strings.Fields("graph "+tt.args)...)
			if code != tt.want || !strings.HasPrefix(stderr, tt.stderr) || tt.stderr == "" && stderr != "" {
				t.Errorf("exit code %d, stderr %q, want %d and %q", code, stderr, tt.want, tt.stderr)
			}
		})
	}
}
