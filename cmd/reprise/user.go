package main

import (
	"context"
	"errors"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"reprise/app"
	"reprise/config"
)

// What the commands call, as package app has it.
type (
	listUsersFunc   func(ctx context.Context, o app.UserOptions, find string, before uuid.UUID) error
	showUserFunc    func(ctx context.Context, o app.UserOptions, who string) error
	disableUserFunc func(ctx context.Context, o app.UserOptions, who string, disabled bool, reason string) error
)

type userCommand struct {
	List    listUsersCommand   `cmd:"" help:"List users, who was created last first."`
	Show    showUserCommand    `cmd:"" help:"Show a user, and how many recordings they have in each state."`
	Disable disableUserCommand `cmd:"" help:"Shut a user out. What they have uploaded is kept."`
	Enable  enableUserCommand  `cmd:"" help:"Let a user in again."`
}

// Help implements kong.HelpProvider.
func (userCommand) Help() string {
	return `For whoever runs the server; it needs its database, and no token. Every use is written into the audit, as the operator's.

    reprise user list --config /etc/reprise.env --find alice@example.com
    reprise user disable --config /etc/reprise.env alice@example.com --reason "asked for it by letter"

Running servers know of a change within a minute.

Exit codes: 0 it is done; 1 the flags or settings make no sense; 2 it failed, or there is no such user.`
}

// userDatabase is what every command about users needs.
type userDatabase struct {
	configFile
	config.Database `group:"Database:"`
}

func (d *userDatabase) options(p *program, sources *config.Sources) (app.UserOptions, error) {
	cfg := config.Config{Database: d.Database}
	err := sources.Check(cfg.CheckDatabase)
	return app.UserOptions{Config: cfg, Out: p.stdout}, err
}

// one is the argument that names a user.
type one struct {
	User string `arg:"" placeholder:"USER" help:"The user's id, subject (such as firebase:…) or e-mail address."`
}

type listUsersCommand struct {
	userDatabase
	Find   string    `placeholder:"USER" help:"Only users whose id, subject or e-mail address this is."`
	Before uuid.UUID `placeholder:"ID" help:"Only users who were created before this one: at most 200 are listed at a time."`
}

// Run implements the command.
func (c *listUsersCommand) Run(ctx context.Context, p *program, sources *config.Sources) error {
	o, err := c.options(p, sources)
	if err != nil {
		return err
	}
	return p.listUsers(ctx, o, c.Find, c.Before)
}

type showUserCommand struct {
	one
	userDatabase
}

// Run implements the command.
func (c *showUserCommand) Run(ctx context.Context, p *program, sources *config.Sources) error {
	o, err := c.options(p, sources)
	if err != nil {
		return err
	}
	return p.showUser(ctx, o, c.User)
}

type reason struct {
	Reason string `required:"" placeholder:"TEXT" help:"Why, for the audit; the user does not see it."`
}

// AfterApply refuses what the API refuses.
func (r *reason) AfterApply() error {
	if len(r.Reason) > 500 || strings.ContainsFunc(r.Reason, unicode.IsControl) {
		return errors.New("--reason: at most 500 bytes, without control characters")
	}
	return nil
}

type disableUserCommand struct {
	one
	reason
	userDatabase
}

// Run implements the command.
func (c *disableUserCommand) Run(ctx context.Context, p *program, sources *config.Sources) error {
	o, err := c.options(p, sources)
	if err != nil {
		return err
	}
	return p.disableUser(ctx, o, c.User, true, c.Reason)
}

type enableUserCommand struct {
	one
	reason
	userDatabase
}

// Run implements the command.
func (c *enableUserCommand) Run(ctx context.Context, p *program, sources *config.Sources) error {
	o, err := c.options(p, sources)
	if err != nil {
		return err
	}
	return p.disableUser(ctx, o, c.User, false, c.Reason)
}
