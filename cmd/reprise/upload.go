package main

import (
	"context"
	"errors"
	"time"

	"reprise/client"
	"reprise/config"
)

type uploadFunc func(context.Context, client.Options) error

// uploadError is an error that has been shown to the user already.
type uploadError struct{ err error }

func (e *uploadError) Error() string { return e.err.Error() }

type uploadCommand struct {
	Files []string `arg:"" name:"file" help:"Audio files to upload."`

	Server    string        `group:"Server:" setting:"REPRISE_SERVER" default:"http://127.0.0.1:8080" placeholder:"URL" help:"The server's public URL."`
	Token     config.Secret `group:"Server:" setting:"REPRISE_TOKEN" placeholder:"TOKEN" help:"The token that says who you are. Other users of this machine can see flags: prefer the environment or a file."`
	TokenFile string        `group:"Server:" setting:"REPRISE_TOKEN_FILE" placeholder:"FILE" help:"A file with the token in it. Without either, and with a server on this machine, .reprise/token, which \"reprise dev\" writes."`
	RetryFor  time.Duration `group:"Server:" default:"2m" placeholder:"DURATION" help:"How long to go on when nothing gets through. A server that has never answered is given up sooner."`
	Chunk     config.Bytes  `group:"Server:" default:"16MiB" placeholder:"SIZE" help:"The most that one request carries, such as 512KiB or 16MiB."`
	LimitRate config.Bytes  `group:"Server:" placeholder:"SIZE" help:"The most bytes a second that are sent, all files together."`
	Parallel  int           `group:"Server:" default:"1" placeholder:"COUNT" help:"How many files are uploaded at once, at most 16."`

	Title    string `group:"Recording:" placeholder:"TEXT" help:"What to call the recording, if it is one file."`
	Language string `group:"Recording:" placeholder:"TAG" help:"What is spoken, as a BCP 47 tag: en, de-CH."`
	Again    bool   `group:"Recording:" help:"Upload a file once more that the server has already, as another recording. This can't be resumed by a later run."`

	Wait bool `group:"Output:" help:"Wait until the recordings are playable, and show what is known of them."`
	JSON bool `group:"Output:" name:"json" help:"Print one JSON object for each file, on a line of its own, to standard output."`

	CutAt client.Share `group:"Testing:" placeholder:"SHARE" help:"Cut the connection once, on purpose, at this share of the first file, such as 40%, to see it resume."`
}

// Help implements kong.HelpProvider.
func (uploadCommand) Help() string {
	return `Whatever breaks on the way, the network, the server or this command, run the same command again and it goes on where the server has got to. A file that the server has already is not sent again.

    reprise upload talk.m4a
    reprise upload --server https://audio.example.com --token-file token --parallel 3 *.wav
    reprise upload --wait --json talk.m4a | jq .recordingId

Exit codes: 0 every file is uploaded (with --wait: playable); 1 the flags make no sense; 2 a file failed or was rejected; 3 the server can't be reached; 4 the token is missing, not valid or not allowed to do this; 130 it was interrupted, and the same command resumes.`
}

// AfterApply refuses what the client would take for no wish at all.
func (c *uploadCommand) AfterApply() error {
	switch {
	case c.Parallel == 0:
		return errors.New("--parallel must be at least 1")
	case c.Chunk == 0:
		return errors.New("--chunk must be at least 1 byte")
	case c.RetryFor == 0:
		return errors.New("--retry-for must be longer than 0s")
	}
	return nil
}

// preferFlag lets the flag for a token win over the environment's other way to
// give one.
func (c *uploadCommand) preferFlag(sources *config.Sources) {
	if c.Token == "" || c.TokenFile == "" {
		return
	}
	token, file := sources.Found("REPRISE_TOKEN"), sources.Found("REPRISE_TOKEN_FILE")
	switch {
	case token && !file:
		c.Token = ""
	case file && !token:
		c.TokenFile = ""
	}
}

// Run implements the command.
func (c *uploadCommand) Run(ctx context.Context, p *program, sources *config.Sources) error {
	if err := sources.Check(func() error { return nil }); err != nil {
		return err
	}
	c.preferFlag(sources)
	err := p.upload(ctx, client.Options{
		Files: c.Files, Server: c.Server, Token: string(c.Token), TokenFile: c.TokenFile,
		Title: c.Title, Language: c.Language,
		Again: c.Again, Wait: c.Wait, JSON: c.JSON,
		Parallel: c.Parallel, ChunkBytes: int64(c.Chunk), RetryFor: c.RetryFor, MaxBytesPerSecond: int64(c.LimitRate), CutAt: c.CutAt,
		Version: readVersion().Version, Stdout: p.stdout, Stderr: p.stderr,
	})
	if err != nil {
		return &uploadError{err}
	}
	return nil
}
