package processing

import (
	"context"
	"sync"

	"github.com/riverqueue/river/rivertype"
)

// jobWatch knows the jobs that run in this process, and so which of those that are
// its own by the queue's rows it has never got: the database committed that it gave
// them away, and was gone before it could say so.
type jobWatch struct {
	mu      sync.Mutex
	running map[int64]struct{}
	missing map[int64]struct{} // were not running at the last look
}

// work is a middleware around every job.
func (w *jobWatch) work(ctx context.Context, job *rivertype.JobRow, run func(context.Context) error) error {
	w.mu.Lock()
	if w.running == nil {
		w.running = map[int64]struct{}{}
	}
	w.running[job.ID] = struct{}{}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.running, job.ID)
	}()
	return run(ctx)
}

// lost returns which of the jobs are missing at two looks, of which this is one: at
// one a job may be about to begin, or its end about to be recorded. Should that take
// longer, the job runs again and does nothing, since its stage is done.
func (w *jobWatch) lost(ids []int64) (lost []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	missing := map[int64]struct{}{}
	for _, id := range ids {
		if _, ok := w.running[id]; ok {
			continue
		}
		missing[id] = struct{}{}
		if _, ok := w.missing[id]; ok {
			lost = append(lost, id)
		}
	}
	w.missing = missing
	return lost
}
