// Package ffmpeg looks into audio files and makes renditions of them, with the
// programs ffprobe and ffmpeg.
//
// It is the only package that starts them. It works on local files and
// knows no storage, database or queue; what is done with its findings is for
// the package processing to say.
//
// What it promises:
//   - A file is accepted for what decodes, never for what its header claims: the
//     longest duration is enforced on samples while they are decoded. One whose
//     header claims more than that is not decoded at all.
//   - A file can't make a program open anything but itself: playlists are not
//     opened whatever their name is, and no protocol but files and pipes is.
//   - Programs run behind a fence (package sandbox): what a file makes of a faulty
//     decoder can read that file, write two renditions, and nothing more.
//   - A program that hangs, or whose context ends, is killed with its whole
//     process group, and nothing it says on stderr is kept without bound.
//   - A file that can't be accepted gives a *recording.Rejection; every other
//     error is the server's, and trying again may help.
package ffmpeg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"time"

	"reprise/processing/sandbox"
)

// Limits say which audio is accepted. Zero fields take their default.
type Limits struct {
	MinDuration     time.Duration // default 100 ms
	MaxDuration     time.Duration // default 6 h
	MaxChannels     int           // default 8, which is 7.1
	MinSampleRateHz int           // default 8000, which is what AMR has
	MaxSampleRateHz int           // default 192000
}

// Options of Tools. Fence must be set; other zero fields take their default.
type Options struct {
	Fence   *sandbox.Fence
	FFmpeg  string // the program; default "ffmpeg", as found in PATH
	FFprobe string // the program; default "ffprobe", as found in PATH
	Limits  Limits
	// Watchdog is how long ffmpeg may decode nothing before it is killed; default
	// 1 minute. It must leave time to write the index of a long rendition, which
	// comes after the last sample.
	Watchdog time.Duration
}

// Tools run ffprobe and ffmpeg. They are safe for concurrent use.
type Tools struct {
	fence           *sandbox.Fence
	ffmpeg, ffprobe string // absolute
	limits          Limits
	watchdog        time.Duration
}

// New finds the programs and returns Tools that run them.
func New(o Options) (*Tools, error) {
	if o.Fence == nil {
		return nil, errors.New("ffmpeg: there is no fence")
	}
	t := &Tools{fence: o.Fence, limits: o.Limits.withDefaults(), watchdog: cmp.Or(o.Watchdog, time.Minute)}
	var err error
	if t.ffmpeg, err = find(cmp.Or(o.FFmpeg, "ffmpeg")); err != nil {
		return nil, fmt.Errorf("ffmpeg is not installed: %w", err)
	}
	if t.ffprobe, err = find(cmp.Or(o.FFprobe, "ffprobe")); err != nil {
		return nil, fmt.Errorf("ffprobe is not installed: %w", err)
	}
	return t, nil
}

func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// Check runs both programs without a file. A program that can't be run behind the
// fence, because its libraries are in an unusual place, is found out with it.
func (t *Tools) Check(ctx context.Context) error {
	for _, program := range []string{t.ffmpeg, t.ffprobe} {
		said := newReport()
		spec := sandbox.Spec{Path: program, Args: []string{"-v", "error", "-version"}, Dir: "/", CPU: probeCPU}
		if err := (command{fence: t.fence, spec: spec, stdout: io.Discard, stderr: said}).run(ctx); err != nil {
			return exitError(program, err, said)
		}
	}
	return nil
}

// Limits returns the limits in force.
func (t *Tools) Limits() Limits { return t.limits }

func (l Limits) withDefaults() Limits {
	return Limits{
		MinDuration:     cmp.Or(l.MinDuration, 100*time.Millisecond),
		MaxDuration:     cmp.Or(l.MaxDuration, 6*time.Hour),
		MaxChannels:     cmp.Or(l.MaxChannels, 8),
		MinSampleRateHz: cmp.Or(l.MinSampleRateHz, 8000),
		MaxSampleRateHz: cmp.Or(l.MaxSampleRateHz, 192000),
	}
}
