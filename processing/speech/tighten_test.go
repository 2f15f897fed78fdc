package speech

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reprise/recording"
)

func TestTighten(t *testing.T) {
	t.Parallel()
	// Noise that is loud from the first second to 1.3 s, and for a moment before.
	samples := make([]byte, 4*sampleRateHz*sampleBytes)
	for i := range len(samples) / sampleBytes {
		s := int16(20)
		if ms := i / 16; ms >= 1000 && ms < 1300 || ms < 100 {
			s = -3000
		}
		binary.LittleEndian.PutUint16(samples[i*sampleBytes:], uint16(s))
	}
	path := writeTestFile(t, wavHeader(int64(len(samples))), samples)
	for name, tt := range map[string]struct{ heard, want recording.Word }{
		"the pause before":    {recording.Word{Text: "to", StartMs: 0, EndMs: 1300}, recording.Word{Text: "to", StartMs: 1000, EndMs: 1300}},
		"the pause behind":    {recording.Word{Text: "to", StartMs: 1000, EndMs: 3000}, recording.Word{Text: "to", StartMs: 1000, EndMs: 1300}},
		"beyond the end":      {recording.Word{Text: "to", StartMs: 900, EndMs: 9000}, recording.Word{Text: "to", StartMs: 1000, EndMs: 1300}},
		"short":               {recording.Word{Text: "to", StartMs: 800, EndMs: 1300}, recording.Word{Text: "to", StartMs: 800, EndMs: 1300}},
		"a long word":         {recording.Word{Text: "tomorrow", StartMs: 500, EndMs: 1300}, recording.Word{Text: "tomorrow", StartMs: 500, EndMs: 1300}},
		"nothing but noise":   {recording.Word{Text: "to", StartMs: 2000, EndMs: 3000}, recording.Word{Text: "to", StartMs: 2000, EndMs: 3000}},
		"where there is none": {recording.Word{Text: "to", StartMs: 5000, EndMs: 6000}, recording.Word{Text: "to", StartMs: 5000, EndMs: 6000}},
	} {
		segments := []recording.Segment{{StartMs: tt.heard.StartMs, EndMs: tt.heard.EndMs, Text: "to", Words: []recording.Word{tt.heard}}, {Text: "to"}}
		if err := tighten(path, segments); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, segments[0].Words[0]); diff != "" || segments[0].StartMs != tt.want.StartMs || segments[0].EndMs != tt.want.EndMs {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
