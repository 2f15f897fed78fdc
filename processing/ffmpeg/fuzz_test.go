package ffmpeg

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"reprise/recording"
)

// The structure of any file is walked to an end, and never blames one that declares
// nothing.
func FuzzStructure(f *testing.F) {
	for _, seed := range []string{
		"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data\x10\x00\x00\x00\x00\x00",
		"RF64\xff\xff\xff\xffWAVEds64\x1c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\x7fdata\xff\xff\xff\xff",
		"caff\x00\x01\x00\x00desc\x00\x00\x00\x00\x00\x00\x00\x20", "caff\x00\x01\x00\x00data\x7f\xff\xff\xff\xff\xff\xff\xff", "caff\x00\x01\x00\x00free\x7f\xff\xff\xff\xff\xff\xff\xff",
		"\x00\x00\x00\x10ftypM4A \x00\x00\x00\x00\x00\x00\x00\x01mdat\x7f\xff\xff\xff\xff\xff\xff\xff", "\x00\x00\x00\x01free\xff\xff\xff\xff\xff\xff\xff\xff",
		"OggS\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xff", "#!AMR\n\x3c\x00", "#!AMR-WB\n\x7c\x00", "\xff\xf1\x50\x80\x00\x1f\xfc\x00\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := checkStructure(path)
		if err != nil {
			t.Fatalf("%v: the file was there and could be read", err)
		}
		if s.present < 0 || s.declared < 0 || s.present > int64(len(data)) {
			t.Fatalf("of %d bytes: %+v", len(data), s)
		}
		if s.declared == 0 && !s.cut && s.reject() != nil {
			t.Fatalf("%+v is rejected", s)
		}
	})
}

// Whatever a program says on stderr, in whatever pieces, memory is bounded, findings make
// sense, and what is repeated are our own words.
func FuzzReport(f *testing.F) {
	f.Add([]byte("[silencedetect @ 0x2] silence_start: -0.01\n[silencedetect @ 0x2] silence_end: 1.25 | silence_duration: 1.26\n"), uint8(3))
	f.Add([]byte("[Parsed_ebur128_3 @ 0x1] Summary:\n    I:         -21.1 LUFS\n    LRA:         4.5 LU\n    Peak:       -1.5 dBFS\n"), uint8(200))
	f.Add([]byte("[mov @ 0x1] moov atom not found\r\nx: No space left on device\n  title : x\n"), uint8(1))
	f.Add([]byte("    I: NaN LUFS\n    I: 1e999 LUFS\n[silencedetect] silence_start: 1e308\n"), uint8(9))
	f.Fuzz(func(t *testing.T, text []byte, piece uint8) {
		r := newReport()
		for p := range slices.Chunk(text, int(piece)+1) {
			if n, err := r.Write(p); n != len(p) || err != nil {
				t.Fatalf("%d of %d bytes taken: %v", n, len(p), err)
			}
		}
		if cap(r.line) > 2*maxReportLine || len(r.last) > maxReportLines {
			t.Fatalf("%d bytes and %d lines are kept", cap(r.line), len(r.last))
		}
		for said := range strings.SplitSeq(strings.TrimPrefix(r.summary(), "it said: "), " | ") {
			if len(r.last) > 0 && !slices.Contains(knownPhrases(), said) {
				t.Fatalf("it repeats %q", said)
			}
		}
		loudness, silences := r.finish(10_000)
		if _, err := json.Marshal(loudness); err != nil {
			t.Fatal(err)
		}
		for _, s := range silences {
			if s.StartMs < 0 || s.EndMs > 10_000 {
				t.Fatalf("silence from %d to %d ms", s.StartMs, s.EndMs)
			}
		}
	})
}

// ffprobe's answer is understood or rejected, and gives no number that makes no sense.
func FuzzProbeOutput(f *testing.F) {
	f.Add([]byte(`{"format":{"format_name":"wav","nb_streams":1,"duration":"1.5","bit_rate":"N/A"},"streams":[{"codec_name":"pcm_s16le","sample_rate":"8000","channels":1,"duration":"1e300"}]}`), true)
	f.Add([]byte(`{"streams":[{"codec_name":"unknown","sample_rate":"-1","channels":-1}]}`), false)
	f.Add([]byte(`{"format":{"format_name":"ogg","duration":"NaN","bit_rate":"99999999999999999999"},"streams":[{"codec_name":"opus","sample_rate":"48000","channels":2,"bit_rate":"-5"}]}`), false)
	f.Fuzz(func(t *testing.T, text []byte, estimated bool) {
		var p probeOutput
		if json.Unmarshal(text, &p) != nil {
			return
		}
		info, err := p.info(&report{estimated: estimated})
		if err != nil {
			if _, ok := err.(*recording.Rejection); !ok {
				t.Fatalf("%v is no rejection", err)
			}
			return
		}
		if m := info.Media; m.SampleRateHz <= 0 || m.Channels <= 0 || m.BitRate < 0 || m.DurationMs < 0 || info.Claimed < 0 || info.Estimated < 0 {
			t.Fatalf("%+v", info)
		}
	})
}

func FuzzTimeline(f *testing.F) {
	f.Add([]byte("frame=1\nout_time_us=1500000\nprogress=continue\nout_time_us=N/A\n"))
	f.Add([]byte("out_time_us=9223372036854775807\nout_time_us=-1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if at := readTimeline(bytes.NewReader(text)); at < 0 || at.Hours() > math.MaxInt32 {
			t.Fatalf("the time line ends at %v", at)
		}
	})
}
