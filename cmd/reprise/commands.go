package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/alecthomas/kong"

	"reprise/app"
	"reprise/config"
)

const description = `Reprise takes audio recordings from phones on bad networks and makes them playable, without ever losing a byte it acknowledged.

Begin with "reprise dev", then "reprise upload FILE" in another terminal.`

// errHelp ends the parsing after help has been shown.
var errHelp = errors.New("help was asked for")

type helpFlag bool

// BeforeReset shows help before anything is missed that a command needs.
func (helpFlag) BeforeReset(ctx *kong.Context) error {
	if err := ctx.PrintUsage(false); err != nil {
		return err
	}
	return errHelp
}

type commands struct {
	Serve   serveCommand   `cmd:"" help:"Run the server."`
	Dev     devCommand     `cmd:"" help:"Run everything on this machine: a database of its own, disk storage, development tokens."`
	Migrate migrateCommand `cmd:"" help:"Bring the schemas of the database and the graph up to this version."`
	Token   tokenCommand   `cmd:"" help:"Print a development token."`
	User    userCommand    `cmd:"" help:"List users, and shut them out or let them in again."`
	Upload  uploadCommand  `cmd:"" help:"Upload recordings; what is interrupted resumes."`
	Graph   graphCommand   `cmd:"" help:"Rebuild the graph from the database, or compare them."`
	Fsck    fsckCommand    `cmd:"" help:"Compare the database with the storage, and repair what differs."`
	Version versionCommand `cmd:"" help:"Print the version."`

	Help helpFlag `short:"h" help:"Show help; after a command, that command's."`
}

// What the commands call, as packages app and client have it.
type (
	serveFunc   func(context.Context, app.Options) error
	devFunc     func(context.Context, app.DevOptions) error
	migrateFunc func(context.Context, config.Config, *slog.Logger) error
	tokenFunc   func(app.TokenOptions) (string, error)
)

// configFile is the flag of commands that take settings from a file.
type configFile struct {
	File config.File `name:"config" placeholder:"FILE" help:"A file of KEY=VALUE lines with the names in brackets below. Flags and environment win over it."`
}

type serveCommand struct {
	configFile
	Roles []string `enum:"api,worker" default:"api,worker" placeholder:"ROLE" help:"What this process does: api answers clients, worker processes recordings."`
	config.Config
}

// Help implements kong.HelpProvider.
func (serveCommand) Help() string {
	return `It needs a database whose schema is up to date ("reprise migrate"), a place for recordings, and users: a Firebase project's, or a key for development tokens:

    reprise serve --config /etc/reprise.env
    REPRISE_DATABASE_URL=postgres://reprise@db/reprise REPRISE_STORAGE_URL=file:///var/lib/reprise \
        REPRISE_AUTH=firebase REPRISE_FIREBASE_PROJECT=example-12345 reprise serve
    REPRISE_DATABASE_URL=postgres://reprise@db/reprise REPRISE_STORAGE_URL=file:///var/lib/reprise \
        REPRISE_DEV_KEY_FILE=/run/secrets/key reprise serve --roles=worker

SIGINT or SIGTERM ends it when running requests have ended, or after the shutdown timeout; running jobs that take longer than 10 seconds are left to the next worker. A second signal ends it at once.

Exit codes: 0 it was told to stop; 1 the configuration makes no sense; 2 it failed.`
}

// Run implements the command.
func (c *serveCommand) Run(ctx context.Context, p *program, sources *config.Sources) error {
	if err := sources.Check(c.Config.Check); err != nil {
		return err
	}
	return untilStopped(ctx, p.serve(ctx, app.Options{
		Config:  c.Config,
		API:     slices.Contains(c.Roles, "api"),
		Worker:  slices.Contains(c.Roles, "worker"),
		Log:     logger(c.Log, p.stderr),
		Version: readVersion().Version,
	}))
}

// untilStopped takes it for success that a server which runs until ctx ends was
// stopped before it was up.
func untilStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

type devCommand struct {
	configFile
	Dir               string `default:".reprise" placeholder:"FOLDER" help:"Where everything is kept: the database, recordings, the key of the tokens. Remove it to begin anew."`
	User              string `default:"dev" placeholder:"NAME" help:"Who the printed token is for; \"reprise token\" makes one for anybody else."`
	config.Server     `group:"Server:"`
	config.Limits     `group:"Uploads and recordings:"`
	config.Quotas     `group:"Limits of clients and users:"`
	config.Processing `group:"Processing:"`
	config.Insights   `group:"Transcripts and analyses:"`
	config.Graph      `group:"Graph:"`
	LogLevel          string `group:"Log:" setting:"REPRISE_LOG_LEVEL" default:"info" placeholder:"LEVEL" help:"The least level that is logged: debug, info, warn or error."`
	LogFormat         string `group:"Log:" setting:"REPRISE_LOG_FORMAT" default:"text" placeholder:"FORMAT" help:"Format of the log: json, or text for people."`
}

// Help implements kong.HelpProvider.
func (devCommand) Help() string {
	return `It starts a PostgreSQL of its own in its folder (the programs must be installed, and ffmpeg), runs the server on it, and prints the addresses, a token, and a command to try. The next start finds the data again.

    reprise dev
    reprise dev --dir /tmp/try --addr 127.0.0.1:0 --admin-addr 127.0.0.1:0

Ctrl-C stops everything it started.

Exit codes: 0 it was told to stop; 1 the flags or settings make no sense; 2 it failed.`
}

// Run implements the command.
func (c *devCommand) Run(ctx context.Context, p *program, sources *config.Sources) error {
	cfg := config.Config{
		Server: c.Server, Limits: c.Limits, Quotas: c.Quotas, Processing: c.Processing, Insights: c.Insights, Graph: c.Graph,
		Identity: config.Identity{Auth: "dev"},
		Log:      config.Log{LogLevel: c.LogLevel, LogFormat: c.LogFormat},
	}
	if err := sources.Check(cfg.CheckDev); err != nil {
		return err
	}
	return untilStopped(ctx, p.dev(ctx, app.DevOptions{
		Dir: c.Dir, User: c.User, Config: cfg,
		Log: logger(cfg.Log, p.stderr), Out: p.stdout, Version: readVersion().Version,
	}))
}

type migrateCommand struct {
	configFile
	config.Database `group:"Database:"`
	config.Neo4j    `group:"Graph:"`
	config.Log      `group:"Log:"`
}

// Help implements kong.HelpProvider.
func (migrateCommand) Help() string {
	return `Running it again, or on several machines at once, is safe: one does the work, the others wait for it.

    reprise migrate --config /etc/reprise.env

Exit codes: 0 the schema is up to date; 1 the configuration makes no sense; 2 it failed; 130 it was interrupted; run it again.`
}

// Run implements the command.
func (c *migrateCommand) Run(ctx context.Context, p *program, sources *config.Sources) error {
	cfg := config.Config{Database: c.Database, Graph: config.Graph{Neo4j: c.Neo4j}, Log: c.Log}
	if err := sources.Check(cfg.CheckMigrate); err != nil {
		return err
	}
	return p.migrate(ctx, cfg, logger(cfg.Log, p.stderr))
}

type tokenCommand struct {
	configFile
	User string        `required:"" placeholder:"NAME" help:"Who the token is for. Who is new becomes a user with the first request."`
	Role string        `placeholder:"ROLE" help:"What the token allows beyond the user's own: support or admin. Default: nothing."`
	TTL  time.Duration `name:"ttl" default:"24h" placeholder:"DURATION" help:"How long the token is valid."`
	Dir  string        `group:"Key:" default:".reprise" placeholder:"FOLDER" help:"The folder of \"reprise dev\", whose key is used if no other is given."`

	config.DevKeys `group:"Key:"`
}

// Help implements kong.HelpProvider.
func (tokenCommand) Help() string {
	return `For development only: the server must accept development tokens (REPRISE_AUTH=dev) and have the same key.

    reprise token --user alice
    TOKEN=$(REPRISE_DEV_KEY_FILE=/run/secrets/key reprise token --user bob --ttl 1h)
    curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/v1/me

Exit codes: 0 the token is on standard output; 1 the flags or settings make no sense; 2 it failed.`
}

// AfterApply refuses what is no role.
func (c *tokenCommand) AfterApply() error {
	switch c.Role {
	case "", "support", "admin":
		return nil
	}
	return errors.New("--role must be support or admin")
}

// Run implements the command.
func (c *tokenCommand) Run(p *program, sources *config.Sources) error {
	if err := sources.Check(c.CheckToken); err != nil {
		return err
	}
	token, err := p.token(app.TokenOptions{User: c.User, Role: c.Role, TTL: c.TTL, Dir: c.Dir, Key: c.DevKeyBytes()})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.stdout, token)
	return err
}
