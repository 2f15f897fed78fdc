package processing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"reprise/internal/standin"
	"reprise/recording"
)

func TestSpeechBecomesPlayable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(nil)
	data := spoken(t, "m4a")
	sum := sha256.Sum256(data)
	id := w.upload(data, map[string]string{"sha256": strings.ToUpper(hex.EncodeToString(sum[:]))}, nil)
	r := w.wait(id, recording.StateReady, recording.StateRejected, recording.StateFailed)
	if r.State != recording.StateReady || r.Stage != "" || r.ReadyAt == nil {
		t.Fatalf("%s at stage %q: %s %s", r.State, r.Stage, r.Reason, r.Detail)
	}
	if r.Media == nil || r.Media.Codec != "aac" || r.Media.DurationMs < 3900 || r.Media.DurationMs > 4200 {
		t.Errorf("media %+v", r.Media)
	}
	if r.Loudness == nil || r.Loudness.IntegratedLUFS == nil || r.Silences == nil {
		t.Errorf("loudness %+v, silences %v", r.Loudness, r.Silences)
	}
	types := map[recording.ArtifactKind]string{}
	for _, a := range r.Artifacts {
		types[a.Kind] = a.ContentType
		w.checkArtifact(a)
	}
	want := map[recording.ArtifactKind]string{
		recording.ArtifactAAC: "audio/mp4", recording.ArtifactOpus: "audio/ogg",
		recording.ArtifactPeaks: "application/octet-stream", recording.ArtifactPeaksJSON: "application/json",
	}
	if diff := cmp.Diff(want, types); diff != "" {
		t.Error(diff)
	}
	if s := w.stored(); len(s[recording.StoredObject]) != 5 || len(s[recording.StoredParts]) != 0 || len(s[recording.StoredTemp]) != 0 {
		t.Errorf("left in storage: %v", s)
	}
	w.checkEvents(recording.EventUploadCreated, recording.EventUploadReceived, recording.EventStageCompleted, recording.EventStageCompleted,
		recording.EventStageCompleted, recording.EventStageCompleted, recording.EventRecordingReady)
}

func (w *world) checkArtifact(a recording.Artifact) {
	w.t.Helper()
	o, err := w.store.Open(w.t.Context(), a.ObjectKey)
	if err != nil {
		w.t.Fatal(err)
	}
	defer o.Close()
	data, err := io.ReadAll(o)
	if err != nil {
		w.t.Fatal(err)
	}
	if sum := sha256.Sum256(data); a.SizeBytes != int64(len(data)) || a.SizeBytes == 0 || !bytes.Equal(a.SHA256, sum[:]) {
		w.t.Errorf("%s: %d bytes in storage, %d recorded", a.Kind, len(data), a.SizeBytes)
	}
}

func (w *world) checkEvents(want ...recording.EventType) {
	w.t.Helper()
	events, err := w.catalog.EventsSince(w.t.Context(), w.owner, nil, 0, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	var got []recording.EventType
	for _, e := range events {
		got = append(got, e.Type)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Error(diff)
	}
}

func TestRejections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	metrics := prometheus.NewRegistry()
	s := w.start(func(o *Options) { o.Metrics = metrics })
	whole := spoken(t, "m4a", "-movflags", "+faststart")
	cases := map[recording.Reason]uuid.UUID{
		recording.ReasonEmpty:            w.upload(nil, nil, nil),
		recording.ReasonChecksumMismatch: w.upload(whole, map[string]string{"sha256": strings.Repeat("0", 64)}, nil),
		recording.ReasonNotAudio:         w.upload([]byte("#EXTM3U\n#EXTINF:10,\nfile.flac\n"), nil, nil),
		recording.ReasonTruncated:        w.upload(whole[:len(whole)/2], nil, nil),
	}
	for reason, id := range cases {
		r := w.wait(id, recording.StateReady, recording.StateRejected, recording.StateFailed)
		if r.State != recording.StateRejected || r.Reason != reason || r.Detail == "" {
			t.Errorf("want %s, got %s: %s %q", reason, r.State, r.Reason, r.Detail)
		}
	}
	if n := testutil.CollectAndCount(s.metrics.rejected); n != len(cases) {
		t.Errorf("%d reasons counted", n)
	}
	if problems, err := testutil.GatherAndLint(metrics); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
}

// What is stored is not what was received: the recording fails with its upload,
// which nobody is told any more to be complete, and the parts stay.
func TestStorageError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.upload(spoken(t, "opus"), nil, make([]byte, 32)) // of another digest
	missing := w.upload(spoken(t, "opus"), nil, nil)
	if err := w.store.DiscardParts(t.Context(), w.work(missing).Upload); err != nil {
		t.Fatal(err)
	}
	w.start(nil)
	for id, stage := range map[uuid.UUID]recording.Stage{other: recording.StageVerify, missing: recording.StageStore} {
		r := w.wait(id, recording.StateReady, recording.StateRejected, recording.StateFailed)
		if r.State != recording.StateFailed || r.Reason != recording.ReasonStorage || r.Stage != stage {
			t.Errorf("%s at %s: %s", r.State, r.Stage, r.Reason)
		}
		if u := w.work(id).Upload; u.State != recording.UploadFailed {
			t.Errorf("after %s the upload is %s", stage, u.State)
		}
	}
	if s := w.stored(); len(s[recording.StoredParts]) != 1 {
		t.Errorf("stored: %v", s)
	}
}

func TestRetriesThenReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(func(o *Options) { o.Objects = &badFetch{Objects: w.store, left: 1} })
	r := w.wait(w.upload(spoken(t, "mp3"), nil, nil), recording.StateReady, recording.StateFailed)
	if r.State != recording.StateReady {
		t.Errorf("%s: %s", r.State, r.Reason)
	}
	want := []string{"completed 1", "completed 1", "completed 2", "completed 1"}
	for start := time.Now(); !slices.Equal(want, w.jobs()); time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 10*time.Second { // a job ends soon after its stage is recorded
			t.Fatal(cmp.Diff(want, w.jobs()))
		}
	}
}

// Three attempts, then the recording fails; another one is not held up.
func TestGivesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(func(o *Options) { o.Objects = &badFetch{Objects: w.store, left: 3}; o.Workers = 1 })
	poison := w.upload(spoken(t, "mp3"), nil, nil)
	if r := w.wait(poison, recording.StateReady, recording.StateFailed); r.State != recording.StateFailed || r.Reason != recording.ReasonInternal || r.Stage != recording.StageProbe {
		t.Errorf("%s at %s: %s", r.State, r.Stage, r.Reason)
	}
	if r := w.wait(w.upload(spoken(t, "mp3"), nil, nil), recording.StateReady, recording.StateFailed); r.State != recording.StateReady {
		t.Errorf("the other one is %s", r.State)
	}
}

// The job of a worker that is dead runs again.
func TestRescue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.upload(spoken(t, "mp3"), nil, nil)
	if _, err := w.pool.Exec(t.Context(), `UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now(), attempted_by = ARRAY['reprise-dead']`); err != nil {
		t.Fatal(err)
	}
	w.start(nil)
	if r := w.wait(id, recording.StateReady, recording.StateFailed); r.State != recording.StateReady {
		t.Errorf("%s: %s", r.State, r.Reason)
	}
}

// A job that the queue gave to a living worker, which never heard of it, runs again.
// One that does run is left alone.
func TestRescueLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lost := w.upload(spoken(t, "mp3"), nil, nil)
	if _, err := w.pool.Exec(t.Context(), `UPDATE river_job SET state = 'scheduled', scheduled_at = now() + interval '1 hour'`); err != nil {
		t.Fatal(err)
	}
	hang := standin.Named(t, standin.Build(t), "hang", "")
	s := w.start(func(o *Options) { o.FFmpeg = hang })
	running := w.upload(spoken(t, "mp3"), nil, nil)
	w.awaitStage(running, recording.StageTranscode)
	if _, err := w.pool.Exec(t.Context(), `UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now(), attempted_by = ARRAY[$1]
		WHERE state = 'scheduled'`, s.clientID); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := s.RescueOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.awaitStage(lost, recording.StageTranscode)
	var attempts int
	if err := w.pool.QueryRow(t.Context(), `SELECT attempt FROM river_job WHERE args->>'recordingId' = $1 AND state = 'running'`, running.String()).Scan(&attempts); err != nil || attempts != 1 {
		t.Errorf("the job that ran all the time is at attempt %d: %v", attempts, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// A stop interrupts what does not end by itself; the attempt does not count.
func TestStopInterrupts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hang := standin.Named(t, standin.Build(t), "hang", "")
	s := w.start(func(o *Options) { o.FFmpeg = hang })
	id := w.upload(spoken(t, "mp3"), nil, nil)
	for start := time.Now(); time.Since(start) < 30*time.Second; time.Sleep(20 * time.Millisecond) {
		if made, _ := filepath.Glob(filepath.Join(w.workDir, "worker-*", "job-*", "renditions", "*")); len(made) > 0 {
			break
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the stop took %s", took)
	}
	if diff := cmp.Diff([]string{"completed 1", "completed 1", "completed 1", "available 0"}, w.jobs()); diff != "" {
		t.Error(diff)
	}
	if left, _ := filepath.Glob(filepath.Join(w.workDir, "worker-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	w.start(nil) // another process
	if r := w.wait(id, recording.StateReady, recording.StateFailed); r.State != recording.StateReady {
		t.Errorf("%s: %s", r.State, r.Reason)
	}
}

// A recording that is deleted while its file is decoded frees its worker: ffmpeg
// ends, its folder goes, and nothing counts as a failure.
func TestDeletedWhileItRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hang := standin.Named(t, standin.Build(t), "hang", "")
	s := w.start(func(o *Options) { o.FFmpeg = hang; o.Workers = 1 })
	deleted := w.upload(spoken(t, "mp3"), nil, nil)
	first := w.hanging(hang)
	other := w.upload(spoken(t, "mp3"), nil, nil) // waits for the one worker
	if err := w.catalog.DeleteRecording(t.Context(), w.owner, deleted); err != nil {
		t.Fatal(err)
	}
	if second := w.hanging(hang, first...); len(second) == 0 {
		t.Fatal("the worker has not become free")
	}
	for _, pid := range first {
		if path, err := os.Readlink("/proc/" + pid + "/exe"); err == nil && path == hang {
			t.Errorf("the process %s still runs", pid)
		}
	}
	job := func(id uuid.UUID) (text string) {
		if err := w.pool.QueryRow(t.Context(), `SELECT state || ' ' || attempt || ' ' || coalesce(array_length(errors, 1), 0) FROM river_job
			WHERE args->>'recordingId' = $1 AND args->>'stage' = 'transcode'`, id.String()).Scan(&text); err != nil {
			t.Fatal(err)
		}
		return text
	}
	if got := []string{job(deleted), job(other)}; !slices.Equal(got, []string{"completed 1 0", "running 1 0"}) {
		t.Errorf("the jobs are %q", got)
	}
	if left, _ := filepath.Glob(filepath.Join(w.workDir, "worker-*", "job-*")); len(left) != 1 {
		t.Errorf("there are %v, want only the other one's", left)
	}
	if n := testutil.ToFloat64(s.metrics.failed.WithLabelValues(string(recording.ReasonInternal))); n != 0 {
		t.Errorf("%v failures counted", n)
	}
}

// hanging waits for processes of a program, but for those that are known, and returns
// their ids.
func (w *world) hanging(program string, known ...string) (pids []string) {
	w.t.Helper()
	for start := time.Now(); len(pids) == 0 && time.Since(start) < 60*time.Second; time.Sleep(20 * time.Millisecond) {
		links, _ := filepath.Glob("/proc/[0-9]*/exe")
		for _, link := range links {
			pid := filepath.Base(filepath.Dir(link))
			if path, err := os.Readlink(link); err == nil && path == program && !slices.Contains(known, pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func TestStartAndStopAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(nil)
	if err := s.Start(t.Context()); err != nil {
		t.Errorf("second start: %v", err)
	}
	for range 2 {
		if err := s.Stop(t.Context()); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	if err := s.Start(t.Context()); err == nil {
		t.Error("started after the stop")
	}
}

func TestProgressIsPublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(nil)
	id := w.upload(spoken(t, "wav", "-filter_complex", "aloop=loop=40:size=64000", "-ar", "44100", "-ac", "2"), nil, nil)
	w.wait(id, recording.StateReady, recording.StateFailed, recording.StateRejected)
	w.ticks.mu.Lock()
	defer w.ticks.mu.Unlock()
	if len(w.ticks.list) == 0 {
		t.Fatal("no ticks")
	}
	for _, e := range w.ticks.list {
		if e.RecordingID != id || e.OwnerID != w.owner || e.Type != recording.EventProcessingProgress || e.Seq != 0 ||
			!bytes.Contains(e.Data, []byte(`"percent":`)) || !bytes.Contains(e.Data, []byte(`"stage":"transcode"`)) {
			t.Errorf("tick %+v %s", e, e.Data)
		}
	}
}
