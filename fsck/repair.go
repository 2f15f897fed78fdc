package fsck

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"reprise/recording"
)

// lostDetail is what the owner of a recording is told.
const lostDetail = "The server has lost bytes of this recording; please upload it again."

// repair mends one problem and reports whether it is. It may find that there is
// nothing to mend any more, or nothing that it may do.
func (r *run) repair(ctx context.Context, p Problem) (bool, error) {
	ledger := r.o.Ledger
	switch p.Kind {
	case OriginalMissing, OriginalSize, OriginalDigest:
		return ledger.LoseOriginal(ctx, p.RecordingID, lostDetail)
	case PartsLost:
		return r.loseParts(ctx, p)
	case ArtifactMissing, ArtifactSize, ArtifactDigest:
		return r.remake(ctx, p.RecordingID)
	case StageJobMissing:
		return ledger.RequeueStage(ctx, p.RecordingID)
	case PurgeJobMissing:
		return ledger.RequeuePurge(ctx, p.RecordingID)
	case UnknownObject, UnknownParts, UnknownMultipart:
		if !r.o.DeleteUnknown {
			return false, nil
		}
	}
	err := r.o.Storage.Remove(ctx, p.entry)
	return err == nil, err
}

func (r *run) loseParts(ctx context.Context, p Problem) (bool, error) {
	if p.state.Complete() && p.RecordingID != uuid.Nil {
		return r.o.Ledger.LoseOriginal(ctx, p.RecordingID, lostDetail)
	}
	err := r.o.Ledger.FailUpload(ctx, p.UploadID, p.epoch, recording.ReasonStorage, lostDetail)
	if errors.Is(err, recording.ErrTakenOver) {
		err = errors.New("its client is at it just now, and will be told; if not, run this again")
	}
	return err == nil, err
}

// remake has the artifacts of a recording made anew, once for all of them that have
// something wrong.
func (r *run) remake(ctx context.Context, recordingID uuid.UUID) (bool, error) {
	if r.remade == recordingID {
		return true, nil
	}
	done, err := r.o.Ledger.RemakeArtifacts(ctx, recordingID)
	if done && err == nil {
		r.remade = recordingID
	}
	return done, err
}
