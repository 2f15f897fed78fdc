package clients

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ready is what happens to a recording that is accepted.
func ready() []string {
	return []string{
		"upload.created", "upload.received", "processing.completed store", "processing.completed verify",
		"processing.completed probe", "processing.completed transcode", "recording.ready",
	}
}

// format is real speech of 8 seconds in a format that people have.
type format struct {
	name     string // of the file
	filetype string
	args     []string // of ffmpeg
	from     string   // the file it is made from; "" is the speech
}

func formats() []format {
	args := func(args ...string) []string { return args }
	return []format{
		{"speech.wav", "audio/wav", nil, ""},
		{"float.wav", "audio/x-wav", args("-c:a", "pcm_f32le", "-ar", "96000", "-ac", "2"), ""},
		{"speech.mp3", "audio/mpeg", args("-b:a", "96k", "-ar", "44100"), ""},
		{"variable.mp3", "", args("-q:a", "6", "-metadata", "title=ID3"), ""},
		{"speech.m4a", "audio/mp4", args("-movflags", "+faststart"), ""},
		{"moov-last.m4a", "audio/x-m4a", nil, ""},
		{"video.mp4", "video/mp4", args("-f", "lavfi", "-t", "8", "-i", "color=c=red:s=64x64:r=5", "-c:v", "mpeg4", "-c:a", "aac"), ""},
		{"voice.mov", "video/quicktime", args("-c:a", "alac"), ""},
		{"opus.ogg", "audio/ogg", args("-c:a", "libopus", "-b:a", "24k"), ""},
		{"vorbis.ogg", "application/ogg", args("-c:a", "libvorbis"), ""},
		{"speech.flac", "audio/flac", nil, ""},
		{"speech.webm", "audio/webm;codecs=opus", args("-c:a", "libopus"), ""},
		// As a browser's MediaRecorder streams it: without a duration.
		{"live.webm", "audio/webm", args("-c:a", "libopus", "-live", "1"), ""},
		{"speech.aiff", "audio/aiff", nil, ""},
		{"speech.caf", "audio/x-caf", nil, ""},
		{"speech.aac", "audio/aac", nil, ""},
		{"speech.3gp", "video/3gpp", args("-c:a", "aac"), ""},
		{"phone.3gp", "audio/3gpp", args("-c:a", "copy"), "testdata/speech.amr"},
		{"speech.amr", "audio/amr", args("-c:a", "copy"), "testdata/speech.amr"},
		{"wide.amr", "audio/amr-wb", args("-c:a", "copy"), "testdata/speech.awb"},
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	u := s.user(t, "alice")
	w := u.watch(7)
	want := loudnessOf(t, "-t", "8", "-i", speech)
	t.Run("formats", func(t *testing.T) {
		for _, f := range formats() {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				u := u.in(t)
				from := f.from
				if from == "" {
					from = speech
				}
				data := readFile(t, makeAudio(t, f.name, append([]string{"-t", "8", "-i", from}, f.args...)...))
				id, last := u.upload(data, map[string]string{"filename": f.name, "filetype": f.filetype, "sha256": sha256Hex(data)})
				if last.status != http.StatusNoContent {
					t.Fatal(last)
				}
				if diff := cmp.Diff(ready(), describe(w.reached(t, id, "recording.ready"))); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
				u.checkReady(id, want)
				u.checkArtifacts(id)
			})
		}
	})
	w.finish(t, u.recordings())
}

// checkReady checks what is said about a recording of the speech.
func (u user) checkReady(id string, loudness float64) {
	u.t.Helper()
	r := u.recording(id)
	if r.State != "ready" || r.Reason != "" || !near(float64(r.DurationMs), 8000, 200) {
		u.t.Errorf("state %s, reason %q, duration %d ms", r.State, r.Reason, r.DurationMs)
	}
	if got := r.Loudness.IntegratedLUFS; got == nil || !near(*got, loudness, 0.7) {
		u.t.Errorf("integrated loudness is %v LUFS, the source's %v", deref(got), loudness)
	}
	if lra, peak := r.Loudness.RangeLU, r.Loudness.TruePeakDBTP; lra == nil || peak == nil || *lra < 0 || *peak > 3 || *peak < -10 {
		u.t.Errorf("loudness range %v LU, true peak %v dBTP", deref(lra), deref(peak))
	}
	if r.Media.Channels < 1 || r.Media.SampleRateHz < 8000 || r.Media.Codec == "" {
		u.t.Errorf("media: %+v", r.Media)
	}
}

func near(got, want, tolerance float64) bool { return math.Abs(got-want) <= tolerance }

func deref(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}

// checkArtifacts decodes the renditions and reads the peaks.
func (u user) checkArtifacts(id string) {
	u.t.Helper()
	var kinds []string
	for _, a := range u.recording(id).Artifacts {
		kinds = append(kinds, a.Kind)
		got := u.do(http.MethodGet, a.URL, nil)
		if got.status != http.StatusOK || int64(len(got.body)) != a.SizeBytes || got.header.Get("Content-Type") != a.ContentType {
			u.t.Errorf("%s: status %d, %d bytes of %d, %s, want %s", a.Kind, got.status, len(got.body), a.SizeBytes, got.header.Get("Content-Type"), a.ContentType)
		}
		if a.Kind == "aac" || a.Kind == "opus" {
			if d := decodedSeconds(u.t, got.body); !near(d, 8, 0.2) {
				u.t.Errorf("%s decodes to %.3f s", a.Kind, d)
			}
		}
	}
	slices.Sort(kinds)
	if diff := cmp.Diff([]string{"aac", "opus", "peaks.dat", "peaks.json"}, kinds); diff != "" {
		u.t.Errorf("artifacts (-want +got):\n%s", diff)
	}
	u.checkPeaks("/v1/recordings/" + id + "/peaks")
}

// peaks is the waveform in the BBC's format, version 2.
type peaks struct {
	Version         int `json:"version"`
	Channels        int `json:"channels"`
	SampleRate      int `json:"sample_rate"`
	SamplesPerPixel int `json:"samples_per_pixel"`
	Bits            int `json:"bits"`
	Length          int `json:"length"`
	Data            []int
}

// checkPeaks checks that both forms of the waveform say the same, and that it is
// one of 8 seconds of speech.
func (u user) checkPeaks(path string) {
	u.t.Helper()
	p := get[peaks](u, path+"?format=json")
	dat := u.do(http.MethodGet, path+"?format=dat", nil).body
	if len(dat) < 24 {
		u.t.Fatalf("peaks.dat has %d bytes", len(dat))
	}
	field := func(i int) int { return int(binary.LittleEndian.Uint32(dat[4*i:])) }
	binaryPeaks := peaks{Version: field(0), Bits: 16, SampleRate: field(2), SamplesPerPixel: field(3), Length: field(4), Channels: field(5)}
	if field(1)&1 == 1 {
		binaryPeaks.Bits = 8
	}
	for rest := dat[24:]; len(rest) > 0; {
		if binaryPeaks.Bits == 8 {
			binaryPeaks.Data, rest = append(binaryPeaks.Data, int(int8(rest[0]))), rest[1:]
		} else {
			binaryPeaks.Data, rest = append(binaryPeaks.Data, int(int16(binary.LittleEndian.Uint16(rest)))), rest[2:]
		}
	}
	if diff := cmp.Diff(p, binaryPeaks); diff != "" {
		u.t.Errorf("peaks (-json +dat):\n%s", diff)
	}
	if p.Version != 2 || p.Channels != 1 || len(p.Data) != 2*p.Length {
		u.t.Errorf("peaks: version %d, %d channels, %d values for a length of %d", p.Version, p.Channels, len(p.Data), p.Length)
	}
	if d := float64(p.Length*p.SamplesPerPixel) / float64(p.SampleRate); !near(d, 8, 0.2) {
		u.t.Errorf("peaks last %.3f s", d)
	}
	full := float64(int(1) << (p.Bits - 1))
	if high := float64(slices.Max(p.Data)) / full; high < 0.3 || float64(slices.Min(p.Data)) > -0.3*full {
		u.t.Errorf("peaks reach from %d to %d", slices.Min(p.Data), slices.Max(p.Data))
	}
}

// decodedSeconds decodes a file to its end; any complaint is an error.
func decodedSeconds(t *testing.T, data []byte) float64 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rendition")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ffmpeg", "-nostdin", "-v", "warning", "-xerror", "-i", path, "-ac", "1", "-ar", "8000", "-f", "s16le", "-")
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil || complaints.Len() > 0 {
		t.Errorf("decode a rendition: %v: %s", err, &complaints)
	}
	return float64(out.Len()) / 2 / 8000
}

// loudnessOf measures an input of ffmpeg's: integrated loudness in LUFS.
func loudnessOf(t *testing.T, input ...string) float64 {
	t.Helper()
	args := append(append([]string{"-nostdin", "-hide_banner", "-nostats"}, input...), "-af", "ebur128", "-f", "null", "-")
	out, err := exec.Command("ffmpeg", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, out)
	}
	found := regexp.MustCompile(`I: +(-[0-9.]+) LUFS`).FindAllSubmatch(out, -1)
	if len(found) == 0 {
		t.Fatalf("ffmpeg measured nothing: %s", out)
	}
	lufs, err := strconv.ParseFloat(string(found[len(found)-1][1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return lufs
}
