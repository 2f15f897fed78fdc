package ffmpeg

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// BenchmarkRender compares the CPU time of Render (this process and its child)
// with that of one bare ffmpeg process that makes the same from the same file:
// AAC, Opus, loudness, silences and a mono stream of samples. The metric
// cpu-ratio is to stay below 1.15; cpu-s/min is CPU seconds for a minute of
// stereo sound at 44.1 kHz.
//
// It measures the whole process: run it alone.
func BenchmarkRender(b *testing.B) {
	const minutes = 10
	path := makeFile(b, "long.wav", []string{"-stream_loop", "-1", "-i", "../../testdata/speech.flac"},
		"-t", strconv.Itoa(60*minutes), "-ar", "44100", "-ac", "2", "-c:a", "pcm_s16le")
	tools := newTools(b, Options{})
	var bare, ours time.Duration
	for b.Loop() {
		start := cpuTime(b)
		runBare(b, path)
		middle := cpuTime(b)
		if _, _, err := process(b, tools, path); err != nil {
			b.Fatal(err)
		}
		bare += middle - start
		ours += cpuTime(b) - middle
	}
	b.ReportMetric(ours.Seconds()/bare.Seconds(), "cpu-ratio")
	b.ReportMetric(ours.Seconds()/float64(b.N)/minutes, "cpu-s/min")
}

func runBare(b *testing.B, path string) {
	dir := b.TempDir()
	cmd := exec.Command("ffmpeg", "-nostdin", "-v", "info", "-nostats", "-y", "-i", path, "-filter_complex",
		"[0:a:0]asplit=4[a][o][m][p];[m]ebur128=peak=true:framelog=verbose,silencedetect,anullsink;[p]aformat=channel_layouts=mono[q]",
		"-map", "[a]", "-c:a", "aac", "-aac_coder", "fast", "-b:a", "128k", "-movflags", "+faststart", filepath.Join(dir, "a.m4a"),
		"-map", "[o]", "-c:a", "libopus", "-b:a", "96k", filepath.Join(dir, "a.opus"),
		"-map", "[q]", "-f", "s16le", filepath.Join(dir, "a.pcm"))
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
}

// cpuTime returns the CPU time of this process and of its children so far.
func cpuTime(b *testing.B) time.Duration {
	var sum int64
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		sum += u.Utime.Nano() + u.Stime.Nano()
	}
	return time.Duration(sum)
}
