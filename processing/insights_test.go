package processing

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/catalog"
	"reprise/internal/aiserver"
	"reprise/processing/analysis"
	"reprise/processing/provider"
	"reprise/processing/speech"
	"reprise/recording"
)

// asking has a service ask this stand-in for transcripts and analyses.
func (w *world) asking(service *aiserver.Server) func(*Options) {
	client := func(name string) *provider.Client {
		c, err := provider.New(provider.Options{Name: name, BaseURL: service.URL, Timeout: 5 * time.Second, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(c.Close)
		return c
	}
	return func(o *Options) {
		o.Engine = speech.NewHTTP(client("transcription"), "whisper-1")
		o.Analyst = analysis.NewHTTP(client("analysis"), "some-model")
		o.Pieces = 2
	}
}

// awaitInsight waits until a stage of a recording is in one of the states, and has
// jobs that wait run at once meanwhile.
func (w *world) awaitInsight(id uuid.UUID, stage recording.Stage, states ...recording.InsightState) recording.Insight {
	w.t.Helper()
	var in recording.Insight
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		w.hurry()
		list, err := w.catalog.Insights(w.t.Context(), w.owner, id)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, in = range list {
			if in.Stage == stage && slices.Contains(states, in.State) {
				return in
			}
		}
	}
	w.t.Fatalf("%s is %q, reason %q", stage, in.State, in.Reason)
	return in
}

// hurry makes every job due that is to run later.
func (w *world) hurry() {
	w.t.Helper()
	if _, err := w.pool.Exec(w.t.Context(), `UPDATE river_job SET scheduled_at = now() - interval '1 second'
		WHERE kind = 'insight' AND state IN ('scheduled', 'retryable')`); err != nil {
		w.t.Fatal(err)
	}
}

// told lists the events about a recording's insights.
func (w *world) told(id uuid.UUID) (list []string) {
	w.t.Helper()
	events, err := w.catalog.EventsSince(w.t.Context(), w.owner, []uuid.UUID{id}, 0, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range events {
		if t := string(e.Type); strings.HasPrefix(t, "transcript") || strings.HasPrefix(t, "analysis") || t == string(recording.EventProcessingDelayed) {
			list = append(list, t)
		}
	}
	return list
}

func (w *world) reprocess(id uuid.UUID, what recording.Reprocessing) {
	w.t.Helper()
	if _, err := w.catalog.Reprocess(w.t.Context(), w.owner, id, what); err != nil {
		w.t.Fatal(err)
	}
}

// TestInsights wants a ready recording to be transcribed and analysed, and asked for
// again to cost nothing as long as the question is the same.
func TestInsights(t *testing.T) {
	t.Parallel()
	w, service := newWorld(t), aiserver.New(t)
	w.start(w.asking(service))
	id := w.upload(spoken(t, "wav"), nil, nil)
	w.awaitInsight(id, recording.StageAnalyse, recording.InsightReady)
	transcript, err := w.catalog.Transcript(t.Context(), w.owner, id)
	if err != nil || transcript.Text() == "" || transcript.Provider != "http" || transcript.Model != "whisper-1" || transcript.Version != 1 {
		t.Errorf("the transcript is %+v, %v", transcript, err)
	}
	a, err := w.catalog.Analysis(t.Context(), w.owner, id)
	if err != nil || a.Title == "" || a.Model != "some-model" || a.PromptVersion == "" || a.CreatedAt.IsZero() {
		t.Errorf("the analysis is %+v, %v", a, err)
	}
	if n := service.Billed(); n != 2 {
		t.Errorf("%d answers were billed", n)
	}
	if !slices.ContainsFunc(w.ticks.list, func(e recording.Event) bool { return e.Type == recording.EventTranscriptProgress }) {
		t.Error("nobody heard of progress")
	}

	w.reprocess(id, recording.Reprocessing{Stages: []recording.Stage{recording.StageTranscribe, recording.StageAnalyse}})
	w.awaitInsight(id, recording.StageTranscribe, recording.InsightReady)
	w.awaitInsight(id, recording.StageAnalyse, recording.InsightReady)
	if n := len(service.Requests()); n != 2 {
		t.Errorf("the same again made %d requests in all", n)
	}
	w.reprocess(id, recording.Reprocessing{Stages: []recording.Stage{recording.StageTranscribe}, Model: "whisper-2"})
	w.awaitInsight(id, recording.StageTranscribe, recording.InsightReady)
	w.awaitInsight(id, recording.StageAnalyse, recording.InsightReady)
	if transcript, err = w.catalog.Transcript(t.Context(), w.owner, id); err != nil || transcript.Model != "whisper-2" || transcript.Version != 3 {
		t.Errorf("another model made %+v, %v", transcript, err)
	}
	if n := service.Billed(); n != 3+1 { // the transcript names its model, so it is analysed again
		t.Errorf("another model was billed: %d answers in all", n)
	}
	want := []string{"transcript.ready", "analysis.ready", "transcript.ready", "analysis.ready", "transcript.ready", "analysis.ready"}
	if diff := cmp.Diff(want, w.told(id)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestOutage wants recordings to be ready while the services are away, and their
// insights when they are back, without an attempt used up.
func TestOutage(t *testing.T) {
	t.Parallel()
	w, service := newWorld(t), aiserver.New(t)
	service.Always(aiserver.Status(503))
	w.start(w.asking(service))
	id := w.upload(spoken(t, "wav"), nil, nil)
	w.wait(id, recording.StateReady)
	for len(service.Requests()) < 2*int(catalog.StageAttempts) { // more tries than a stage has attempts
		w.hurry()
		time.Sleep(50 * time.Millisecond)
	}
	in := w.awaitInsight(id, recording.StageTranscribe, recording.InsightWaiting)
	if in.Reason != "" || service.Billed() != 0 {
		t.Errorf("while the service is away: %+v", in)
	}
	service.Always(nil)
	w.awaitInsight(id, recording.StageAnalyse, recording.InsightReady)
	if diff := cmp.Diff([]string{"transcript.ready", "analysis.ready"}, w.told(id)); diff != "" || service.Billed() != 2 {
		t.Errorf("afterwards: %d billed, events (-want +got):\n%s", service.Billed(), diff)
	}
}

// TestInsightFails wants a stage to fail with the right reason, the recording to stay
// ready, and another try to succeed.
func TestInsightFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault  aiserver.Fault
		reason recording.Reason
	}{
		"refused": {aiserver.Refuse(400, "unsupported_language", "no"), recording.ReasonProviderRefused},
		"useless": {aiserver.WrongSchema(), recording.ReasonProviderReply},
		"garbage": {aiserver.Garbage(), recording.ReasonProviderReply},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, service := newWorld(t), aiserver.New(t)
			service.Always(tt.fault)
			w.start(w.asking(service))
			id := w.upload(spoken(t, "wav"), nil, nil)
			in := w.awaitInsight(id, recording.StageTranscribe, recording.InsightFailed)
			if in.Reason != tt.reason || in.Detail == "" {
				t.Errorf("it failed with %q: %q", in.Reason, in.Detail)
			}
			if r := w.work(id).Recording; r.State != recording.StateReady {
				t.Errorf("the recording is %s", r.State)
			}
			service.Always(nil)
			w.reprocess(id, recording.Reprocessing{Stages: []recording.Stage{recording.StageTranscribe}})
			w.awaitInsight(id, recording.StageAnalyse, recording.InsightReady)
			if diff := cmp.Diff([]string{"transcript.failed", "transcript.ready", "analysis.ready"}, w.told(id)); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNothingSaid wants a recording without words to have an empty transcript, and
// the reason why there is no analysis.
func TestNothingSaid(t *testing.T) {
	t.Parallel()
	w, service := newWorld(t), aiserver.New(t)
	service.Transcribe(func(aiserver.Audio) (aiserver.Transcription, error) {
		return aiserver.Transcription{Language: "english"}, nil
	})
	w.start(w.asking(service))
	id := w.upload(spoken(t, "wav"), nil, nil)
	in := w.awaitInsight(id, recording.StageAnalyse, recording.InsightFailed)
	transcript, err := w.catalog.Transcript(t.Context(), w.owner, id)
	if err != nil || transcript.Text() != "" || in.Reason != recording.ReasonNoSpeech || len(service.Requests()) != 1 {
		t.Errorf("%+v, %v, %+v", transcript, err, in)
	}
}

// TestDailyLimitOfInsights wants what is beyond a day's limit to wait for the next
// day, and to say so once.
func TestDailyLimitOfInsights(t *testing.T) {
	t.Parallel()
	w, service := newWorld(t), aiserver.New(t)
	now := time.Now()
	var err error
	w.catalog, err = catalog.New(catalog.Options{
		Pool: w.pool, Limits: recording.UserLimits{TranscribedPerDay: time.Second}, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	s := w.start(w.asking(service))
	first := w.upload(spoken(t, "wav"), nil, nil)
	w.awaitInsight(first, recording.StageTranscribe, recording.InsightReady)
	second := w.upload(spoken(t, "flac"), nil, nil)
	w.wait(second, recording.StateReady)
	in := recording.Insight{}
	for in.Detail == "" {
		in = w.awaitInsight(second, recording.StageTranscribe, recording.InsightWaiting)
	}
	if diff := cmp.Diff([]string{"processing.delayed"}, w.told(second)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if err := s.Stop(context.Background()); err != nil { // nobody reads the clock now
		t.Fatal(err)
	}
	now = now.AddDate(0, 0, 1)
	w.start(w.asking(service))
	w.awaitInsight(second, recording.StageTranscribe, recording.InsightReady)
}

// TestDeletedWhileTranscribed wants a worker to be free again soon after the deletion
// of the recording that it waits for an answer about, and nothing to be kept.
func TestDeletedWhileTranscribed(t *testing.T) {
	t.Parallel()
	w, service := newWorld(t), aiserver.New(t)
	service.Script(aiserver.Hang())
	w.start(w.asking(service))
	id := w.upload(spoken(t, "wav"), nil, nil)
	w.awaitStage(id, recording.StageTranscribe)
	if err := w.catalog.DeleteRecording(t.Context(), w.owner, id); err != nil {
		t.Fatal(err)
	}
	other := w.upload(spoken(t, "flac"), nil, nil)
	w.awaitInsight(other, recording.StageTranscribe, recording.InsightReady)
	var kept int
	if err := w.pool.QueryRow(t.Context(), `SELECT count(*) FROM provider_results WHERE recording_id = $1`, id).Scan(&kept); err != nil || kept != 0 {
		t.Errorf("%d answers about a deleted recording are kept, %v", kept, err)
	}
}

// TestMissingInsightJob wants the janitor to enqueue a job that somebody has deleted,
// once.
func TestMissingInsightJob(t *testing.T) {
	t.Parallel()
	w, service := newWorld(t), aiserver.New(t)
	service.Always(aiserver.Status(503))
	s := w.start(w.asking(service))
	id := w.upload(spoken(t, "wav"), nil, nil)
	w.awaitInsight(id, recording.StageTranscribe, recording.InsightWaiting)
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.pool.Exec(t.Context(), `DELETE FROM river_job WHERE kind = 'insight'`); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} {
		if n, err := w.catalog.RequeueInsights(t.Context()); err != nil || n != want {
			t.Errorf("%d jobs were enqueued, not %d: %v", n, want, err)
		}
	}
	service.Always(nil)
	w.start(w.asking(service))
	w.awaitInsight(id, recording.StageAnalyse, recording.InsightReady)
}

// TestUselessAnalysis wants the tokens of answers that are of no use to count, and the
// transcript to stay.
func TestUselessAnalysis(t *testing.T) {
	t.Parallel()
	w, service := newWorld(t), aiserver.New(t)
	service.Chat(func(aiserver.Chat) (string, error) { return "I would rather not.", nil })
	w.start(w.asking(service))
	id := w.upload(spoken(t, "wav"), nil, nil)
	in := w.awaitInsight(id, recording.StageAnalyse, recording.InsightFailed)
	if in.Reason != recording.ReasonProviderReply {
		t.Errorf("it failed with %q", in.Reason)
	}
	var tokens int64
	if err := w.pool.QueryRow(t.Context(), `SELECT tokens FROM provider_usage WHERE owner_id = $1`, w.owner).Scan(&tokens); err != nil || tokens == 0 {
		t.Errorf("%d tokens are counted, %v", tokens, err)
	}
	if transcript, err := w.catalog.Transcript(t.Context(), w.owner, id); err != nil || transcript.Text() == "" {
		t.Errorf("the transcript is %+v, %v", transcript, err)
	}
}
