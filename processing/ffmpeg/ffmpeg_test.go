package ffmpeg

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"reprise/processing/sandbox"
	"reprise/recording"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	dir, err := os.MkdirTemp("", "formats-*")
	if err != nil {
		panic(err)
	}
	made.dir = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// made holds the files of every format, which tests share.
var made struct {
	dir   string
	mu    sync.Mutex
	files map[string]string
}

// speechSeconds of it, mono, 16 kHz.
const speechSeconds = 6

var speech = []string{"-t", "6", "-i", "../../testdata/speech.flac"}

// sine is the EBU's test signal: a stereo sine of 1 kHz, -23 dBFS peak.
var sine = []string{"-f", "lavfi", "-i", "aevalsrc='pow(10,-23/20)*sin(2*PI*1000*t)|pow(10,-23/20)*sin(2*PI*1000*t)':s=48000:d=20"}

// makeFile runs the bare ffmpeg for a file to test with.
func makeFile(tb testing.TB, name string, input []string, args ...string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	all := append(append([]string{"-v", "error", "-nostdin", "-y"}, input...), args...)
	cmd := exec.Command("ffmpeg", append(all, path)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("make %s: %v\n%s", name, err, out)
	}
	return path
}

func writeFile(tb testing.TB, name string, data []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func readFile(tb testing.TB, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// cut keeps the first share of a file.
func cut(tb testing.TB, path string, share float64) string {
	data := readFile(tb, path)
	return writeFile(tb, filepath.Base(path), data[:int(float64(len(data))*share)])
}

// fence is one for all tests.
var fence = sync.OnceValues(func() (*sandbox.Fence, error) { return sandbox.New(context.Background()) })

func newTools(tb testing.TB, o Options) *Tools {
	tb.Helper()
	var err error
	if o.Fence, err = fence(); err != nil {
		tb.Fatal(err)
	}
	tools, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return tools
}

// process probes and renders a file.
func process(tb testing.TB, tools *Tools, path string) (Info, Result, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	info, err := tools.Probe(ctx, path)
	if err != nil {
		return info, Result{}, err
	}
	res, err := tools.Render(ctx, path, tb.TempDir(), info, nil)
	return info, res, err
}

func wantReason(tb testing.TB, err error, want ...recording.Reason) {
	tb.Helper()
	var r *recording.Rejection
	if !errors.As(err, &r) {
		tb.Fatalf("got %v, want a rejection: %v", err, want)
	}
	if !strings.HasSuffix(r.Detail, ".") {
		tb.Errorf("detail is no sentence: %q", r.Detail)
	}
	for _, w := range want {
		if r.Reason == w {
			return
		}
	}
	tb.Fatalf("rejected as %v, want %v", r, want)
}

// amr makes an AMR file of noise: there is no encoder for it, but every pattern
// of bits decodes.
func amr(frames int) []byte {
	data := []byte("#!AMR\n")
	x := uint32(1)
	for range frames {
		data = append(data, 7<<3|4) // 12.2 kbit/s, good quality
		for range 31 {
			x = x*1664525 + 1013904223
			data = append(data, byte(x>>24))
		}
	}
	return data
}

type format struct {
	name      string
	input     []string // default: speech
	args      []string
	container string
	codec     string
	exact     bool // the header tells the duration
}

func formats(tb testing.TB) []format {
	amrFile := writeFile(tb, "noise.amr", amr(50*speechSeconds))
	return []format{
		{name: "wav", container: "wav", codec: "pcm_s16le", exact: true},
		{name: "24bit.wav", args: []string{"-c:a", "pcm_s24le"}, container: "wav", codec: "pcm_s24le", exact: true},
		{name: "adpcm.wav", args: []string{"-c:a", "adpcm_ima_wav"}, container: "wav", codec: "adpcm_ima_wav", exact: true},
		{name: "mp3", args: []string{"-b:a", "64k"}, container: "mp3", codec: "mp3", exact: true},
		{name: "vbr.mp3", args: []string{"-q:a", "6"}, container: "mp3", codec: "mp3", exact: true},
		{name: "bare.mp3", args: []string{"-write_xing", "0", "-id3v2_version", "0"}, container: "mp3", codec: "mp3"},
		{name: "m4a", container: "mov,mp4,m4a,3gp,3g2,mj2", codec: "aac", exact: true},
		{name: "front.m4a", args: []string{"-movflags", "+faststart"}, container: "mov,mp4,m4a,3gp,3g2,mj2", codec: "aac", exact: true},
		{name: "alac.m4a", args: []string{"-c:a", "alac"}, container: "mov,mp4,m4a,3gp,3g2,mj2", codec: "alac", exact: true},
		{name: "fragments.mp4", args: []string{"-movflags", "frag_keyframe+empty_moov", "-frag_duration", "1000000"}, container: "mov,mp4,m4a,3gp,3g2,mj2", codec: "aac", exact: true},
		{name: "opus", container: "ogg", codec: "opus"},
		{name: "ogg", args: []string{"-c:a", "libvorbis"}, container: "ogg", codec: "vorbis"},
		{name: "flac", container: "flac", codec: "flac", exact: true},
		{name: "webm", container: "matroska,webm", codec: "opus", exact: true},
		{name: "vorbis.webm", args: []string{"-c:a", "libvorbis"}, container: "matroska,webm", codec: "vorbis", exact: true},
		{name: "live.webm", args: []string{"-live", "1"}, container: "matroska,webm", codec: "opus"},
		{name: "3gp", args: []string{"-c:a", "aac"}, container: "mov,mp4,m4a,3gp,3g2,mj2", codec: "aac", exact: true},
		{name: "amr.3gp", input: []string{"-i", amrFile}, args: []string{"-c:a", "copy"}, container: "mov,mp4,m4a,3gp,3g2,mj2", codec: "amr_nb", exact: true},
		{name: "amr", input: []string{"-i", amrFile}, args: []string{"-c:a", "copy"}, container: "amr", codec: "amr_nb"},
		{name: "aiff", container: "aiff", codec: "pcm_s16be", exact: true},
		{name: "caf", container: "caf", codec: "pcm_s16be"},
		{name: "aac", container: "aac", codec: "aac"},
	}
}

// make makes the file, or returns the one that was made before.
func (f format) make(tb testing.TB) string {
	made.mu.Lock()
	defer made.mu.Unlock()
	path, ok := made.files[f.name]
	if ok {
		return path
	}
	input, name := f.input, f.name
	if input == nil {
		input = speech
	}
	if !strings.Contains(name, ".") {
		name = "recording." + name
	}
	path = filepath.Join(made.dir, name)
	if err := os.Rename(makeFile(tb, name, input, f.args...), path); err != nil {
		tb.Fatal(err)
	}
	if made.files == nil {
		made.files = map[string]string{}
	}
	made.files[f.name] = path
	return path
}

// fileOf returns the file of a format.
func fileOf(tb testing.TB, name string) string {
	tb.Helper()
	for _, f := range formats(tb) {
		if f.name == name {
			return f.make(tb)
		}
	}
	tb.Fatalf("no format %s", name)
	return ""
}
