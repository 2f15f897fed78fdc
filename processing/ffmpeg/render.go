package ffmpeg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"reprise/processing/sandbox"
	"reprise/recording"
)

// The names of the renditions in the work folder.
const (
	aacName  = "audio.m4a"
	opusName = "audio.opus"
)

// tooManyErrors is ffmpeg's exit status when the share of packets that do not
// decode is above -max_error_rate. Up to a fifth is taken as it is: somebody's
// story with holes is better than none.
const tooManyErrors = 69

// Result is what one pass over a recording gives.
type Result struct {
	Duration time.Duration // of the decoded samples
	Loudness recording.Loudness
	Silences []recording.Silence // below -50 dBFS for a second or more, in order
	Peaks    *Peaks
	AACPath  string // AAC-LC in MP4, moov first
	OpusPath string // Opus in Ogg
}

// Render decodes a local file once and makes everything of it: both
// renditions, loudness, silences and peaks. Info is what Probe said of the same
// file. Dir is an empty folder that the renditions are written to. Progress, if
// not nil, is called at most twice a second, from another goroutine.
//
// The renditions have one channel or two, hold no metadata of the original,
// and have no gaps in their time: silence that a recorder has left out by time
// stamps only is left out.
func (t *Tools) Render(ctx context.Context, path, dir string, info Info, progress func(Progress)) (Result, error) {
	path, err := checkInput(path)
	if err != nil {
		return Result{}, fmt.Errorf("ffmpeg: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(t.watchdog, func() { cancel(fmt.Errorf("ffmpeg decoded nothing for %s", t.watchdog)) })
	defer watchdog.Stop()

	m, said := t.newMeter(info, progress), newReport()
	m.alive = func() { watchdog.Reset(t.watchdog) }
	m.tooLong = func() {
		r := errTooLong(t.limits)
		r.Decoded = m.duration()
		cancel(r)
	}
	spec, err := t.renderSpec(path, dir, info.Media)
	if err != nil {
		return Result{}, err
	}
	timeline, err := command{fence: t.fence, spec: spec, stdout: m, stderr: said}.runWithTimeline(ctx)
	if err != nil && ctx.Err() != nil {
		return Result{}, err
	}
	// A file may have put the words into ffmpeg's mouth, and a full disk is waited out
	// for as long as it takes.
	said.noRoom = said.noRoom && isFull(dir)
	o := outcome{claimed: info.Claimed, decoded: m.duration(), timeline: timeline, cut: said.endedEarly}
	if err := t.judge(err, o, said); err != nil {
		return Result{}, err
	}
	m.peaks.flush()
	res := Result{Duration: o.decoded, Peaks: m.peaks, AACPath: spec.Write[0], OpusPath: spec.Write[1]}
	res.Loudness, res.Silences = said.finish(o.decoded.Milliseconds())
	return res, nil
}

// fullBytes is how little room a file system has that something didn't fit on: others
// may have freed some meanwhile.
const fullBytes = 64 << 20

func isFull(dir string) bool {
	var st syscall.Statfs_t
	return syscall.Statfs(dir, &st) == nil && uint64(st.Bavail)*uint64(st.Bsize) < fullBytes
}

// renderSpec makes the two files that ffmpeg may write to: it can make no others.
func (t *Tools) renderSpec(path, dir string, media recording.Media) (sandbox.Spec, error) {
	s := sandbox.Spec{
		Path: t.ffmpeg, Args: t.renderArgs(path, media), Dir: dir, Read: []string{path},
		Write: []string{filepath.Join(dir, aacName), filepath.Join(dir, opusName)},
		CPU:   5*time.Minute + t.limits.MaxDuration, // a tenth of that is usual
		// Twice what -fs allows, which ends the writing first.
		FileBytes: 2 * t.maxBytes(2*maxBitsPerChannel),
	}
	for _, name := range s.Write {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return s, fmt.Errorf("ffmpeg: %w", err)
		}
		if err := f.Close(); err != nil {
			return s, err
		}
	}
	return s, nil
}

// maxBitsPerChannel is the highest bit rate that is asked for.
const maxBitsPerChannel = 64_000

// maxBytes bounds the size of a rendition at twice what the longest recording
// needs; the meter stops at its length.
func (t *Tools) maxBytes(bitsPerSecond int) int64 {
	return 1<<20 + 2*int64(t.limits.MaxDuration.Seconds())*int64(bitsPerSecond)/8
}

func (t *Tools) newMeter(info Info, progress func(Progress)) *meter {
	now := time.Now()
	return &meter{
		sampleRateHz: info.Media.SampleRateHz,
		channels:     info.Media.Channels,
		maxFrames:    int64(t.limits.MaxDuration.Seconds() * float64(info.Media.SampleRateHz)),
		total:        info.Total(),
		peaks:        newPeaks(info.Media.SampleRateHz),
		progress:     progress,
		started:      now,
		reported:     now,
	}
}

// judge tells the file's faults from the server's. The work folder's come
// first: a full disk says nothing about the file.
func (t *Tools) judge(err error, o outcome, said *report) error {
	var exit *exec.ExitError
	status := 0
	if errors.As(err, &exit) {
		status = exit.ExitCode()
	}
	switch {
	case said.noRoom:
		return errNoRoom(said)
	case errors.Is(err, errOverworked), status == tooManyErrors, status > 0 && (said.unfit || said.noMemory):
		o.damaged = true
	case err != nil:
		return exitError("ffmpeg", err, said)
	}
	if r := o.reject(t.limits); r != nil {
		r.Decoded = o.decoded
		return r
	}
	return nil
}

func errNoRoom(said *report) error {
	return recording.Wrap(recording.CodeStorageFull, errors.New(said.summary()), "There is no room left to process this recording.")
}

// renderArgs builds the one command line. The graph is split four ways: AAC,
// Opus, the measured samples for the meter, and a copy with the time stamps of
// the file, which goes nowhere but into the progress report.
func (t *Tools) renderArgs(path string, media recording.Media) []string {
	graph := "[0:a:0]asplit=2[stamped][raw];" +
		"[raw]asetpts=N/SR/TB,asplit=3[aac][opus][pcm];" +
		"[pcm]ebur128=peak=true:framelog=verbose,silencedetect=noise=-50dB:d=0.4[measured]"
	channels := min(media.Channels, 2)
	aacRate := renditionRate(media.SampleRateHz)
	// Up to 64 kbit/s a channel, and 4 bits a sample: a low rate needs less, and
	// AAC can't hold more.
	aacBits := channels * min(maxBitsPerChannel, 4*aacRate)
	opusBits := channels * min(48_000, 3*media.SampleRateHz)
	return join(
		[]string{"-hide_banner", "-nostdin", "-nostats", "-v", "info", "-y", "-max_alloc", maxAlloc, "-max_error_rate", "0.2", "-progress", "pipe:3", "-stats_period", "0.5"},
		[]string{"-threads", "1", "-vn", "-sn", "-dn", "-codec_whitelist", decoders}, inputArgs(path),
		[]string{"-filter_complex_threads", "1", "-filter_complex", graph},
		[]string{"-map", "[aac]", "-c:a", "aac", "-aac_coder", "fast"}, t.outputArgs(aacBits, channels),
		[]string{"-ar", strconv.Itoa(aacRate), "-movflags", "+faststart", "-f", "mp4", "file:" + aacName},
		[]string{"-map", "[opus]", "-c:a", "libopus"}, t.outputArgs(opusBits, channels),
		[]string{"-f", "ogg", "file:" + opusName},
		[]string{"-map", "[stamped]", "-f", "null", "-"},
		[]string{"-map", "[measured]", "-c:a", "pcm_s16le", "-ac", strconv.Itoa(media.Channels), "-ar", strconv.Itoa(media.SampleRateHz)},
		[]string{"-f", "s16le", "pipe:1"},
	)
}

// outputArgs are the options that both renditions share.
func (t *Tools) outputArgs(bitsPerSecond, channels int) []string {
	return []string{
		"-b:a", strconv.Itoa(bitsPerSecond), "-ac", strconv.Itoa(channels), "-fs", strconv.FormatInt(t.maxBytes(bitsPerSecond), 10),
		"-map_metadata", "-1", "-map_chapters", "-1",
	}
}

// renditionRate returns the sample rate for AAC: that of the original or the
// next one up that players are sure to have, but no more than 48 kHz.
func renditionRate(sampleRateHz int) int {
	for _, rate := range []int{8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100} {
		if sampleRateHz <= rate {
			return rate
		}
	}
	return 48000
}

func join(lists ...[]string) []string {
	var all []string
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// runWithTimeline runs ffmpeg and returns the time stamp at the end of its
// last sample, which it reports on file descriptor 3.
func (c command) runWithTimeline(ctx context.Context) (time.Duration, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	last := make(chan time.Duration, 1)
	go func() { last <- readTimeline(r) }()
	c.extra = []*os.File{w}
	err = c.run(ctx)
	w.Close() // with ffmpeg's own copy gone too, the scanner comes to the end
	r.SetReadDeadline(time.Now().Add(5 * time.Second))
	return <-last, err
}

// readTimeline reads ffmpeg's progress reports and returns the last time stamp in them.
func readTimeline(r io.Reader) (timeline time.Duration) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), "out_time_us="); ok {
			timeline = max(timeline, time.Duration(min(number(v), maxTimelineMicros))*time.Microsecond)
		}
	}
	return timeline
}

// maxTimelineMicros is a hundred years: more would overflow.
const maxTimelineMicros = 100 * 366 * 24 * 3600 * 1_000_000
