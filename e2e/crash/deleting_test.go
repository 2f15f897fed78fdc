package crash

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestEveryPointOfDeleting kills the server at every boundary of giving an
// upload up and of deleting a recording: in the end nothing of it is left.
func TestEveryPointOfDeleting(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		whole  bool // the upload is ready; else it is half done
		points []string
	}{
		{"upload", false, []string{"tx.commit#1", "tx.commit#2", "parts.removed"}},
		{"recording", true, []string{"tx.commit#1", "tx.commit#2", "object.removed#1", "object.removed#5", "parts.removed"}},
	}
	for _, tt := range tests {
		for _, point := range tt.points {
			t.Run(label(tt.name, []string{point}), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				p := w.phone("alice", wav(t, 0, clipSeconds, 1), way{chunk: chunksOf(100 << 10)})
				s := w.start("server 1", "")
				if tt.whole {
					w.begin(p)()
					w.awaitReady(p)
				} else if err := errors.Join(p.create(t.Context()), p.send(t.Context())); err != nil {
					t.Fatal(err)
				}
				s.stop()
				path := p.path
				if tt.whole {
					path = "/v1/recordings/" + p.recording.String()
				}
				s = w.start("server 2", point)
				deleted := make(chan error, 1)
				go func() { deleted <- p.remove(path) }()
				s.awaitDeath()
				s = w.start("server 3", "")
				if err := <-deleted; err != nil {
					t.Fatal(err)
				}
				w.checkGone(p)
				s.stop()
				w.checkClean()
			})
		}
	}
}

// remove deletes an upload or a recording, as often as it takes.
func (p *phone) remove(path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		status, err := p.status(ctx, http.MethodDelete, path)
		switch {
		case status == http.StatusNoContent, status == http.StatusNotFound, status == http.StatusGone:
			return nil
		case err == nil && status != http.StatusServiceUnavailable:
			return violated("DELETE %s was answered with %d", path, status)
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// status returns how a request without a body is answered.
func (p *phone) status(ctx context.Context, method, path string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.base()+path, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	req.Header.Set("Authorization", "Bearer "+p.token)
	res, err := p.http.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

// checkGone wants nothing to be left of the phone's recording but its row, and
// its end to have been told once.
func (w *world) checkGone(p *phone) {
	w.t.Helper()
	w.eventually("the bytes are deleted", func() bool {
		return query[bool](w, `SELECT state = 'deleted' AND purged_at IS NOT NULL FROM recordings WHERE id = $1`, p.recording)
	})
	w.awaitJobs()
	ctx := context.Background()
	for _, path := range []string{p.path, "/v1/recordings/" + p.recording.String()} {
		if status, err := p.status(ctx, http.MethodHead, path); status != http.StatusNotFound && status != http.StatusGone && status != http.StatusMethodNotAllowed {
			w.t.Errorf("HEAD %s is answered with %d, %v", path, status, err)
		}
	}
	told := list[string](w, `SELECT type FROM events WHERE recording_id = $1 ORDER BY seq`, p.recording)
	if n := slices.Index(told, "recording.deleted"); n != len(told)-1 {
		w.t.Errorf("I5: the milestones of a deleted recording are %v", told)
	}
	w.checkRows(1)
}

// TestJanitorDies kills the server while it sweeps: a later one goes on.
func TestJanitorDies(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"object.removed#2", "parts.removed"} {
		t.Run(label("at", []string{point}), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := w.phone("alice", wav(t, 0, clipSeconds, 1), way{})
			s := w.start("server 1", "")
			w.begin(p)()
			w.awaitReady(p)
			s.stop()
			owned := len(w.digests("objects", "parts", "tmp"))
			w.plantOrphans(p)
			w.start("server 2", point).awaitDeath()
			s = w.start("server 3", "")
			w.eventually("the orphans are gone", func() bool { return len(w.digests("objects", "parts", "tmp")) <= owned })
			w.finish([]*server{s}, p)
		})
	}
}

// plantOrphans leaves in the storage what dead servers of long ago may have of the
// phone's recording, and lets it be the day of a sweep.
func (w *world) plantOrphans(p *phone) {
	w.t.Helper()
	old := time.Now().Add(-48 * time.Hour)
	upload := query[uuid.UUID](w, `SELECT id FROM uploads WHERE recording_id = $1`, p.recording)
	for _, name := range []string{
		"objects/recordings/" + p.recording.String() + "/orphan-1", "objects/recordings/" + p.recording.String() + "/orphan-2",
		"parts/" + upload.String() + "/1-1", "tmp/orphan",
	} {
		file := filepath.Join(w.root, name)
		dir := filepath.Dir(file)
		err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(file, []byte("orphan"), 0o600))
		if err = errors.Join(err, os.Chtimes(file, old, old), os.Chtimes(dir, old, old)); err != nil {
			w.t.Fatal(err)
		}
	}
	if _, err := w.pool.Exec(context.Background(), `INSERT INTO river_job (kind, args, max_attempts) VALUES ('sweep', '{}', 3)`); err != nil {
		w.t.Fatal(err)
	}
}
