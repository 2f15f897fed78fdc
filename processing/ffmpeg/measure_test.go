package ffmpeg

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reprise/recording"
)

// The EBU's test signal has -23 LUFS by definition (EBU Tech 3341, case 1).
func TestLoudnessOfTestSignal(t *testing.T) {
	t.Parallel()
	path := makeFile(t, "sine.wav", sine, "-c:a", "pcm_s24le")
	_, res, err := process(t, newTools(t, Options{}), path)
	if err != nil {
		t.Fatal(err)
	}
	near := func(name string, got *float64, want float64) {
		if got == nil || math.Abs(*got-want) > 0.1 {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	near("integrated", res.Loudness.IntegratedLUFS, -23)
	near("range", res.Loudness.RangeLU, 0)
	near("true peak", res.Loudness.TruePeakDBTP, -23)
	if len(res.Silences) != 0 {
		t.Errorf("silences %v", res.Silences)
	}
}

func TestDigitalSilence(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "silence.wav", wavOf(1, 16000, make([]int16, 3*16000)))
	_, res, err := process(t, newTools(t, Options{}), path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(recording.Loudness{}, res.Loudness); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]recording.Silence{{StartMs: 0, EndMs: 3000}}, res.Silences); diff != "" {
		t.Error(diff)
	}
}

func TestSilences(t *testing.T) {
	t.Parallel()
	samples := make([]int16, 6*16000)
	for i := range samples {
		if s := i / 16000; s == 0 || s == 3 { // sound in the first and the fourth second
			samples[i] = int16(8000 * math.Sin(float64(i)*2*math.Pi*440/16000))
		}
	}
	path := writeFile(t, "x.wav", wavOf(1, 16000, samples))
	_, res, err := process(t, newTools(t, Options{}), path)
	if err != nil {
		t.Fatal(err)
	}
	want := []recording.Silence{{StartMs: 1000, EndMs: 3000}, {StartMs: 4000, EndMs: 6000}}
	if diff := cmp.Diff(want, res.Silences, cmp.Comparer(func(a, b int64) bool { return max(a, b)-min(a, b) <= 2 })); diff != "" {
		t.Error(diff)
	}
}

// Titles that look like findings are not taken for them, and lines without end
// are not kept.
func TestReportIsNotFooled(t *testing.T) {
	t.Parallel()
	r := newReport()
	for _, line := range []string{
		"    title           : [silencedetect @ 0x1] silence_start: 3",
		"                    : I: -1.0 LUFS",
		"    I: -1.0 LUFS",
		"[Parsed_ebur128_3 @ 0x1] Summary:", "",
		"    I:         -70.0 LUFS", "    LRA:         0.0 LU", "    Peak:       -inf dBFS",
		"[Parsed_ebur128_3 @ 0x1] Summary:", "",
		"    I:         -21.1 LUFS", "    Threshold: -31.1 LUFS", "    LRA:         4.5 LU", "    LRA low:   -21.1 LUFS", "    Peak:       -1.5 dBFS",
		"[silencedetect @ 0x2] silence_start: -0.01",
		"[silencedetect @ 0x2] silence_end: 1.25 | silence_duration: 1.26",
		"[silencedetect @ 0x2] silence_end: 9 | silence_duration: nonsense",
		"[silencedetect @ 0x2] silence_start: nan",
		strings.Repeat("x", 1<<20),
	} {
		fmt.Fprintln(r, line)
	}
	loudness, silences := r.finish(10_000)
	f := func(v float64) *float64 { return &v }
	if diff := cmp.Diff(recording.Loudness{IntegratedLUFS: f(-21.1), RangeLU: f(4.5), TruePeakDBTP: f(-1.5)}, loudness); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]recording.Silence{{StartMs: 0, EndMs: 1250}}, silences); diff != "" {
		t.Error(diff)
	}
	if n := len(r.summary()); n > 1000 || cap(r.line) > 2*maxReportLine {
		t.Errorf("%d bytes kept, buffer of %d", n, cap(r.line))
	}
}

// What errors repeat of a program's words are words of ours, whatever it quotes.
func TestReportRepeatsNothingOfTheFile(t *testing.T) {
	t.Parallel()
	r := newReport()
	for _, line := range []string{
		"[matroska,webm @ 0x1] Unknown EBML doctype 'my secret'",
		"my secret: No space left on device", "my secret: No space left on device",
		"[matroska,webm @ 0x1] Unknown/unsupported AVCodecID my secret.",
		"file:/tmp/my secret: Invalid data found when processing input",
		strings.Repeat("secret ", 100_000),
	} {
		fmt.Fprintln(r, line)
	}
	if got, want := r.summary(), "it said: No space left on device | Invalid data found when processing input"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Golden bytes, computed by hand: 600 samples in two channels make two whole
// points and a partial one.
func TestPeaksOfKnownFile(t *testing.T) {
	t.Parallel()
	samples := make([]int16, 2*600)
	set := func(i int, left, right int16) { samples[2*i], samples[2*i+1] = left, right }
	set(0, 32767, 32767)     // 32767/256 = 127
	set(100, -32768, -1)     // sum/2 = -16384 → -64
	set(255, -512, -1023)    // sum/2 = -767 → -2, truncated toward zero
	set(256, -255, -255)     // -255/256 = 0
	set(300, 1000, 1024)     // 1012/256 = 3
	set(599, -32768, -32768) // → -128
	path := writeFile(t, "known.wav", wavOf(2, 44100, samples))
	_, res, err := process(t, newTools(t, Options{Limits: Limits{MinDuration: time.Millisecond}}), path)
	if err != nil {
		t.Fatal(err)
	}
	want := "02000000" + "01000000" + "44ac0000" + "00010000" + "03000000" + "01000000" + "c07f" + "0003" + "8000"
	if got := hex.EncodeToString(res.Peaks.Binary()); got != want {
		t.Errorf("binary\n got %s\nwant %s", got, want)
	}
	got, err := res.Peaks.JSON()
	if err != nil {
		t.Fatal(err)
	}
	wantJSON := `{"version":2,"channels":1,"sample_rate":44100,"samples_per_pixel":256,"bits":8,"length":3,"data":[-64,127,0,3,-128,0]}`
	if string(got) != wantJSON || !json.Valid(got) {
		t.Errorf("JSON\n got %s\nwant %s", got, wantJSON)
	}
}

// Halving the resolution on the way gives what computing at the final
// resolution gives.
func TestPeaksHalvedEqualPeaksDirect(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 256, 8*256 - 1, 8 * 256, 8*256 + 1, 16*256 + 1, 100_000} {
		samples := make([]int16, n)
		rnd := rand.New(rand.NewPCG(1, uint64(n)))
		for i := range samples {
			samples[i] = int16(rnd.Uint32())
		}
		p := newPeaks(8000)
		p.maxPoints = 8
		for _, s := range samples {
			p.add(s)
		}
		p.flush()
		if len(p.Data) > 2*p.maxPoints {
			t.Errorf("%d samples: %d points", n, len(p.Data)/2)
		}
		if diff := cmp.Diff(directPeaks(samples, p.SamplesPerPixel), p.Data); diff != "" {
			t.Errorf("%d samples: %s", n, diff)
		}
	}
}

func directPeaks(samples []int16, perPixel int) []int8 {
	var data []int8
	for len(samples) > 0 {
		n := min(perPixel, len(samples))
		low, high := samples[0], samples[0]
		for _, s := range samples[:n] {
			low, high = min(low, s), max(high, s)
		}
		data = append(data, int8(low/256), int8(high/256))
		samples = samples[n:]
	}
	return data
}

// The meter counts the same whatever the sizes of its writes are.
func TestMeterInPieces(t *testing.T) {
	t.Parallel()
	for _, channels := range []int{1, 2, 3, 8} {
		samples := make([]int16, channels*1000)
		for i := range samples {
			samples[i] = int16(rand.Uint32())
		}
		pcm := wavOf(channels, 8000, samples)[44:]
		var want []int8
		for _, size := range []int{len(pcm), 1, 3, 7, 4096} {
			m := newTools(t, Options{}).newMeter(Info{Media: recording.Media{SampleRateHz: 8000, Channels: channels}}, nil)
			m.alive, m.tooLong = func() {}, func() { t.Error("too long") }
			for rest := pcm; len(rest) > 0; {
				n := min(size, len(rest))
				m.Write(rest[:n])
				rest = rest[n:]
			}
			m.peaks.flush()
			if want == nil {
				want = m.peaks.Data
			}
			if m.frames != 1000 || m.duration() != 125*time.Millisecond || !cmp.Equal(want, m.peaks.Data) {
				t.Errorf("%d channels in pieces of %d: %d frames", channels, size, m.frames)
			}
		}
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	path := makeFile(t, "long.wav", []string{"-stream_loop", "4", "-i", "../../testdata/speech.flac"}, "-ar", "48000", "-ac", "2")
	info, err := tools.Probe(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	var seen []Progress
	if _, err := tools.Render(t.Context(), path, t.TempDir(), info, func(p Progress) { seen = append(seen, p) }); err != nil {
		t.Fatal(err)
	}
	if len(seen) < 2 {
		t.Fatalf("%d reports", len(seen))
	}
	for i, p := range seen {
		if p.Percent < 0 || p.Percent > 100 || p.Speed <= 0 || p.Remaining < 0 || i > 0 && p.Percent < seen[i-1].Percent {
			t.Errorf("report %d: %+v", i, p)
		}
	}
}
