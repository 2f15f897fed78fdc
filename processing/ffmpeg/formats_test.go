package ffmpeg

import (
	"math"
	"testing"
	"time"

	"reprise/recording"
)

func TestEveryFormat(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	for _, f := range formats(t) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			path := f.make(t)
			info, res, err := process(t, tools, path)
			if err != nil {
				t.Fatal(err)
			}
			m := info.Media
			if m.Container != f.container || m.Codec != f.codec || m.Channels != 1 || m.SampleRateHz < 8000 {
				t.Errorf("probed %+v, want %s in %s", m, f.codec, f.container)
			}
			if (info.Claimed > 0) != f.exact {
				t.Errorf("claimed %s, estimated %s", info.Claimed, info.Estimated)
			}
			if d := res.Duration - speechSeconds*time.Second; d.Abs() > 150*time.Millisecond {
				t.Errorf("decoded %s, want %d s", res.Duration, speechSeconds)
			}
			checkRenditions(t, tools, res)
		})
	}
}

// checkRenditions makes sure that the renditions are what they are said to be.
func checkRenditions(t *testing.T, tools *Tools, res Result) {
	t.Helper()
	for path, want := range map[string]string{res.AACPath: "aac", res.OpusPath: "opus"} {
		info, err := tools.Probe(t.Context(), path)
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		if info.Media.Codec != want || (info.Total()-res.Duration).Abs() > 150*time.Millisecond {
			t.Errorf("%s rendition: %+v, the original has %s", want, info, res.Duration)
		}
	}
	if data := readFile(t, res.AACPath); string(data[36:40]) != "moov" && string(data[32:36]) != "moov" {
		t.Errorf("moov is not the first box after ftyp: %q", data[:48])
	}
	if l := res.Loudness; l.IntegratedLUFS == nil || l.TruePeakDBTP == nil || *l.IntegratedLUFS < -40 || *l.IntegratedLUFS > -5 {
		t.Errorf("loudness %+v", l)
	}
}

// Streams whose writer could not go back to fill in a size are whole.
func TestStreamedHeaders(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	wav := readFile(t, fileOf(t, "wav"))
	data := dataChunk(t, wav)
	for name, size := range map[string]uint32{"zero": 0, "max": math.MaxUint32, "signed": math.MaxInt32} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := writeFile(t, "streamed.wav", patch32(wav, data, size))
			_, res, err := process(t, tools, path)
			if err != nil || res.Duration != speechSeconds*time.Second {
				t.Fatalf("got %s, %v", res.Duration, err)
			}
		})
	}
}

// A recorder that pauses leaves a gap in the time stamps.
func TestGapsAreNotMissing(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	for _, name := range []string{"gap.webm", "gap.m4a"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := makeFile(t, name, speech, "-af", "aselect='lt(t,1)+gt(t,3)'")
			info, res, err := process(t, tools, path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Claimed < 5900*time.Millisecond || (res.Duration-4*time.Second).Abs() > 200*time.Millisecond {
				t.Errorf("claimed %s, decoded %s", info.Claimed, res.Duration)
			}
			checkRenditions(t, tools, res)
		})
	}
}

func TestManyChannelsAndRates(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	for _, c := range []struct {
		name           string
		channels, rate int
		want           recording.Reason
	}{
		{"stereo", 2, 44100, ""},
		{"three", 3, 11000, ""},
		{"seven", 7, 48000, ""},
		{"eight at the highest rate", 8, 192000, ""},
		{"nine", 9, 48000, recording.ReasonUnsupportedChannels},
		{"too slow", 1, 4000, recording.ReasonUnsupportedSampleRate},
		{"too fast", 1, 384000, recording.ReasonUnsupportedSampleRate},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := writeFile(t, "x.wav", wavOf(c.channels, c.rate, make([]int16, c.channels*c.rate/4)))
			info, res, err := process(t, tools, path)
			if c.want != "" {
				wantReason(t, err, c.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if info.Media.Channels != c.channels || info.Media.SampleRateHz != c.rate || res.Duration != 250*time.Millisecond {
				t.Errorf("%+v, %s", info.Media, res.Duration)
			}
		})
	}
}

// A video's cover or picture is ignored, its sound is taken.
func TestVideoWithSound(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	picture := []string{"-f", "lavfi", "-i", "testsrc=d=2:s=64x64"}
	for name, path := range map[string]string{
		"video": makeFile(t, "v.mp4", append(picture, speech...), "-c:v", "mpeg4", "-c:a", "aac"),
		"cover": makeFile(t, "c.m4a", append(picture, speech...), "-map", "1", "-map", "0", "-frames:v", "1", "-c:v", "mjpeg", "-disposition:v", "attached_pic"),
	} {
		_, res, err := process(t, tools, path)
		if err != nil || (res.Duration-speechSeconds*time.Second).Abs() > 150*time.Millisecond {
			t.Errorf("%s: %s, %v", name, res.Duration, err)
		}
	}
	silent := makeFile(t, "silent.mp4", picture, "-c:v", "mpeg4", "-an")
	_, _, err := process(t, tools, silent)
	wantReason(t, err, recording.ReasonNoAudioStream)
}

func TestRenditionsHoldNoMetadata(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	path := makeFile(t, "tagged.m4a", speech, "-metadata", "title=Grandmother's secret", "-metadata", "comment=48.8566,2.3522")
	_, res, err := process(t, tools, path)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{res.AACPath, res.OpusPath} {
		for _, secret := range []string{"Grandmother", "48.8566"} {
			if containsBytes(readFile(t, p), secret) {
				t.Errorf("%s holds %q", p, secret)
			}
		}
	}
}
