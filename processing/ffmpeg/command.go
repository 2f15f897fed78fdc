package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"reprise/processing/sandbox"
)

// command is one run of a program behind the fence. Its arguments are ours alone:
// nothing that a user wrote is ever among them.
type command struct {
	fence          *sandbox.Fence
	spec           sandbox.Spec
	stdout, stderr io.Writer
	extra          []*os.File // file descriptors 3 and up
}

// memoryBytes is the address space of a program. ffmpeg takes 0.35 GB to make both
// renditions of 8 channels at 192 kHz, most of it for its libraries and stacks.
const memoryBytes = 2 << 30

// errOverworked is what a program has met that the kernel killed because it had
// computed for as long as it may. That depends on the file alone.
var errOverworked = errors.New("it has used up its CPU time")

// run runs a program to its end. When ctx ends, its process group is killed
// and the cause of the context's end is returned. An exit status of the program
// other than 0 is an *exec.ExitError.
func (c command) run(ctx context.Context) error {
	c.spec.MemoryBytes = memoryBytes
	cmd, err := c.fence.Command(ctx, c.spec)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = c.stdout, c.stderr, c.extra
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !errors.As(err, &exit):
		return err
	case exit.ExitCode() == sandbox.ExitFenced:
		return errors.New("the program could not be started in its sandbox")
	case exit.ExitCode() < 0 && exit.UserTime()+exit.SystemTime() > c.spec.CPU/2: // the kernel has two clocks for it
		return errOverworked
	}
	return err
}

// maxAlloc is the largest piece of memory that a program may ask for. The index
// of a long recording, which is the largest thing in memory, is a tenth of it.
const maxAlloc = "268435456"

// What opens a file, and what decodes its sound, by ffmpeg's names: README.md has
// what that makes of formats.
const (
	demuxers = "wav,w64,mp3,mov,ogg,flac,matroska,aac,amr,aiff,caf"
	decoders = "aac,aac_fixed,alac,amrnb,amrwb,flac,mp1,mp1float,mp2,mp2float,mp3,mp3float,opus,libopus,vorbis,libvorbis," +
		"adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,gsm,gsm_ms,pcm_alaw,pcm_mulaw,pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le," +
		"pcm_s8,pcm_u8,pcm_s16be,pcm_s16le,pcm_s24be,pcm_s24le,pcm_s32be,pcm_s32le"
)

// inputArgs are the options that stand before an input and the input itself.
// The whitelists keep a playlist from being opened as one, and with it other
// files and the network. No more is read to find out what is in the file than
// ffmpeg reads by default.
func inputArgs(path string) []string {
	return []string{
		"-format_whitelist", demuxers, "-protocol_whitelist", "file",
		"-probesize", "5000000", "-analyzeduration", "5000000",
		"-i", "file:" + path,
	}
}

// checkInput makes path absolute and makes sure that it is a regular file, so
// that ffmpeg can't be made to wait on a pipe or to read a device.
func checkInput(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	st, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() {
		return "", errors.New("the input is not a regular file")
	}
	return path, nil
}

// exitError describes a program's failure with what is known of what it said.
func exitError(program string, err error, r *report) error {
	return fmt.Errorf("%s: %w: %s", program, err, r.summary())
}

// limitedBuffer keeps the first max bytes and fails on more.
type limitedBuffer struct {
	data []byte
	max  int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if len(b.data)+len(p) > b.max {
		return 0, errors.New("too much output")
	}
	b.data = append(b.data, p...)
	return len(p), nil
}
