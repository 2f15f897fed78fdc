package fsck

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

const (
	// pageSize is how many rows are looked at together.
	pageSize = 200
	// parallel is how many of them at once: each waits for the storage.
	parallel = 16
)

// checkRecordings looks for the bytes of every recording that is not deleted.
func (r *run) checkRecordings(ctx context.Context) error {
	return pages(ctx, r.o.Ledger.Inventory, func(list []recording.Work) (uuid.UUID, error) {
		for _, w := range list {
			r.sum.Recordings++
			r.sum.Artifacts += len(w.Recording.Artifacts)
			if w.Upload.State == recording.UploadReceiving {
				r.sum.Uploads++
			}
		}
		return list[len(list)-1].Recording.ID, check(ctx, r, list, r.checkRecording, r.again)
	})
}

// checkPartials looks for the bytes of partial uploads that are not joined yet.
func (r *run) checkPartials(ctx context.Context) error {
	return pages(ctx, r.o.Ledger.PartialInventory, func(list []recording.Upload) (uuid.UUID, error) {
		r.sum.Uploads += len(list)
		return list[len(list)-1].ID, check(ctx, r, list, r.checkPartial, r.partialAgain)
	})
}

// pages calls fn for all pages of a list; fn returns the last id of its page.
func pages[T any](ctx context.Context, list func(context.Context, uuid.UUID, int) ([]T, error), fn func([]T) (uuid.UUID, error)) error {
	for after := uuid.Nil; ; {
		page, err := list(ctx, after, pageSize)
		if err != nil {
			return fmt.Errorf("read the ledger: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		if after, err = fn(page); err != nil {
			return err
		}
	}
}

// finding is what looking for the bytes of one row has come to.
type finding struct {
	problems []Problem
	found    bool  // something was where the ledger has it
	read     int64 // bytes
}

// check looks for what each row of a page names. Rows with problems are looked at a
// second time, after a pause and as the ledger has them then: a row that has changed
// is on its way, and what it named may be gone for good reason. Again returns the row
// as it is now, and false if it has changed.
func check[T any](ctx context.Context, r *run, page []T, look func(context.Context, T) (finding, error), again func(context.Context, T) (bool, error)) error {
	first, err := lookAll(ctx, r, page, look)
	if err != nil {
		return err
	}
	var suspects []T
	for i, f := range first {
		if len(f.problems) > 0 {
			suspects = append(suspects, page[i])
		}
	}
	if len(suspects) == 0 {
		return nil
	}
	if err := pause(ctx, r.o.Pause); err != nil {
		return err
	}
	second, err := lookAll(ctx, r, suspects, look)
	if err != nil {
		return err
	}
	for i, f := range second {
		same, err := again(ctx, suspects[i])
		if err != nil {
			return fmt.Errorf("read the ledger: %w", err)
		}
		if !same {
			continue
		}
		for _, p := range f.problems {
			if err := r.report(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// lookAll looks for what each row of a list names, several at once.
func lookAll[T any](ctx context.Context, r *run, list []T, look func(context.Context, T) (finding, error)) ([]finding, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	findings := make([]finding, len(list))
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i, item := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			var err error
			if findings[i], err = look(ctx, item); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for _, f := range findings {
		r.sum.BytesRead += f.read
		if f.found && !r.trusted {
			if err := r.trust(ctx); err != nil {
				return nil, err
			}
		}
	}
	return findings, nil
}

// checkRecording looks for the bytes of one recording.
func (r *run) checkRecording(ctx context.Context, w recording.Work) (finding, error) {
	var f finding
	u := w.Upload
	switch u.State {
	case recording.UploadReceiving, recording.UploadReceived:
		if err := r.checkUpload(ctx, u, &f); err != nil {
			return f, err
		}
	case recording.UploadStored:
		want := object{key: u.ObjectKey, size: u.Offset, sha256: w.Recording.SHA256}
		if err := r.checkObject(ctx, want, []Kind{OriginalMissing, OriginalSize, OriginalDigest}, &f); err != nil {
			return f, err
		}
	}
	for _, a := range w.Recording.Artifacts {
		want := object{key: a.ObjectKey, size: a.SizeBytes, sha256: a.SHA256}
		if err := r.checkObject(ctx, want, []Kind{ArtifactMissing, ArtifactSize, ArtifactDigest}, &f); err != nil {
			return f, err
		}
	}
	for i := range f.problems {
		p := &f.problems[i]
		p.RecordingID, p.UploadID, p.epoch, p.state = w.Recording.ID, u.ID, u.Epoch, u.State
	}
	return f, nil
}

func (r *run) checkPartial(ctx context.Context, u recording.Upload) (finding, error) {
	var f finding
	err := r.checkUpload(ctx, u, &f)
	for i := range f.problems {
		p := &f.problems[i]
		p.UploadID, p.epoch, p.state = u.ID, u.Epoch, u.State
	}
	return f, err
}

// checkUpload looks for the parts of an upload, or for the object that the store
// stage has made of them without having said so yet.
func (r *run) checkUpload(ctx context.Context, u recording.Upload, f *finding) error {
	err := r.checkParts(ctx, u)
	if !isLost(err) {
		return err
	}
	if u.State == recording.UploadReceived {
		info, err := r.o.Storage.Stat(ctx, u.ObjectKey)
		if err == nil && info.SizeBytes == u.Offset {
			return nil
		}
		if err != nil && recording.CodeOf(err) != recording.CodeNotFound {
			return fmt.Errorf("look for an object: %w", err)
		}
	}
	f.problems = append(f.problems, Problem{Kind: PartsLost, WantBytes: &u.Offset})
	return nil
}

// checkParts returns an error that isLost if bytes of an upload are missing; those of
// a final upload are its partial ones'.
func (r *run) checkParts(ctx context.Context, u recording.Upload) error {
	for _, p := range u.Partials {
		var f finding
		if err := r.checkUpload(ctx, p, &f); err != nil {
			return err
		}
		if len(f.problems) > 0 {
			return errLost
		}
	}
	if err := r.o.Storage.CheckParts(ctx, u); err != nil {
		return fmt.Errorf("look for parts: %w", err)
	}
	return nil
}

var errLost = recording.Errorf(recording.CodeUploadGone, "lost")

func isLost(err error) bool { return recording.CodeOf(err) == recording.CodeUploadGone }

// object is what the ledger says of one.
type object struct {
	key    string
	size   int64
	sha256 []byte // nil if it is not known yet
}

// checkObject looks for an object. Kinds are those of one that is missing, of another
// size, and of other bytes.
func (r *run) checkObject(ctx context.Context, want object, kinds []Kind, f *finding) error {
	problem := Problem{Key: want.key, WantBytes: &want.size}
	info, err := r.o.Storage.Stat(ctx, want.key)
	switch {
	case recording.CodeOf(err) == recording.CodeNotFound:
		problem.Kind = kinds[0]
	case err != nil:
		return fmt.Errorf("look for an object: %w", err)
	case info.SizeBytes != want.size:
		problem.Kind = kinds[1]
	default:
		f.found = true
		if !r.o.Verify || want.sha256 == nil {
			return nil
		}
		same, err := r.sameBytes(ctx, want, f)
		if same || err != nil {
			return err
		}
		problem.Kind = kinds[2]
	}
	if err == nil {
		problem.SizeBytes, problem.ModifiedAt = &info.SizeBytes, inUTC(info.ModifiedAt)
	}
	f.problems = append(f.problems, problem)
	return nil
}

// sameBytes reads an object and reports whether it has the digest that it should.
func (r *run) sameBytes(ctx context.Context, want object, f *finding) (bool, error) {
	o, err := r.o.Storage.Open(ctx, want.key)
	if recording.CodeOf(err) == recording.CodeNotFound {
		return false, nil // gone since; the second look says what that means
	}
	if err != nil {
		return false, fmt.Errorf("open an object: %w", err)
	}
	defer o.Close()
	h := sha256.New()
	n, err := io.Copy(h, contextReader{ctx, o})
	if f.read += n; err != nil {
		return false, fmt.Errorf("read an object: %w", err)
	}
	return bytes.Equal(h.Sum(nil), want.sha256), nil
}

// again reports whether the ledger still says the same of a recording.
func (r *run) again(ctx context.Context, w recording.Work) (bool, error) {
	now, err := r.o.Ledger.Work(ctx, w.Recording.ID)
	if errors.Is(err, recording.ErrNotFound) {
		return false, nil
	}
	return now.Recording.Version == w.Recording.Version && sameUpload(now.Upload, w.Upload), err
}

func (r *run) partialAgain(ctx context.Context, u recording.Upload) (bool, error) {
	now, err := r.o.Ledger.UploadByID(ctx, u.ID)
	if errors.Is(err, recording.ErrNotFound) {
		return false, nil
	}
	return sameUpload(now, u), err
}

// sameUpload reports whether the bytes of an upload are where they were.
func sameUpload(a, b recording.Upload) bool {
	return a.State == b.State && a.FinalID == b.FinalID && a.Offset == b.Offset && a.ObjectKey == b.ObjectKey && a.MultipartID == b.MultipartID &&
		slices.EqualFunc(a.Parts, b.Parts, func(p, q recording.Part) bool {
			return p.Number == q.Number && p.Size == q.Size && p.Ref == q.Ref
		}) &&
		slices.EqualFunc(a.Partials, b.Partials, sameUpload)
}

// checkJobs looks for work that nobody is to do.
func (r *run) checkJobs(ctx context.Context) error {
	for _, c := range []struct {
		kind Kind
		list func(context.Context, uuid.UUID, int) ([]uuid.UUID, error)
	}{
		{StageJobMissing, r.o.Ledger.RecordingsWithoutJob},
		{PurgeJobMissing, r.o.Ledger.RecordingsWithoutPurge},
	} {
		err := pages(ctx, c.list, func(ids []uuid.UUID) (uuid.UUID, error) {
			for _, id := range ids {
				if err := r.report(ctx, Problem{Kind: c.kind, RecordingID: id}); err != nil {
					return id, err
				}
			}
			return ids[len(ids)-1], nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func inUTC(t time.Time) *time.Time {
	t = t.UTC()
	return &t
}
