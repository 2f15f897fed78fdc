package processing

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"reprise/processing/ffmpeg"
	"reprise/recording"
)

// transcodeStage decodes everything once and stores what comes of it. Each run
// writes objects of its own, under random names; those of a run that is not
// recorded belong to nobody, and the janitor deletes them.
type transcodeStage struct {
	objects Objects
	tools   *ffmpeg.Tools
	ticks   Ticks
	metrics *metrics
	now     func() time.Time
}

func (s *transcodeStage) name() recording.Stage { return recording.StageTranscode }

// deadline allows for decoding in real time, which is a fiftieth of the usual
// speed. The header's duration can make it no longer than the limit.
func (s *transcodeStage) deadline(w recording.Work) time.Duration {
	longest := s.tools.Limits().MaxDuration
	if m := w.Recording.Media; m != nil && m.DurationMs > 0 && m.DurationMs < longest.Milliseconds() {
		longest = time.Duration(m.DurationMs) * time.Millisecond
	}
	return 5*time.Minute + longest + timeToMove(w)
}

func (s *transcodeStage) run(ctx context.Context, w recording.Work, dir string) (recording.StageResult, error) {
	var none recording.StageResult
	path, err := fetch(ctx, s.objects, w, dir)
	if err != nil {
		return none, err
	}
	info, err := s.tools.Probe(ctx, path)
	if err != nil {
		return none, err
	}
	out := filepath.Join(dir, "renditions")
	if err := os.Mkdir(out, 0o700); err != nil {
		return none, err
	}
	start := time.Now()
	res, err := s.tools.Render(ctx, path, out, info, func(p ffmpeg.Progress) { s.tell(ctx, w.Recording, p) })
	if err != nil {
		return none, err
	}
	s.metrics.realTimeFactor.Observe(res.Duration.Seconds() / time.Since(start).Seconds())

	media := info.Media
	media.DurationMs = res.Duration.Milliseconds()
	result := recording.StageResult{Media: &media, Loudness: &res.Loudness, Silences: res.Silences, Decoded: res.Duration}
	if result.Silences == nil {
		result.Silences = []recording.Silence{} // none, not unknown
	}
	result.Artifacts, err = s.store(ctx, w.Recording, res)
	return result, err
}

// tell publishes a tick. What is not known is left out.
func (s *transcodeStage) tell(ctx context.Context, r recording.Recording, p ffmpeg.Progress) {
	data := map[string]any{"stage": recording.StageTranscode, "speed": math.Round(p.Speed*10) / 10}
	if p.Percent >= 0 {
		data["percent"] = math.Round(p.Percent*10) / 10
	}
	if p.Remaining >= 0 {
		data["remainingMs"] = p.Remaining.Milliseconds()
	}
	s.ticks.Publish(ctx, recording.NewEvent(r.OwnerID, r.ID, recording.EventProcessingProgress, s.now(), data))
}

func (s *transcodeStage) store(ctx context.Context, r recording.Recording, res ffmpeg.Result) ([]recording.Artifact, error) {
	peaks, err := res.Peaks.JSON()
	if err != nil {
		return nil, err
	}
	var list []recording.Artifact
	put := func(kind recording.ArtifactKind, name, contentType string, body io.Reader) {
		if err != nil {
			return
		}
		a := recording.Artifact{Kind: kind, ObjectKey: artifactKey(r, name), ContentType: contentType}
		h := sha256.New()
		var info recording.ObjectInfo
		if info, err = s.objects.Put(ctx, a.ObjectKey, io.TeeReader(body, h)); err != nil {
			err = fmt.Errorf("store the %s: %w", kind, err)
			return
		}
		a.SizeBytes, a.SHA256 = info.SizeBytes, h.Sum(nil)
		list = append(list, a)
	}
	putFile := func(kind recording.ArtifactKind, name, contentType, path string) {
		f, openErr := os.Open(path)
		if openErr != nil {
			err = openErr
			return
		}
		defer f.Close()
		put(kind, name, contentType, f)
	}
	putFile(recording.ArtifactAAC, "aac.m4a", "audio/mp4", res.AACPath)
	putFile(recording.ArtifactOpus, "opus.opus", "audio/ogg", res.OpusPath)
	put(recording.ArtifactPeaks, "peaks.dat", "application/octet-stream", bytes.NewReader(res.Peaks.Binary()))
	put(recording.ArtifactPeaksJSON, "peaks.json", "application/json", bytes.NewReader(peaks))
	return list, err
}

// artifactKey makes "recordings/<id>/aac-<random>.m4a" of "aac.m4a".
func artifactKey(r recording.Recording, name string) string {
	base, ext, _ := strings.Cut(name, ".")
	return fmt.Sprintf("recordings/%s/%s-%s.%s", r.ID, base, strings.ToLower(rand.Text()), ext)
}
