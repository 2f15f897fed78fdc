package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"reprise/config"
	"reprise/processing/analysis"
	"reprise/processing/provider"
	"reprise/processing/sandbox"
	"reprise/processing/speech"
	"reprise/recording"
)

// insightModels are the models that users may choose, by the stages that are offered.
func insightModels(cfg config.Insights) map[recording.Stage][]string {
	models := map[recording.Stage][]string{}
	for stage, offer := range map[recording.Stage]struct {
		way    string
		models []string
	}{
		recording.StageTranscribe: {cfg.AITranscription, cfg.AITranscriptionModels},
		recording.StageAnalyse:    {cfg.AIAnalysis, cfg.AIAnalysisModels},
	} {
		if offer.way != "off" {
			models[stage] = offer.models
		}
	}
	return models
}

// openInsights makes what transcribes and analyses; nil where that is off, or where
// there is nothing on this machine that could.
func (s *server) openInsights(ctx context.Context, fence *sandbox.Fence) (speech.Engine, analysis.Analyst, error) {
	engine, err := s.openEngine(ctx, fence)
	if err != nil {
		return nil, nil, err
	}
	analyst, err := s.openAnalyst()
	return engine, analyst, err
}

func (s *server) openEngine(ctx context.Context, fence *sandbox.Fence) (speech.Engine, error) {
	cfg := s.o.Config.Insights
	switch cfg.AITranscription {
	case "off":
		return nil, nil
	case "http":
		client, err := s.openProvider("transcription", cfg.AITranscriptionURL, string(cfg.AITranscriptionKey))
		if err != nil {
			return nil, err
		}
		return speech.NewHTTP(client, cfg.AITranscriptionModel), nil
	}
	engine, err := speech.Local(ctx, speech.LocalOptions{Fence: fence, Model: cfg.AITranscriptionModel})
	if errors.Is(err, speech.ErrNoEngine) {
		s.o.Log.WarnContext(ctx, "nothing on this machine can transcribe; recordings get no transcripts", slog.Any("reason", err))
		s.ready.note("transcription", "none: "+err.Error())
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the speech engine does not run: %w", err)
	}
	s.o.Log.InfoContext(ctx, "transcription", slog.String("engine", engine.Name()), slog.String("model", engine.Model()))
	s.ready.note("transcription", engine.Name())
	return engine, nil
}

func (s *server) openAnalyst() (analysis.Analyst, error) {
	cfg := s.o.Config.Insights
	switch cfg.AIAnalysis {
	case "off":
		return nil, nil
	case "http":
		client, err := s.openProvider("analysis", cfg.AIAnalysisURL, string(cfg.AIAnalysisKey))
		if err != nil {
			return nil, err
		}
		return analysis.NewHTTP(client, cfg.AIAnalysisModel), nil
	}
	return analysis.NewLocal(), nil
}

func (s *server) openProvider(name, url, key string) (*provider.Client, error) {
	client, err := provider.New(provider.Options{Name: name, BaseURL: url, Key: key, Log: s.o.Log, Metrics: s.registry})
	if err != nil {
		return nil, err
	}
	s.life.onStop(name, func(context.Context) error { client.Close(); return nil })
	return client, nil
}
