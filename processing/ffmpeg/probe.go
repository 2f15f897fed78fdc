package ffmpeg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"reprise/processing/sandbox"
	"reprise/recording"
)

const (
	probeTimeout   = 2 * time.Minute // ffprobe reads 5 MB at most of a sane file
	probeCPU       = time.Minute
	maxProbeOutput = 64 << 10
)

// Info is what a file's header says. Only Render knows whether it is true.
type Info struct {
	// Media describes the first audio stream. DurationMs is Claimed or else
	// Estimated.
	Media recording.Media
	// Claimed is the duration that the header declares; 0 if it declares none, as
	// in a stream from a browser, or if ffprobe only guesses it.
	Claimed time.Duration
	// Estimated is a guess from the size and the bit rate, good for a progress
	// bar; 0 if Claimed is known or nothing can be guessed.
	Estimated time.Duration
}

// Total returns the duration to expect, or 0.
func (i Info) Total() time.Duration { return max(i.Claimed, i.Estimated) }

// Probe reads the header of a local file and checks it against the limits: the
// duration as far as the header claims one, or the size of the file proves it.
func (t *Tools) Probe(ctx context.Context, path string) (Info, error) {
	path, err := checkInput(path)
	if err != nil {
		return Info{}, fmt.Errorf("ffprobe: %w", err)
	}
	s, err := checkStructure(path)
	if err != nil {
		return Info{}, fmt.Errorf("read the structure of the file: %w", err)
	}
	if r := s.reject(); r != nil {
		return Info{}, r
	}
	probed, report, err := t.probe(ctx, path)
	if err != nil {
		return Info{}, err
	}
	info, err := probed.info(report)
	if err != nil {
		return Info{}, err
	}
	if exact := s.known && strings.HasPrefix(info.Media.Codec, "pcm_"); exact && info.Total() > t.limits.MaxDuration {
		return Info{}, errTooLong(t.limits)
	}
	if err := t.limits.check(info.Media); err != nil {
		return info, err
	}
	return info, t.limits.checkClaim(info.Claimed, s.size)
}

// probeOutput is the part of ffprobe's JSON that is asked for.
type probeOutput struct {
	Format struct {
		Name     string `json:"format_name"`
		Streams  int    `json:"nb_streams"`
		Duration string `json:"duration"`
		BitRate  string `json:"bit_rate"`
	} `json:"format"`
	Streams []struct {
		Codec      string `json:"codec_name"`
		SampleRate string `json:"sample_rate"`
		Channels   int    `json:"channels"`
		Duration   string `json:"duration"`
		BitRate    string `json:"bit_rate"`
	} `json:"streams"`
}

func (t *Tools) probe(ctx context.Context, path string) (probeOutput, *report, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	out, said := &limitedBuffer{max: maxProbeOutput}, newReport()
	args := append([]string{
		"-v", "warning", "-hide_banner", "-max_alloc", maxAlloc, "-of", "json", "-select_streams", "a:0",
		"-show_entries", "format=format_name,nb_streams,duration,bit_rate:stream=codec_name,sample_rate,channels,duration,bit_rate",
		// Pictures are neither decoded nor given memory. Only the sound has a
		// whitelist, because ffprobe opens the decoders of all streams.
		"-threads", "1", "-codec_whitelist:a", decoders, "-skip_frame:v", "all", "-max_pixels:v", "1",
	}, inputArgs(path)...)
	spec := sandbox.Spec{Path: t.ffprobe, Args: args, Dir: "/", Read: []string{path}, CPU: probeCPU}
	err := command{fence: t.fence, spec: spec, stdout: out, stderr: said}.run(ctx)
	var exit *exec.ExitError
	switch {
	case errors.Is(err, errOverworked), said.noMemory:
		return probeOutput{}, nil, errDamaged()
	case err != nil && said.refused: // the server's doing, not the file's
		return probeOutput{}, nil, exitError("ffprobe", err, said)
	case errors.As(err, &exit) && exit.Exited() && said.noIndex:
		return probeOutput{}, nil, errTruncated()
	case errors.As(err, &exit) && exit.Exited() && said.otherCodec:
		return probeOutput{}, nil, errCodec()
	case errors.As(err, &exit) && exit.Exited():
		return probeOutput{}, nil, reject(recording.ReasonNotAudio, "The file is not audio in a format that is known here.")
	case err != nil:
		return probeOutput{}, nil, exitError("ffprobe", err, said)
	}
	var p probeOutput
	if err := json.Unmarshal(out.data, &p); err != nil {
		return probeOutput{}, nil, fmt.Errorf("ffprobe: read its output: %w", err)
	}
	return p, said, nil
}

func (p probeOutput) info(said *report) (Info, error) {
	if len(p.Streams) == 0 {
		return Info{}, reject(recording.ReasonNoAudioStream, "The file has no sound in it.")
	}
	s := p.Streams[0]
	rate, _ := strconv.Atoi(s.SampleRate)
	if rate <= 0 || s.Channels <= 0 { // ffprobe decodes a few packets to find out
		return Info{}, reject(recording.ReasonNotAudio, "The file looks like audio, but no sound is found in it.")
	}
	if s.Codec == "" || s.Codec == "unknown" {
		return Info{}, errCodec()
	}
	info := Info{Media: recording.Media{Container: p.Format.Name, Codec: s.Codec, SampleRateHz: rate, Channels: s.Channels}}
	if info.Media.BitRate = number(s.BitRate); info.Media.BitRate == 0 {
		info.Media.BitRate = number(p.Format.BitRate)
	}
	claimed := seconds(s.Duration)
	if claimed == 0 && p.Format.Streams == 1 { // else it may be that of a video
		claimed = seconds(p.Format.Duration)
	}
	// Ogg has no duration in its header: it is read from the last page there is.
	if said.estimated || p.Format.Name == "ogg" {
		info.Estimated = claimed
	} else {
		info.Claimed = claimed
	}
	info.Media.DurationMs = claimed.Milliseconds()
	return info, nil
}

func (l Limits) check(m recording.Media) error {
	switch {
	case m.Channels > l.MaxChannels:
		return reject(recording.ReasonUnsupportedChannels, "The recording has %d channels; at most %d are accepted.", m.Channels, l.MaxChannels)
	case m.SampleRateHz < l.MinSampleRateHz || m.SampleRateHz > l.MaxSampleRateHz:
		return reject(recording.ReasonUnsupportedSampleRate, "The recording has a sample rate of %d Hz; accepted are %d to %d Hz.",
			m.SampleRateHz, l.MinSampleRateHz, l.MaxSampleRateHz)
	}
	return nil
}

// number reads a number of ffprobe's; what it does not know is "N/A".
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return max(0, n)
}

// seconds reads a duration of ffprobe's, up to a hundred years.
func seconds(s string) time.Duration {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f > 0) {
		return 0
	}
	const century = 100 * 366 * 24 * 3600
	return time.Duration(min(f, century) * float64(time.Second))
}
