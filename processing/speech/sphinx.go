package speech

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"reprise/processing/sandbox"
	"reprise/recording"
)

const (
	sphinxProgram = "pocketsphinx_continuous"
	// sphinxModel is the program's default, of Debian's pocketsphinx-en-us.
	sphinxModel = "en-us"
	// sphinxFolder is where the program looks for it.
	sphinxFolder = "/usr/share/pocketsphinx"
	// sphinxCPUPerSecond is for the worst noise: speech takes a fifth of a second.
	sphinxCPUPerSecond = 5
	sphinxMemoryBytes  = 1 << 30
)

// sphinx is CMU's pocketsphinx, which understands most of clear English.
type sphinx struct {
	fence *sandbox.Fence
	path  string
}

// newSphinx tries the program on a second of silence.
func newSphinx(ctx context.Context, fence *sandbox.Fence, path string) (*sphinx, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	s := &sphinx{fence, path}
	if err := s.check(ctx); err != nil {
		return nil, fmt.Errorf("speech: %s does not run in its sandbox; is the package pocketsphinx-en-us installed? %w", path, err)
	}
	return s, nil
}

func (s *sphinx) check(ctx context.Context) error {
	file, err := os.CreateTemp("", "reprise-silence-*.wav")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	silence := make([]byte, sampleRateHz*sampleBytes)
	_, err = file.Write(append(wavHeader(int64(len(silence))), silence...))
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	_, err = check(ctx, s.fence, s.spec(Piece{Path: file.Name(), Duration: time.Second}))
	return err
}

func (s *sphinx) Name() string  { return "pocketsphinx" }
func (s *sphinx) Model() string { return sphinxModel }

func (s *sphinx) Transcribe(ctx context.Context, p Piece) (recording.Transcript, error) {
	english := func(language string) bool {
		base, _, _ := strings.Cut(strings.ToLower(language), "-")
		return base == "en"
	}
	if err := checkPiece(p, sphinxModel, english); err != nil {
		return recording.Transcript{}, err
	}
	out, err := listen(ctx, s.fence, s.spec(p))
	if err != nil {
		return recording.Transcript{}, err
	}
	t, err := parseSphinx(out).transcript(p.Duration)
	if err != nil {
		return recording.Transcript{}, err
	}
	t.Provider, t.Model = s.Name(), sphinxModel
	return t, nil
}

func (s *sphinx) spec(p Piece) sandbox.Spec {
	return sandbox.Spec{
		Path:        s.path,
		Args:        []string{"-infile", p.Path, "-time", "yes"},
		Dir:         "/",
		Read:        []string{p.Path},
		Folders:     []string{sphinxFolder},
		CPU:         cpuFor(p.Duration, sphinxCPUPerSecond),
		MemoryBytes: sphinxMemoryBytes,
	}
}

// sphinxPause is a silence that ends a segment, in seconds.
const sphinxPause = 0.4

// parseSphinx reads what the program prints: for each utterance a line of text, and
// then a line for each word with its start and end in seconds and its probability.
// What is no word is in brackets: <s>, <sil>, [NOISE].
func parseSphinx(out []byte) utterances {
	u := utterances{Language: "en"}
	open := false
	for line := range strings.Lines(string(out)) {
		w, ok := parseSphinxWord(strings.Fields(line))
		switch {
		case !ok:
			open = false
		case strings.HasPrefix(w.Text, "<") || strings.HasPrefix(w.Text, "["):
			open = open && w.End-w.Start < sphinxPause
		case !open:
			u.Segments = append(u.Segments, heardSegment{utterance: w, Words: []utterance{w}})
			open = true
		default:
			s := &u.Segments[len(u.Segments)-1]
			s.Text += " " + w.Text
			s.End = w.End
			s.Confidence += (w.Confidence - s.Confidence) / float64(len(s.Words)+1) // the mean
			s.Words = append(s.Words, w)
		}
	}
	return u
}

func parseSphinxWord(fields []string) (w utterance, ok bool) {
	if len(fields) != 4 {
		return w, false
	}
	for i, number := range []*float64{&w.Start, &w.End, &w.Confidence} {
		var err error
		if *number, err = strconv.ParseFloat(fields[i+1], 64); err != nil {
			return w, false
		}
	}
	w.Text, _, _ = strings.Cut(fields[0], "(") // world(2): the dictionary's second way to say it
	w.Confidence = min(w.Confidence, 1)        // it is rounded up
	return w, true
}
