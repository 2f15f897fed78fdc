// Command reprise is the Reprise server, and the tools around it.
//
// This package parses: flags, environment, signals, exit codes. What the
// commands do is in package app (the server) and package client (the upload
// command). It decides nothing and knows no domain.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"reprise/app"
	"reprise/client"
	"reprise/config"
	"reprise/processing/sandbox"
)

// The exit codes of every command. "reprise upload" has more, and "reprise fsck" and
// "reprise graph verify" have their own: see their help.
const (
	exitDone        = 0
	exitUsage       = 1 // flags, environment or file make no sense
	exitFailed      = 2
	exitInterrupted = 130 // as a shell says for SIGINT
)

func main() {
	sandbox.Main() // this process may be one that is to become ffmpeg
	p := &program{
		environ: os.Environ(), stdout: os.Stdout, stderr: os.Stderr,
		serve: app.Serve, dev: app.Dev, migrate: app.Migrate, token: app.Token, upload: client.Upload, fsck: app.Fsck,
		rebuildGraph: app.RebuildGraph, verifyGraph: app.VerifyGraph, retryGraph: app.RetryGraph,
		listUsers: app.ListUsers, showUser: app.ShowUser, disableUser: app.SetUserDisabled,
	}
	os.Exit(p.run(untilSignal(), os.Args[1:]))
}

// untilSignal returns a context that ends with SIGINT or SIGTERM. The signal
// after that finds its default again: it ends the process at once, should
// stopping hang.
func untilSignal() context.Context {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx
}

// program is what the commands have of the world: the process's surroundings,
// and what they call.
type program struct {
	environ        []string
	stdout, stderr io.Writer

	serve   serveFunc
	dev     devFunc
	migrate migrateFunc
	token   tokenFunc
	upload  uploadFunc
	fsck    fsckFunc

	rebuildGraph rebuildGraphFunc
	verifyGraph  verifyGraphFunc
	retryGraph   retryGraphFunc

	listUsers   listUsersFunc
	showUser    showUserFunc
	disableUser disableUserFunc
}

// run runs the command that args name and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	sources := config.NewSources(p.environ)
	var c commands
	parser := kong.Must(&c, append(sources.Options(),
		kong.Name("reprise"),
		kong.Description(description),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 100, FlagsLast: true, Compact: true}),
		kong.NoDefaultHelp(),
		kong.Writers(p.stdout, p.stderr),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(p),
	)...)
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if errors.Is(err, errHelp) {
		return exitDone
	}
	if err == nil {
		err = parsed.Run()
	}
	return p.report(ctx, err)
}

// report tells the user what went wrong, in a line, and returns the exit code.
func (p *program) report(ctx context.Context, err error) int {
	var parse *kong.ParseError
	var problems config.Problems
	var uploaded *uploadError
	var exit *exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &uploaded): // it has told everything itself
		return client.ExitCode(uploaded.err)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &parse):
		command := "reprise"
		if selected := parse.Context.Selected(); selected != nil {
			command = selected.FullPath()
		}
		fmt.Fprintf(p.stderr, "reprise: %v; see %s --help\n", err, command)
		if command == "reprise fsck" || command == "reprise graph verify" { // where 1 is an answer
			return exitFailed
		}
		return exitUsage
	case errors.As(err, &exit):
		if exit.err != nil {
			fmt.Fprintf(p.stderr, "reprise: %v\n", exit.err)
		}
		return exit.code
	}
	fmt.Fprintf(p.stderr, "reprise: %v\n", err)
	if errors.As(err, &problems) {
		return exitUsage
	}
	return exitFailed
}
