package processing

import (
	"context"
	"time"

	"reprise/recording"
)

// storeStage makes one object of the parts of an upload. The parts stay until
// the object is verified.
type storeStage struct{ objects Objects }

func (s *storeStage) name() recording.Stage { return recording.StageStore }

func (s *storeStage) deadline(w recording.Work) time.Duration { return timeToMove(w) }

func (s *storeStage) run(ctx context.Context, w recording.Work, _ string) (recording.StageResult, error) {
	err := s.objects.Assemble(ctx, w.Upload)
	if recording.CodeOf(err) == recording.CodeUploadGone {
		err = lost(err)
	}
	return recording.StageResult{}, err
}

func lost(err error) error {
	return &permanentError{recording.ReasonStorage, "The server has lost bytes of this recording; please upload it again.", err}
}
