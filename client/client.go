// Package client uploads recordings to a Reprise server: the logic of the
// command `reprise upload`.
//
// It speaks what any client can speak: tus 1.0 at /files/, REST at /v1/ and the
// WebSocket at /v1/events. It is not part of the server, and it parses no flags.
//
// It promises that
//   - whatever breaks on the way (the network, the server, this process by
//     kill -9), running the same command again goes on where the server has
//     acknowledged bytes. Nothing is kept on this machine for that: the clientId
//     sent with an upload is computed from the file, and the server knows its
//     uploads by it;
//   - a file is called uploaded only when the server says that it has every byte
//     and, where it tells its digest, that the digest is the file's;
//   - a file that changes while it is being sent is noticed and not finished;
//   - what one file suffers does not stop the others, unless the server can't be
//     reached or doesn't know the token.
//
// # Exit codes
//
//	0    every file is uploaded (with Wait: playable)
//	1    usage: the options make no sense
//	2    some file failed or was rejected
//	3    the server can't be reached, or can't serve now
//	4    the token is missing, not valid, or not allowed to do this
//	130  interrupted; the same command resumes
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"
)

// DefaultServer is where `reprise dev` listens.
const DefaultServer = "http://127.0.0.1:8080"

const (
	defaultRetryFor   = 2 * time.Minute
	defaultChunkBytes = 16 << 20
	maxParallel       = 16
)

// Options says what to upload, where, and how to tell about it.
type Options struct {
	// Files are paths of regular files. One that is named twice is uploaded once.
	Files []string
	// Server is the server's public URL; "" means DefaultServer.
	Server string
	// Token is the bearer token. Without it TokenFile is read, and without that,
	// if the server is on this machine, .reprise/token of the working folder,
	// where `reprise dev` puts a development token.
	Token     string
	TokenFile string

	Title    string // what to call the recording; only with one file
	Language string // BCP 47, of what is spoken; "" leaves it open

	// Again uploads files once more that the server has already, as further
	// recordings. Such an upload can't be resumed by another run.
	Again bool
	// Wait stays until each recording is ready, rejected or failed.
	Wait bool
	// JSON writes one JSON object per file and line to Stdout.
	JSON bool
	// Parallel is how many files are uploaded at once, at most 16; 0 means 1.
	Parallel int
	// ChunkBytes is the most that one request carries; 0 means 16 MiB. Between
	// requests bytes are acknowledged; a proxy that collects whole requests loses
	// no more than one.
	ChunkBytes int64
	// MaxBytesPerSecond bounds how fast files are sent, all together, to leave some
	// of a line to others; 0 doesn't.
	MaxBytesPerSecond int64
	// RetryFor is how long to go on without any byte being acknowledged; 0 means
	// 2 minutes. A server that has never answered is given up after 10 seconds.
	RetryFor time.Duration
	// CutAt cuts the connection once, on purpose, at this share of the first file;
	// 0 doesn't. It shows, or tests, that an upload survives.
	CutAt Share

	// Version is this program's, for the User-Agent header.
	Version string
	// Stdout gets results, Stderr progress and errors. If Stderr is a terminal and
	// NO_COLOR is not set, progress is a moving bar, otherwise plain lines.
	Stdout io.Writer
	Stderr io.Writer

	pace pace // tests are faster
}

// pace holds the durations that tests shorten.
type pace struct {
	firstContact time.Duration // a server that has never answered is given up after this
	backoff      time.Duration // the first pause after a failure; doubles
	backoffMax   time.Duration
	stall        time.Duration // a PATCH of which no byte moves for this long is cut
	request      time.Duration // for any other request
	poll         time.Duration // between two looks at a recording when there is no WebSocket
	quiet        time.Duration // a WebSocket that says nothing for this long is opened anew
}

func (p pace) orDefaults() pace {
	if p != (pace{}) {
		return p
	}
	return pace{
		firstContact: 10 * time.Second,
		backoff:      500 * time.Millisecond,
		backoffMax:   30 * time.Second,
		stall:        time.Minute,
		request:      45 * time.Second,
		poll:         2 * time.Second,
		quiet:        time.Minute,
	}
}

// Upload uploads files and returns when each is uploaded or has failed. It has
// told the user everything on Stdout and Stderr: the error is for ExitCode.
func Upload(ctx context.Context, o Options) error {
	u, err := newUploader(o)
	if err != nil {
		fmt.Fprintf(o.Stderr, "reprise: %s\n", err)
		return err
	}
	defer u.server.close()

	results := u.all(ctx)
	err = summary(results)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		hint := "Run the same command again to resume."
		if o.Again {
			hint = "With --again, the next run begins anew."
		}
		fmt.Fprintf(o.Stderr, "Interrupted. %s\n", hint)
	}
	return err
}

// uploader does the work of one call of Upload.
type uploader struct {
	o      Options
	server *server
	ui     *display
	brake  *brake
}

func newUploader(o Options) (*uploader, error) {
	files, err := distinct(o.Files)
	if err != nil {
		return nil, err
	}
	o.Files = files
	if err := o.complete(); err != nil {
		return nil, err
	}
	server, err := newServer(o)
	if err != nil {
		return nil, err
	}
	return &uploader{o: o, server: server, ui: newDisplay(o.Stderr, o.JSON), brake: newBrake(o.MaxBytesPerSecond)}, nil
}

// all uploads every file, Parallel at once. What makes no sense to go on after
// ends the rest: their results are absent.
func (u *uploader) all(ctx context.Context) []result {
	stop := u.ui.run()
	defer stop()
	var (
		next    = make(chan int)
		workers sync.WaitGroup
		results = make([]result, len(u.o.Files))
	)
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	for range min(u.o.Parallel, len(u.o.Files)) {
		workers.Go(func() {
			for i := range next {
				results[i] = u.one(ctx, i)
				if hopeless(results[i].err) {
					giveUp(results[i].err)
				}
			}
		})
	}
feed:
	for i := range u.o.Files {
		select {
		case <-ctx.Done():
			break feed
		default:
		}
		select {
		case next <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	workers.Wait()
	return results
}

// one uploads one file and reports what became of it.
func (u *uploader) one(ctx context.Context, i int) result {
	path := u.o.Files[i]
	line := u.ui.add(filepath.Base(path))
	r := result{path: path, started: true}
	r.err = u.upload(ctx, line, &r, i == 0)
	if ctx.Err() != nil && r.err != nil && !hopeless(r.err) {
		r.err = context.Cause(ctx) // also when the file failed of it in another way
	}
	line.finish()
	u.report(r)
	return r
}

// distinct drops paths that name a file once more.
func distinct(paths []string) ([]string, error) {
	if len(paths) == 0 {
		return nil, usagef("name at least one file to upload")
	}
	seen := make(map[string]bool)
	var files []string
	for _, path := range paths {
		absolute, err := filepath.Abs(path)
		if err != nil {
			return nil, fmt.Errorf("find the working folder: %w", err)
		}
		if !seen[absolute] {
			seen[absolute] = true
			files = append(files, path)
		}
	}
	return files, nil
}

// result is what became of one file.
type result struct {
	path    string
	started bool // false if it was never its turn
	err     error

	recordingID string
	resumedFrom int64 // bytes that the server had already; 0 for a fresh upload
	complete    bool  // the server had all of it before this run
	sizeBytes   int64
	recording   *recordingView // nil if the server was not asked, or didn't say
}

// summary makes one error of the files' errors, nil if there is none.
func summary(results []result) error {
	var errs []error
	for _, r := range results {
		if r.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.path, r.err))
		}
	}
	for _, r := range results {
		if !r.started {
			errs = append(errs, fmt.Errorf("%s: %w", r.path, context.Canceled))
		}
	}
	return errors.Join(errs...)
}
