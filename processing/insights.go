package processing

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"reprise/internal/failpoint"
	"reprise/processing/analysis"
	"reprise/processing/ffmpeg"
	"reprise/processing/provider"
	"reprise/processing/speech"
	"reprise/recording"
)

// insights does what follows a ready recording: it asks engines and analysts, and
// keeps every answer before anything is made of it, so that none is paid for twice.
type insights struct {
	catalog Catalog
	objects Objects
	tools   *ffmpeg.Tools
	engine  speech.Engine    // nil if recordings are not transcribed here
	analyst analysis.Analyst // nil if they are not analysed here
	analyse bool             // whether an analysis follows a transcription
	turns   chan struct{}    // as many as pieces may be at an engine together
	ticks   Ticks
	dir     *workDir // set before the first job
	metrics *metrics
	log     *slog.Logger
	now     func() time.Time
}

// analysisDeadline is how long an analysis may take: a long transcript is some twenty
// questions to a provider, one after the other.
const analysisDeadline = 2 * time.Hour

// transcribeDeadline is the same for a recording without length.
const transcribeDeadline = 30 * time.Minute

// work does one stage of one recording, unless there is nothing to do for it any
// more. An error asks for another attempt.
func (s *insights) work(ctx context.Context, job recording.InsightJob) error {
	w, err := s.catalog.InsightWork(ctx, job)
	if recording.CodeOf(err) == recording.CodeNotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the recording: %w", err)
	}
	if err := s.mayAsk(ctx, job, w); err != nil {
		return err
	}
	failpoint.Hit("insight." + string(job.Stage) + ".before")
	start := time.Now()
	record, err := s.run(ctx, job, w)
	if err == nil {
		failpoint.Hit("insight." + string(job.Stage) + ".done")
		err = record(ctx)
	}
	outcome, err := s.settle(ctx, job, err)
	s.metrics.stageSeconds.WithLabelValues(string(job.Stage), outcome).Observe(time.Since(start).Seconds())
	if err == nil {
		failpoint.Hit("insight." + string(job.Stage) + ".recorded")
	}
	return err
}

// mayAsk returns a delayed if the owner's limit of the day is reached.
func (s *insights) mayAsk(ctx context.Context, job recording.InsightJob, w recording.InsightWork) error {
	from, err := s.catalog.MayAsk(ctx, w.Recording.OwnerID, job.Stage)
	if err != nil {
		return fmt.Errorf("ask for the owner's limit: %w", err)
	}
	if from == nil {
		return nil
	}
	limit := recording.LimitDailyTranscribed
	if job.Stage == recording.StageAnalyse {
		limit = recording.LimitDailyTokens
	}
	s.metrics.refused(limit)
	if err := s.catalog.DelayInsight(ctx, job, *from); err != nil {
		return fmt.Errorf("delay the stage: %w", err)
	}
	return &delayed{*from}
}

// run runs a stage, and returns what records its result.
func (s *insights) run(ctx context.Context, job recording.InsightJob, w recording.InsightWork) (record func(context.Context) error, err error) {
	isDue := func(ctx context.Context) (bool, error) { return s.catalog.InsightDue(ctx, job) }
	return attempt(ctx, s.dir, s.deadline(job, w), isDue, func(ctx context.Context, dir string) (func(context.Context) error, error) {
		if job.Stage == recording.StageTranscribe {
			t, err := s.transcribe(ctx, w, dir)
			return func(ctx context.Context) error { return s.catalog.CompleteTranscript(ctx, job, t, s.analyse) }, err
		}
		a, err := s.analyseText(ctx, w)
		return func(ctx context.Context) error { return s.catalog.CompleteAnalysis(ctx, job, a) }, err
	})
}

// deadline allows an engine three times the recording's length.
func (s *insights) deadline(job recording.InsightJob, w recording.InsightWork) time.Duration {
	if job.Stage == recording.StageAnalyse {
		return analysisDeadline
	}
	return transcribeDeadline + 3*length(w.Recording) + time.Duration(size(w.Recording)/bytesPerSecond)*time.Second
}

// length is how long a ready recording plays.
func length(r recording.Recording) time.Duration {
	if r.Media == nil {
		return 0
	}
	return time.Duration(r.Media.DurationMs) * time.Millisecond
}

func size(r recording.Recording) int64 {
	if r.SizeBytes == nil {
		return 0
	}
	return *r.SizeBytes
}

// settle records that a stage is given up, if err says so, and returns what is left
// of it.
func (s *insights) settle(ctx context.Context, job recording.InsightJob, err error) (outcome string, rest error) {
	var refused *provider.RefusedError
	var permanent *permanentError
	log := s.log.With(slog.String("recording", job.RecordingID.String()), slog.String("stage", string(job.Stage)))
	fail := func(reason recording.Reason, detail string) (string, error) {
		log.WarnContext(ctx, "stage failed", slog.String("reason", string(reason)), slog.Any("error", err))
		if err := s.catalog.FailInsight(ctx, job, reason, detail); err != nil {
			return outcomeError, fmt.Errorf("record the failure: %w", err)
		}
		return outcomeFailed, nil
	}
	switch {
	case err == nil:
		return outcomeDone, nil
	case errors.Is(err, errNotDue):
		log.InfoContext(ctx, "stage ended early", slog.Any("reason", err))
		return outcomeObsolete, nil
	case errors.Is(err, errNoSpeech):
		return fail(recording.ReasonNoSpeech, "No speech was found in this recording, so there is nothing to analyse.")
	case errors.As(err, &refused):
		return fail(recording.ReasonProviderRefused, "The service does not take this recording with the language and model that were asked for.")
	case errors.As(err, &permanent):
		return fail(permanent.reason, permanent.detail)
	case errors.Is(ctx.Err(), context.Canceled):
		return outcomeStopped, err
	}
	return outcomeError, err
}

// giveUp fails a stage whose last attempt has failed.
func (s *insights) giveUp(ctx context.Context, job recording.InsightJob, err error) error {
	reason, detail := recording.ReasonInternal, "The server could not do this; asking for it again later may help."
	var reply *provider.ReplyError
	if errors.As(err, &reply) {
		reason, detail = recording.ReasonProviderReply, "The service's answers were of no use; asking for it again, or with another model, may help."
	}
	s.log.ErrorContext(ctx, "stage failed after the last attempt", slog.String("recording", job.RecordingID.String()),
		slog.String("stage", string(job.Stage)), slog.Any("error", err))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second) // the attempt's own time may be over
	defer cancel()
	return s.catalog.FailInsight(ctx, job, reason, detail)
}

// ask returns the answer to a question: the one that is kept, or else what answer
// gives, which is kept. Question is everything that the answer depends on.
func ask[T any](ctx context.Context, s *insights, r recording.ProviderResult, question any, answer func(ctx context.Context, key string) (T, recording.ProviderResult, error)) (T, error) {
	var value T
	text, err := json.Marshal([]any{r.Stage, r.Provider, r.Model, r.PromptVersion, question})
	if err != nil {
		return value, err
	}
	digest := sha256.Sum256(text)
	r.Digest = digest[:]
	kept, err := s.catalog.ProviderResult(ctx, r.RecordingID, r.Digest)
	if err == nil {
		s.metrics.reused.WithLabelValues(string(r.Stage)).Inc()
		return value, json.Unmarshal(kept.Result, &value)
	}
	if recording.CodeOf(err) != recording.CodeNotFound {
		return value, fmt.Errorf("look for a kept answer: %w", err)
	}
	// The key is the recording's too: its owner's words answer for nobody else's.
	key := fmt.Sprintf("%s-%x", r.RecordingID, digest)
	value, spent, err := answer(ctx, key)
	if err != nil {
		return value, errors.Join(err, s.count(ctx, r, spent.Tokens))
	}
	failpoint.Hit("insight.answered")
	r.Audio, r.Tokens = spent.Audio, spent.Tokens
	if r.Result, err = json.Marshal(value); err != nil {
		return value, err
	}
	if err := s.keep(ctx, r); err != nil {
		return value, err
	}
	failpoint.Hit("insight.kept")
	s.metrics.transcribed.WithLabelValues(r.Provider).Add(r.Audio.Seconds())
	s.metrics.tokens.WithLabelValues(r.Provider).Add(float64(r.Tokens))
	return value, nil
}

// count counts tokens that were used in vain.
func (s *insights) count(ctx context.Context, r recording.ProviderResult, tokens int64) error {
	if tokens == 0 {
		return nil
	}
	s.metrics.tokens.WithLabelValues(r.Provider).Add(float64(tokens))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return s.catalog.CountTokens(ctx, r.RecordingID, tokens)
}

// keep keeps an answer that is paid for, also if the server is being stopped or the
// database is away for a moment.
func (s *insights) keep(ctx context.Context, r recording.ProviderResult) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for {
		err := s.catalog.KeepResult(ctx, r)
		if err == nil || recording.CodeOf(err) != recording.CodeUnavailable {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}
