package speech

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// countedSamples are the numbers 0, 1, 2 … as samples.
func countedSamples(n int) []byte {
	var b []byte
	for i := range n {
		b = binary.LittleEndian.AppendUint16(b, uint16(i))
	}
	return b
}

func writeTestFile(tb testing.TB, data ...[]byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "in.wav")
	if err := os.WriteFile(path, bytes.Join(data, nil), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func TestWriteSpan(t *testing.T) {
	t.Parallel()
	const second = sampleRateHz
	samples := countedSamples(3 * second)
	header := wavHeader(int64(len(samples)))
	list := append([]byte("LIST\x05\x00\x00\x00INFOx"), 0) // odd, so padded
	withList := append(bytes.Clone(header[:36]), append(list, header[36:]...)...)
	unknown := bytes.Clone(header)
	copy(unknown[4:], "\xff\xff\xff\xff")
	copy(unknown[40:], "\xff\xff\xff\xff")
	long := bytes.Clone(header)
	binary.LittleEndian.PutUint32(long[16:], 18) // a format with an empty extension
	long = append(append(long[:36:36], 0, 0), header[36:]...)
	for name, src := range map[string]string{
		"plain":      writeTestFile(t, header, samples),
		"list":       writeTestFile(t, withList, samples),
		"pipe":       writeTestFile(t, unknown, samples),
		"odd":        writeTestFile(t, unknown, samples, []byte{1}),
		"long":       writeTestFile(t, long, samples),
		"list after": writeTestFile(t, header, samples, list),
	} {
		for _, tt := range []struct {
			span       Span
			from, upTo int
		}{
			{Span{0, 3 * time.Second}, 0, 3 * second},
			{Span{time.Second, 2 * time.Second}, second, 2 * second},
			{Span{2 * time.Second, time.Hour}, 2 * second, 3 * second},
			{Span{62500, 125000}, 1, 2},
			{Span{62499, 125001}, 0, 2},
		} {
			dst := filepath.Join(t.TempDir(), "out.wav")
			if err := WriteSpan(src, dst, tt.span); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := os.ReadFile(dst)
			if err != nil {
				t.Fatal(err)
			}
			want := samples[tt.from*sampleBytes : tt.upTo*sampleBytes]
			if !bytes.Equal(got, append(wavHeader(int64(len(want))), want...)) {
				t.Errorf("%s: %v is %d bytes", name, tt.span, len(got))
			}
		}
		for _, s := range []Span{{3 * time.Second, 4 * time.Second}, {2 * time.Second, time.Second}, {-time.Second, time.Second}, {time.Second, time.Second}} {
			if err := WriteSpan(src, filepath.Join(t.TempDir(), "out.wav"), s); err == nil {
				t.Errorf("%s: %v can be written", name, s)
			}
		}
	}
}

// ffmpeg's own files, to a file and to a pipe, are read, and what is written is what
// ffmpeg cuts itself.
func TestWriteSpanOfFFmpeg(t *testing.T) {
	t.Parallel()
	ffmpeg := func(args ...string) []byte {
		t.Helper()
		out, err := exec.Command("ffmpeg", append([]string{"-v", "error", "-nostdin"}, args...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	dir := t.TempDir()
	file, piped, cut := filepath.Join(dir, "file.wav"), filepath.Join(dir, "piped.wav"), filepath.Join(dir, "cut.wav")
	speech := []string{"-i", "../../testdata/speech.flac", "-t", "10", "-metadata", "title=odd", "-c:a", "pcm_s16le"}
	ffmpeg(append(speech, file)...)
	if err := os.WriteFile(piped, ffmpeg(append(speech, "-f", "wav", "-")...), 0o600); err != nil {
		t.Fatal(err)
	}
	want := ffmpeg("-i", file, "-af", "atrim=2.5:7.25", "-f", "s16le", "-")
	for _, src := range []string{file, piped} {
		if err := WriteSpan(src, cut, Span{2500 * time.Millisecond, 7250 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		if got := ffmpeg("-i", cut, "-f", "s16le", "-"); !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes of samples, want %d", src, len(got), len(want))
		}
	}
}

func TestBrokenWAV(t *testing.T) {
	t.Parallel()
	good := append(wavHeader(200), countedSamples(100)...)
	with := func(at int, bytesThere ...byte) []byte {
		b := bytes.Clone(good)
		copy(b[at:], bytesThere)
		return b
	}
	many := bytes.Clone(good[:36])
	for range 100_000 {
		many = append(many, "junk\x00\x00\x00\x00"...)
	}
	for name, data := range map[string][]byte{
		"empty":              nil,
		"no RIFF":            with(0, 'X'),
		"no WAVE":            with(8, 'X'),
		"no format":          append(bytes.Clone(good[:12]), good[36:]...),
		"short format":       with(16, 15),
		"endless format":     with(16, 255, 255, 255, 255),
		"stereo":             with(22, 2),
		"44.1 kHz":           with(24, 0x44, 0xac),
		"8 bit":              with(34, 8),
		"float":              with(20, 3),
		"no samples":         good[:36],
		"an endless chunk":   append(append(bytes.Clone(good[:36]), "junk\xff\xff\xff\xff"...), good[36:]...),
		"chunks without end": append(many, good[36:]...),
		"zero samples":       good[:44],
	} {
		if err := WriteSpan(writeTestFile(t, data), filepath.Join(t.TempDir(), "out.wav"), Span{0, time.Second}); err == nil {
			t.Errorf("%s: it was read", name)
		}
	}
}

func FuzzWAV(f *testing.F) {
	good := append(wavHeader(20), countedSamples(10)...)
	f.Add(good)
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		b := bytes.Clone(good)
		b[rnd.IntN(len(b))] = byte(rnd.Uint32())
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		samples, err := findSamples(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		_, offset, length := samples.Outer()
		if length < 0 || length%sampleBytes != 0 || offset+length > int64(len(data)) {
			t.Fatalf("%d bytes from %d in %d", length, offset, len(data))
		}
	})
}
