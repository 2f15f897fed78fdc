package processing

import (
	"context"
	"path/filepath"
	"time"

	"reprise/processing/ffmpeg"
	"reprise/recording"
)

// probeStage finds out what is in the file, and rejects what no decoding is
// needed to reject.
type probeStage struct {
	objects Objects
	tools   *ffmpeg.Tools
}

func (s *probeStage) name() recording.Stage { return recording.StageProbe }

func (s *probeStage) deadline(w recording.Work) time.Duration { return 2*time.Minute + timeToMove(w) }

func (s *probeStage) run(ctx context.Context, w recording.Work, dir string) (recording.StageResult, error) {
	path, err := fetch(ctx, s.objects, w, dir)
	if err != nil {
		return recording.StageResult{}, err
	}
	info, err := s.tools.Probe(ctx, path)
	if err != nil {
		return recording.StageResult{}, err
	}
	return recording.StageResult{Media: &info.Media}, nil
}

// fetch makes the original a local file, under a name that says nothing.
func fetch(ctx context.Context, objects Objects, w recording.Work, dir string) (string, error) {
	path := filepath.Join(dir, "original")
	err := objects.Fetch(ctx, w.Recording.ObjectKey, path)
	if recording.CodeOf(err) == recording.CodeNotFound {
		err = lost(err)
	}
	return path, err
}
