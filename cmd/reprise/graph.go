package main

import (
	"context"
	"errors"

	"reprise/app"
	"reprise/config"
)

// What the commands call, as package app has it.
type (
	rebuildGraphFunc func(ctx context.Context, o app.GraphOptions, restart bool) error
	verifyGraphFunc  func(ctx context.Context, o app.GraphOptions, repair bool) (differences int, err error)
	retryGraphFunc   func(ctx context.Context, o app.GraphOptions) error
)

type graphCommand struct {
	Rebuild rebuildGraphCommand `cmd:"" help:"Write the whole graph anew from the database."`
	Verify  verifyGraphCommand  `cmd:"" help:"Compare the graph with the database, and repair what differs."`
	Retry   retryGraphCommand   `cmd:"" help:"Have what the graph has refused too often tried again."`
}

// Help implements kong.HelpProvider.
func (graphCommand) Help() string {
	return `The graph in Neo4j shows how recordings are connected. All of it is made of the database, and workers keep it up to date. Servers may run while these commands do.

    reprise graph verify --config /etc/reprise.env
    reprise graph rebuild --config /etc/reprise.env`
}

// graphSettings is what commands need that write or compare the graph.
type graphSettings struct {
	configFile
	config.Database `group:"Database:"`
	config.Neo4j    `group:"Graph:"`
}

func (g *graphSettings) options(p *program, sources *config.Sources) (app.GraphOptions, error) {
	cfg := config.Config{Database: g.Database, Graph: config.Graph{Neo4j: g.Neo4j}}
	err := sources.Check(cfg.CheckGraph)
	return app.GraphOptions{
		Config: cfg, Out: p.stdout, Progress: p.stderr, Log: logger(config.Log{LogLevel: "warn", LogFormat: "text"}, p.stderr),
	}, err
}

type rebuildGraphCommand struct {
	graphSettings
	Restart bool `help:"Begin anew, also if a rebuild was interrupted."`
	JSON    bool `name:"json" help:"Report what was mended at the end as one JSON document; docs/graph.md describes it."`
}

// Help implements kong.HelpProvider.
func (rebuildGraphCommand) Help() string {
	return `It writes everything that the graph shows over what is there, then compares both sides and mends what still differs. One that is interrupted goes on where it was when it is run again.

    reprise graph rebuild --config /etc/reprise.env

Exit codes: 0 the graph equals the database; 1 the flags or settings make no sense; 2 it failed, or the graph refuses rows; 130 it was interrupted.`
}

// Run implements the command.
func (c *rebuildGraphCommand) Run(ctx context.Context, p *program, sources *config.Sources) error {
	o, err := c.options(p, sources)
	if err != nil {
		return err
	}
	o.JSON = c.JSON
	return p.rebuildGraph(ctx, o, c.Restart)
}

type verifyGraphCommand struct {
	graphSettings
	Repair bool `help:"Have the graph show what the database has."`
	JSON   bool `name:"json" help:"Report as one JSON document, for scripts; docs/graph.md describes it."`
}

// Help implements kong.HelpProvider.
func (verifyGraphCommand) Help() string {
	return `It reads both sides in the order of ids and compares versions, properties and edges. What is on its way is no difference: whatever differs is looked at again when all that waited has been written, or after half a minute.

    reprise graph verify --config /etc/reprise.env
    reprise graph verify --config /etc/reprise.env --repair --json | jq '.differences[].kind'

Exit codes: 0 both are equal; 1 there were differences, even if all of them were repaired: run it again to see what is left; 2 it could not be run or completed; 130 it was interrupted.`
}

// Run implements the command.
func (c *verifyGraphCommand) Run(ctx context.Context, p *program, sources *config.Sources) error {
	o, err := c.options(p, sources)
	if err != nil {
		return &exitError{exitFailed, err}
	}
	o.JSON = c.JSON
	differences, err := p.verifyGraph(ctx, o, c.Repair)
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return err
	case err != nil:
		return &exitError{exitFailed, err}
	case differences > 0:
		return &exitError{code: exitProblems}
	}
	return nil
}

type retryGraphCommand struct {
	configFile
	config.Database `group:"Database:"`
}

// Help implements kong.HelpProvider.
func (retryGraphCommand) Help() string {
	return `What the graph refuses five times is a dead letter: the metric reprise_graph_dead_letters counts them, the table graph_dead_letters has the reasons. This puts all of them back into the queue.

Exit codes: 0 it is done; 1 the flags or settings make no sense; 2 it failed.`
}

// Run implements the command.
func (c *retryGraphCommand) Run(ctx context.Context, p *program, sources *config.Sources) error {
	cfg := config.Config{Database: c.Database}
	if err := sources.Check(cfg.CheckDatabase); err != nil {
		return err
	}
	return p.retryGraph(ctx, app.GraphOptions{Config: cfg, Out: p.stdout})
}
