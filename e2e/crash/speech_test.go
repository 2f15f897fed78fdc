package crash

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os/exec"
	"sync"
	"testing"
)

const (
	speechFile = "../../testdata/speech.flac"
	speechRate = 16000
)

var speech struct {
	once    sync.Once
	samples []int16 // mono, at speechRate
	err     error
}

// wav returns a WAV file of real speech: seconds long from a sample on, stereo
// of 16 bit, the sample rate upsampled times speechRate. Files from different
// samples differ.
func wav(t *testing.T, from, seconds, upsampled int) []byte {
	t.Helper()
	speech.once.Do(func() {
		out, err := exec.Command("ffmpeg", "-v", "error", "-i", speechFile, "-f", "s16le", "-ac", "1", "-ar", fmt.Sprint(speechRate), "-").Output()
		if err != nil {
			speech.err = fmt.Errorf("decode the speech: %w", err)
			return
		}
		speech.samples = make([]int16, len(out)/2)
		speech.err = binary.Read(bytes.NewReader(out), binary.LittleEndian, speech.samples)
	})
	if speech.err != nil {
		t.Fatal(speech.err)
	}
	const frame = 4 // bytes: two channels of 16 bit
	rate := speechRate * upsampled
	size := seconds * rate * frame
	var b bytes.Buffer
	b.Grow(44 + size)
	b.WriteString("RIFF")
	put(&b, uint32(36+size))
	b.WriteString("WAVEfmt ")
	put(&b, uint32(16), uint16(1), uint16(2), uint32(rate), uint32(rate*frame), uint16(frame), uint16(16))
	b.WriteString("data")
	put(&b, uint32(size))
	same := make([]byte, frame*upsampled)
	for _, sample := range speech.samples[from : from+seconds*speechRate] {
		for i := 0; i < len(same); i += 2 {
			binary.LittleEndian.PutUint16(same[i:], uint16(sample))
		}
		b.Write(same)
	}
	return b.Bytes()
}

func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		_ = binary.Write(b, binary.LittleEndian, v) // into memory
	}
}

// lastStart is the last sample that a WAV of so many seconds can begin with.
func lastStart(seconds int) int { return (60 - seconds) * speechRate }
