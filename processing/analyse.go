package processing

import (
	"context"
	"errors"
	"time"

	"reprise/processing/analysis"
	"reprise/recording"
)

// errNoSpeech says that there is nothing to analyse.
var errNoSpeech = errors.New("the transcript has no words")

// analyseText has an analyst read a transcript.
func (s *insights) analyseText(ctx context.Context, w recording.InsightWork) (recording.Analysis, error) {
	if w.Transcript == nil || w.Transcript.Text() == "" {
		return recording.Analysis{}, errNoSpeech
	}
	t := *w.Transcript
	t.Version, t.CreatedAt = 0, time.Time{} // the same words are the same question
	r := recording.ProviderResult{RecordingID: w.Recording.ID, Stage: recording.StageAnalyse, Provider: s.analyst.Name(), Model: w.Insight.Model, PromptVersion: s.analyst.PromptVersion()}
	if r.Model == "" {
		r.Model = s.analyst.Model()
	}
	a, err := ask(ctx, s, r, t, func(ctx context.Context, key string) (recording.Analysis, recording.ProviderResult, error) {
		a, tokens, err := s.analyst.Analyse(ctx, analysis.Question{Transcript: t, Model: w.Insight.Model, Key: key})
		return a, recording.ProviderResult{Tokens: tokens}, err
	})
	a.Provider, a.Model, a.PromptVersion = r.Provider, r.Model, r.PromptVersion
	return a, err
}
