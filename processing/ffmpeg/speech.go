package ffmpeg

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"reprise/processing/sandbox"
)

// SpeechRateHz is the sample rate of what Speech writes, and what speech engines take.
const SpeechRateHz = 16_000

// speechName is the file's name in the work folder.
const speechName = "speech.wav"

// Speech decodes a local file that Render has accepted into a WAV file in dir for
// speech engines: one channel, 16 kHz, 16 bit, on the time line of the renditions. It
// returns its path. Samples behind the longest duration are left out.
func (t *Tools) Speech(ctx context.Context, path, dir string) (string, error) {
	path, err := checkInput(path)
	if err != nil {
		return "", fmt.Errorf("ffmpeg: %w", err)
	}
	out := filepath.Join(dir, speechName)
	f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("ffmpeg: %w", err)
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	said := newReport()
	spec := sandbox.Spec{
		Path: t.ffmpeg, Dir: dir, Read: []string{path}, Write: []string{out},
		Args: join(
			[]string{"-hide_banner", "-nostdin", "-nostats", "-v", "error", "-y", "-max_alloc", maxAlloc, "-max_error_rate", "0.2"},
			[]string{"-threads", "1", "-vn", "-sn", "-dn", "-codec_whitelist", decoders}, inputArgs(path),
			[]string{"-map", "0:a:0", "-af", "asetpts=N/SR/TB", "-ac", "1", "-ar", strconv.Itoa(SpeechRateHz), "-c:a", "pcm_s16le"},
			[]string{"-map_metadata", "-1", "-fflags", "+bitexact", "-t", strconv.FormatFloat(t.limits.MaxDuration.Seconds(), 'f', 3, 64)},
			[]string{"-f", "wav", "file:" + speechName},
		),
		CPU:       5*time.Minute + t.limits.MaxDuration,
		FileBytes: 1<<20 + 2*SpeechRateHz*int64(t.limits.MaxDuration.Seconds()+1),
	}
	if err := (command{fence: t.fence, spec: spec, stdout: io.Discard, stderr: said}).run(ctx); err != nil {
		if said.noRoom && isFull(dir) {
			return "", errNoRoom(said)
		}
		return "", exitError("ffmpeg", err, said)
	}
	return out, nil
}
