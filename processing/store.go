package processing

import (
	"context"
	"time"

	"reprise/internal/failpoint"
	"reprise/recording"
)

// storeStage makes one object of the parts of an upload, or of the partial uploads
// of a final one. The parts stay until the object is verified.
type storeStage struct{ objects Objects }

func (s *storeStage) name() recording.Stage { return recording.StageStore }

// deadline allows a final upload to move its bytes three times: into an object of
// each partial one, out of these and into its own.
func (s *storeStage) deadline(w recording.Work) time.Duration {
	if w.Upload.PartialIDs != nil {
		return 3 * timeToMove(w)
	}
	return timeToMove(w)
}

func (s *storeStage) run(ctx context.Context, w recording.Work, _ string) (recording.StageResult, error) {
	if w.Upload.PartialIDs != nil {
		return s.join(ctx, w.Upload)
	}
	return recording.StageResult{}, s.assemble(ctx, w.Upload)
}

func (s *storeStage) assemble(ctx context.Context, u recording.Upload) error {
	err := s.objects.Assemble(ctx, u)
	if recording.CodeOf(err) == recording.CodeUploadGone {
		err = lost(err)
	}
	return err
}

// join makes the object of a final upload. No storage can say what the digest of
// bytes behind one another is, so they are read once, and each partial upload is
// compared with the digest that was made as its bytes came in.
func (s *storeStage) join(ctx context.Context, u recording.Upload) (recording.StageResult, error) {
	for _, p := range u.Partials {
		if err := s.assemble(ctx, p); err != nil {
			return recording.StageResult{}, err
		}
		failpoint.Hit("concat.partial")
	}
	r := newPartialsReader(ctx, s.objects, u.Partials)
	defer r.close()
	_, err := s.objects.Put(ctx, u.ObjectKey, r)
	if r.err != nil { // whatever the storage makes of it
		err = r.err
	}
	if err != nil {
		return recording.StageResult{}, err
	}
	return recording.StageResult{SHA256: r.whole.Sum(nil)}, nil
}

func lost(err error) error {
	return &permanentError{recording.ReasonStorage, "The server has lost bytes of this recording; please upload it again.", err}
}
