package speech

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"reprise/processing/provider"
	"reprise/processing/sandbox"
)

// LocalOptions are those of Local. Fence must be set.
type LocalOptions struct {
	Fence *sandbox.Fence
	// Whisper is the folder that Whisper is installed in; "" is where `make whisper`
	// puts it, if it is there.
	Whisper string
	// Model is the folder of a Whisper model in the format of CTranslate2; "" is the
	// one that `make whisper` installs, tiny.en.
	Model string
}

// ErrNoEngine says that no engine is installed on this machine.
var ErrNoEngine = errors.New("speech: neither Whisper nor pocketsphinx is installed")

// Local returns the best engine that is installed on this machine: Whisper, or else
// pocketsphinx. It has been tried behind the fence. Whisper that is there and does
// not run is an error: the other is no match for it.
func Local(ctx context.Context, o LocalOptions) (Engine, error) {
	if o.Fence == nil {
		return nil, errors.New("speech: there is no fence")
	}
	folder, err := findWhisper(o)
	switch {
	case err == nil:
		return newWhisper(ctx, o.Fence, folder, o.Model)
	case o.Whisper != "" || o.Model != "" || !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("speech: whisper: %w", err)
	}
	path, err := exec.LookPath(sphinxProgram)
	if errors.Is(err, exec.ErrNotFound) {
		return nil, ErrNoEngine
	} else if err != nil {
		return nil, fmt.Errorf("speech: %w", err)
	}
	return newSphinx(ctx, o.Fence, path)
}

// findWhisper returns the folder that Whisper is installed in, without links.
func findWhisper(o LocalOptions) (string, error) {
	folder := o.Whisper
	if folder == "" { // as scripts/setup.sh does
		cache := os.Getenv("XDG_CACHE_HOME")
		if cache == "" {
			home, err := os.UserHomeDir()
			if err != nil { // as a service without a home
				return "", fmt.Errorf("%w: %w", fs.ErrNotExist, err)
			}
			cache = filepath.Join(home, ".cache")
		}
		folder = filepath.Join(cache, "reprise", "whisper")
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(folder)
}

const (
	// maxOutput bounds what an engine may say about one piece. Five minutes of fast
	// talking are 200 KB of JSON.
	maxOutput = 8 << 20
	// maxComplaint is how much is kept of what it says on standard error.
	maxComplaint = 2 << 10
)

// listen runs an engine's program on a piece and returns what it says. What it says
// on standard error is not in the error: it may be what it heard.
func listen(ctx context.Context, fence *sandbox.Fence, spec sandbox.Spec) ([]byte, error) {
	out, _, err := run(ctx, fence, spec)
	return out, err
}

// check runs an engine's program without a piece, and quotes what it complains of.
func check(ctx context.Context, fence *sandbox.Fence, spec sandbox.Spec) ([]byte, error) {
	out, complaint, err := run(ctx, fence, spec)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(complaint))
	}
	return out, nil
}

// run runs a program to its end. What is the program's own doing is a
// *provider.ReplyError.
func run(ctx context.Context, fence *sandbox.Fence, spec sandbox.Spec) (out, complaint []byte, err error) {
	cmd, err := fence.Command(ctx, spec)
	if err != nil {
		return nil, nil, err
	}
	said, complained := &firstBytes{max: maxOutput}, &lastBytes{max: maxComplaint}
	cmd.Stdout, cmd.Stderr = said, complained
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, nil, context.Cause(ctx)
	case said.over:
		err = &provider.ReplyError{Err: fmt.Errorf("%s says more than %d bytes", spec.Path, maxOutput)}
	case !errors.As(err, &exit): // also if there is none
	case exit.ExitCode() == sandbox.ExitFenced:
		err = errors.New("the program could not be started in its sandbox")
	case exit.ExitCode() < 0 && exit.UserTime()+exit.SystemTime() > spec.CPU/2: // the kernel has two clocks for it
		err = &provider.ReplyError{Err: fmt.Errorf("%s has used up its CPU time", spec.Path)}
	default:
		err = &provider.ReplyError{Err: fmt.Errorf("%s: %w", spec.Path, err)}
	}
	return said.data, complained.data, err
}

// firstBytes keeps the first max bytes and fails on more, which ends the program.
type firstBytes struct {
	data []byte
	max  int
	over bool
}

func (h *firstBytes) Write(p []byte) (int, error) {
	if len(h.data)+len(p) > h.max {
		h.over = true
		return 0, errors.New("too much output")
	}
	h.data = append(h.data, p...)
	return len(p), nil
}

// lastBytes keeps the last max bytes.
type lastBytes struct {
	data []byte
	max  int
}

func (t *lastBytes) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	t.data = t.data[max(0, len(t.data)-t.max):]
	return len(p), nil
}

// cpuFor is how much a program may compute for a piece if it needs so much for a
// second of sound at the worst.
func cpuFor(length time.Duration, perSecond int) time.Duration {
	return time.Minute + time.Duration(perSecond)*length
}

// checkPiece refuses what an engine of one model and some languages can't do.
func checkPiece(p Piece, model string, knows func(language string) bool) error {
	if p.Model != "" && p.Model != model {
		return &provider.RefusedError{Err: fmt.Errorf("the engine on this machine has the model %s only", model)}
	}
	if p.Language != "" && !knows(p.Language) {
		return &provider.RefusedError{Err: fmt.Errorf("the model %s of the engine on this machine does not know the language that was asked for", model)}
	}
	return nil
}
