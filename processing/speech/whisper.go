package speech

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"reprise/processing/provider"
	"reprise/processing/sandbox"
	"reprise/recording"
)

//go:embed whisper.py
var whisperProgram string

const (
	// whisperModel is the one that `make whisper` installs.
	whisperModel = "tiny.en"
	// whisperThreads are used at most, and at most half of the processors: two pieces on
	// a thread each are done sooner than one after the other on two.
	whisperThreads = 4
	// whisperMemoryBytes is the address space without the model. Most of it is never
	// used: it is what threads and libraries reserve.
	whisperMemoryBytes = 4 << 30
)

// whisper is a Whisper model, run by faster-whisper in a process for each piece.
type whisper struct {
	fence      *sandbox.Fence
	folder     string // of the Python environment
	weights    string // folder of the model
	modelBytes int64
	name       string // of the model
	languages  []string
}

// newWhisper tries the environment in a folder with the model in another, or its own.
func newWhisper(ctx context.Context, fence *sandbox.Fence, folder, model string) (*whisper, error) {
	if model == "" {
		model = filepath.Join(folder, "models", whisperModel)
	}
	w := &whisper{fence: fence, folder: folder, name: filepath.Base(model)}
	var err error
	if w.weights, err = filepath.Abs(model); err == nil {
		w.weights, err = filepath.EvalSymlinks(w.weights)
	}
	if err != nil {
		return nil, fmt.Errorf("speech: whisper: %w", err)
	}
	info, err := os.Stat(filepath.Join(w.weights, "model.bin"))
	if err != nil {
		return nil, fmt.Errorf("speech: whisper: there is no model: %w", err)
	}
	w.modelBytes = info.Size()
	if err := w.check(ctx); err != nil {
		return nil, fmt.Errorf("speech: whisper: %s with the model %s does not run in its sandbox: %w", w.folder, w.weights, err)
	}
	return w, nil
}

// check loads the model, and finds out which languages it knows.
func (w *whisper) check(ctx context.Context) error {
	out, err := check(ctx, w.fence, w.spec(Piece{}))
	if err != nil {
		return err
	}
	var said struct{ Languages []string }
	if err := json.Unmarshal(out, &said); err != nil {
		return err
	}
	if len(said.Languages) == 0 {
		return errors.New("it knows no language")
	}
	w.languages = said.Languages
	return nil
}

func (w *whisper) Name() string  { return "whisper" }
func (w *whisper) Model() string { return w.name }

func (w *whisper) Transcribe(ctx context.Context, p Piece) (recording.Transcript, error) {
	knows := func(language string) bool { return slices.Contains(w.languages, whisperLanguage(language)) }
	if err := checkPiece(p, w.name, knows); err != nil {
		return recording.Transcript{}, err
	}
	out, err := listen(ctx, w.fence, w.spec(p))
	if err != nil {
		return recording.Transcript{}, err
	}
	var said struct {
		utterances
		Error string
	}
	if err := json.Unmarshal(out, &said); err != nil {
		return recording.Transcript{}, &provider.ReplyError{Err: errors.New("whisper does not say JSON")}
	}
	if said.Error != "" {
		return recording.Transcript{}, &provider.ReplyError{Err: fmt.Errorf("whisper fails with %.40q", said.Error)}
	}
	if said.Language == "jw" { // Whisper's own
		said.Language = "jv"
	}
	t, err := said.transcript(p.Duration)
	if err != nil {
		return recording.Transcript{}, err
	}
	if err := tighten(p.Path, t.Segments); err != nil {
		return recording.Transcript{}, err
	}
	t.Provider, t.Model = w.Name(), w.name
	return t, nil
}

// spec is what the program is run with on a piece, or without one.
func (w *whisper) spec(p Piece) sandbox.Spec {
	threads := max(1, min(runtime.NumCPU()/2, whisperThreads))
	s := sandbox.Spec{
		Path:    filepath.Join(w.folder, "bin", "python3"),
		Args:    []string{"-I", "-B", "-c", whisperProgram, w.weights, strconv.Itoa(threads)},
		Dir:     "/",
		Folders: []string{w.folder, w.weights},
		// What a second of sound takes grows with the model: a tenth of a second of
		// computing with the smallest, and seconds with the largest. The worst sound
		// is heard six times over.
		CPU:         cpuFor(p.Duration, 5+int(w.modelBytes/(50<<20))),
		MemoryBytes: whisperMemoryBytes + 2*w.modelBytes,
	}
	if p.Path != "" {
		s.Args = append(s.Args, p.Path)
		s.Read = []string{p.Path}
	}
	if p.Language != "" {
		s.Args = append(s.Args, whisperLanguage(p.Language))
	}
	return s
}

// whisperLanguage returns Whisper's name of a language in BCP 47.
func whisperLanguage(language string) string {
	base, _, _ := strings.Cut(strings.ToLower(language), "-")
	switch base {
	case "nb":
		return "no"
	case "jv":
		return "jw"
	case "fil":
		return "tl"
	}
	return base
}
