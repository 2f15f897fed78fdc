package main

import (
	"context"
	"errors"
	"time"

	"reprise/app"
	"reprise/config"
)

type fsckFunc func(context.Context, app.FsckOptions) (problems int, err error)

// exitError is an error whose exit code is the command's own. Without err, the user
// has been told everything.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// exitProblems is the exit code of a comparison that has found problems; what keeps
// it from looking is exitFailed, whatever that is.
const exitProblems = 1

type fsckCommand struct {
	configFile
	Verify        bool          `help:"Read every object and compare its SHA-256, which takes as long as reading all of the storage."`
	Repair        bool          `help:"Repair what can be repaired; see above."`
	DeleteUnknown bool          `help:"With --repair, delete also what this database never had a row for. Make sure first that nobody else uses this storage, and that you want nothing from after a backup back."`
	OlderThan     time.Duration `default:"24h" placeholder:"DURATION" help:"How old something in storage is before it may be called nobody's. What is being uploaded or processed is left alone at any age."`
	JSON          bool          `name:"json" help:"Report as one JSON document, for scripts; docs/operations.md describes it."`

	config.Database  `group:"Server:"`
	StorageURL       string        `group:"Server:" setting:"REPRISE_STORAGE_URL" placeholder:"URL" help:"Where recordings are kept, as the server has it. Needed."`
	DeletedRetention time.Duration `group:"Server:" setting:"REPRISE_DELETED_RETENTION" default:"720h" placeholder:"DURATION" help:"How long the bytes of a deleted recording are kept, as the server has it."`
}

// Help implements kong.HelpProvider.
func (fsckCommand) Help() string {
	return `It compares the database with the storage, both ways: whether everything that the database counts on is in storage, whether everything in storage is somebody's, and whether every recording that waits has a job. Servers may run meanwhile: what is on its way is no problem.

    reprise fsck --config /etc/reprise.env
    reprise fsck --config /etc/reprise.env --repair
    reprise fsck --config /etc/reprise.env --verify --json | jq '.problems[].kind'

It changes nothing without --repair, which marks uploads as failed whose bytes are gone (so that their clients may send them again), has missing artifacts made anew, enqueues missing jobs, and deletes what nobody needs any more.

Exit codes: 0 no problems; 1 problems were found, even if all of them were repaired: run it again to see what is left; 2 it could not be run or completed; 130 it was interrupted.`
}

// Run implements the command.
func (c *fsckCommand) Run(ctx context.Context, p *program, sources *config.Sources) error {
	cfg := config.Default()
	cfg.Database, cfg.StorageURL, cfg.DeletedRetention = c.Database, c.StorageURL, c.DeletedRetention
	if err := sources.Check(cfg.CheckFsck); err != nil {
		return &exitError{exitFailed, err}
	}
	problems, err := p.fsck(ctx, app.FsckOptions{
		Config: cfg, Verify: c.Verify, Repair: c.Repair, DeleteUnknown: c.DeleteUnknown, OlderThan: c.OlderThan, JSON: c.JSON,
		Out: p.stdout, Log: logger(config.Log{LogLevel: "warn", LogFormat: "text"}, p.stderr),
	})
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return err
	case err != nil:
		return &exitError{exitFailed, err}
	case problems > 0:
		return &exitError{code: exitProblems}
	}
	return nil
}

// AfterApply refuses flags that make no sense together.
func (c *fsckCommand) AfterApply() error {
	if c.DeleteUnknown && !c.Repair {
		return errors.New("--delete-unknown needs --repair")
	}
	if c.OlderThan < 0 {
		return errors.New("--older-than must not be negative")
	}
	return nil
}
