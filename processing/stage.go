package processing

import (
	"context"
	"time"

	"reprise/recording"
)

// stage is one step of processing. It can be run any number of times, also
// after it was killed half-way.
type stage interface {
	name() recording.Stage
	// deadline is how long one run may take, which grows with the size.
	deadline(recording.Work) time.Duration
	// run does the step in dir, an empty folder that is removed afterwards. Its
	// error says whether trying again makes sense: a *recording.Rejection blames
	// the file, a *permanentError the server, for good; any other is tried again.
	run(ctx context.Context, w recording.Work, dir string) (recording.StageResult, error)
}

// permanentError is a fault of the server's that no retry mends.
type permanentError struct {
	reason recording.Reason
	detail string // one English sentence for people
	err    error
}

func (e *permanentError) Error() string { return string(e.reason) + ": " + e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// bytesPerSecond is how fast a storage and a disk move bytes at the very least.
const bytesPerSecond = 5 << 20

// timeToMove returns the longest time that the bytes of a recording may take
// from one place to another.
func timeToMove(w recording.Work) time.Duration {
	size := w.Upload.Offset
	return 2*time.Minute + time.Duration(size/bytesPerSecond)*time.Second
}
