package processing

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"reprise/processing/speech"
	"reprise/recording"
)

// transcribe has an engine hear a recording, in pieces.
func (s *insights) transcribe(ctx context.Context, w recording.InsightWork, dir string) (recording.Transcript, error) {
	r := w.Recording
	spans := speech.Cut(length(r), r.Silences, speech.Longest)
	heard := make([]recording.Transcript, len(spans))
	source := &speechSource{insights: s, recording: r, dir: dir, turn: make(chan struct{}, 1)}
	var done atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for i, span := range spans {
		group.Go(func() (err error) {
			select {
			case s.turns <- struct{}{}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			defer func() { <-s.turns }()
			if heard[i], err = s.hear(ctx, w, span, source); err != nil {
				return err
			}
			s.tellTranscribed(ctx, r, float64(done.Add(1))/float64(len(spans)))
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return recording.Transcript{}, err
	}
	t := speech.Join(spans, heard)
	t.Provider, t.Model = s.engine.Name(), s.model(w)
	if t.Language == "" {
		t.Language = language(w)
	}
	return t, nil
}

// hear returns what was said in one piece of a recording.
func (s *insights) hear(ctx context.Context, w recording.InsightWork, span speech.Span, source *speechSource) (recording.Transcript, error) {
	r := recording.ProviderResult{RecordingID: w.Recording.ID, Stage: recording.StageTranscribe, Provider: s.engine.Name(), Model: s.model(w)}
	question := map[string]any{"sha256": w.Recording.SHA256, "startMs": span.Start.Milliseconds(), "endMs": span.End.Milliseconds(), "language": language(w)}
	return ask(ctx, s, r, question, func(ctx context.Context, key string) (recording.Transcript, recording.ProviderResult, error) {
		piece := speech.Piece{Duration: span.End - span.Start, Language: language(w), Model: w.Insight.Model, Key: key}
		spent := recording.ProviderResult{Audio: piece.Duration}
		path, err := source.piece(ctx, span)
		if err != nil {
			return recording.Transcript{}, spent, err
		}
		piece.Path = path
		t, err := s.engine.Transcribe(ctx, piece)
		return t, spent, err
	})
}

// model is which one is used for a job.
func (s *insights) model(w recording.InsightWork) string {
	if w.Insight.Model != "" {
		return w.Insight.Model
	}
	return s.engine.Model()
}

// language is what is known of a recording's language before anything is heard.
func language(w recording.InsightWork) string {
	if w.Insight.Language != "" {
		return w.Insight.Language
	}
	return w.Recording.Language
}

func (s *insights) tellTranscribed(ctx context.Context, r recording.Recording, done float64) {
	s.ticks.Publish(ctx, recording.NewEvent(r.OwnerID, r.ID, recording.EventTranscriptProgress, s.now(),
		map[string]any{"percent": math.Round(1000*done) / 10}))
}

// speechSource makes the files that engines are given, of a recording that is fetched
// and decoded only when the first piece is wanted: after a crash, all may be kept.
type speechSource struct {
	insights  *insights
	recording recording.Recording
	dir       string
	turn      chan struct{} // of who makes the whole file
	whole     string        // "" before
}

func (s *speechSource) piece(ctx context.Context, span speech.Span) (string, error) {
	if err := s.decode(ctx); err != nil {
		return "", err
	}
	path := filepath.Join(s.dir, "piece-"+strconv.FormatInt(span.Start.Milliseconds(), 10)+".wav")
	if err := speech.WriteSpan(s.whole, path, span); err != nil {
		return "", fmt.Errorf("cut a piece: %w", err)
	}
	return path, nil
}

func (s *speechSource) decode(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.turn }()
	if s.whole != "" {
		return nil
	}
	path := filepath.Join(s.dir, "original")
	err := s.insights.objects.Fetch(ctx, s.recording.ObjectKey, path)
	if recording.CodeOf(err) == recording.CodeNotFound {
		return lost(err)
	}
	if err != nil {
		return err
	}
	s.whole, err = s.insights.tools.Speech(ctx, path, s.dir)
	return err
}
