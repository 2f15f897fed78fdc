package speech

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reprise/recording"
)

// promptFolder is that of Debian's asterisk-core-sounds-en-g722.
const promptFolder = "/usr/share/asterisk/sounds/en_US_f_Allison"

// prompt is something that is known to be said at a known time.
type prompt struct {
	text           string
	startMs, endMs int64 // of its sound, without the silence around it
}

// talk is a recording of prompts, with silence between them.
type talk struct {
	path    string
	length  time.Duration
	prompts []prompt
	// silences are those between the prompts.
	silences []recording.Silence
}

// newTalk makes a recording of every nth of the prompts.
func newTalk(tb testing.TB, nth int, pause time.Duration) talk {
	tb.Helper()
	list, err := os.ReadFile("testdata/prompts.txt")
	if err != nil {
		tb.Fatal(err)
	}
	var t talk
	var samples []byte
	now := func() int64 { return int64(len(samples)) * 1000 / (sampleRateHz * sampleBytes) }
	rest := func() {
		t.silences = append(t.silences, recording.Silence{StartMs: now(), EndMs: now() + pause.Milliseconds()})
		samples = append(samples, make([]byte, int(pause/sampleTime)*sampleBytes)...)
	}
	rest()
	for i, line := range strings.Split(strings.TrimSpace(string(list)), "\n") {
		if i%nth != 0 {
			continue
		}
		name, text, _ := strings.Cut(line, ": ")
		sound, err := exec.Command("ffmpeg", "-v", "error", "-nostdin", "-f", "g722", "-i", filepath.Join(promptFolder, name+".g722"),
			"-ar", "16000", "-ac", "1", "-f", "s16le", "-").Output()
		if err != nil {
			tb.Fatalf("%s: is it installed (scripts/setup.sh test)? %v", name, err)
		}
		from, to := loud(sound)
		t.prompts = append(t.prompts, prompt{text, now() + from, now() + to})
		samples = append(samples, sound...)
		rest()
	}
	t.length = time.Duration(now()) * time.Millisecond
	t.path = writeTestFile(tb, wavHeader(int64(len(samples))), samples)
	return t
}

// loud returns from when to when there is more than silence, in milliseconds.
func loud(samples []byte) (fromMs, toMs int64) {
	const threshold, msSamples = 600, sampleRateHz / 1000
	for i := 0; i < len(samples)/sampleBytes; i++ {
		s := int16(binary.LittleEndian.Uint16(samples[i*sampleBytes:]))
		if s > threshold || s < -threshold {
			at := int64(i / msSamples)
			if fromMs == 0 {
				fromMs = at
			}
			toMs = at
		}
	}
	return fromMs, toMs
}

func (t talk) text() string {
	var texts []string
	for _, p := range t.prompts {
		texts = append(texts, p.text)
	}
	return strings.Join(texts, " ")
}

// plain returns the words of a text as they are compared.
func plain(text string) []string {
	text = strings.ToLower(strings.ReplaceAll(text, "-", " "))
	var words []string
	for _, w := range strings.Fields(text) {
		if w = strings.Trim(w, `.,;:!?"…`); w != "" {
			words = append(words, w)
		}
	}
	return words
}

// errorRate is the share of words that have to be replaced, deleted or added in what
// was heard to get what was said.
func errorRate(said, heard []string) float64 {
	row := make([]int, len(heard)+1)
	for j := range row {
		row[j] = j
	}
	for i, s := range said {
		diagonal := row[0]
		row[0] = i + 1
		for j, h := range heard {
			replaced := diagonal
			if s != h {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return float64(row[len(heard)]) / float64(len(said))
}

func TestErrorRate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		said, heard string
		want        float64
	}{
		{"one two three four", "One, two; three four.", 0},
		{"one two three four", "one too three four", 0.25},
		{"one two three four", "two three four", 0.25},
		{"one two three four", "one two and three four", 0.25},
		{"one two three four", "", 1},
		{"one two three four", "four three two one", 1},
	} {
		if got := errorRate(plain(tt.said), plain(tt.heard)); got != tt.want {
			t.Errorf("%q, heard as %q: %g, want %g", tt.said, tt.heard, got, tt.want)
		}
	}
}
