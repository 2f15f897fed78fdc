package processing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"reprise/recording"
)

const (
	// orphanAge is how old something in storage is before the janitor asks whom
	// it belongs to. Most of what is put there is told to the ledger within seconds;
	// what a recording on its way may still tell, the ledger keeps in any case.
	orphanAge    = 24 * time.Hour
	janitorBatch = 500
)

// Janitor ends what was given up, gives back jobs that are missing, and deletes
// what belongs to nobody.
type Janitor struct {
	catalog Catalog
	objects Objects
	now     func() time.Time
	log     *slog.Logger
}

// JanitorResult counts what the janitor did.
type JanitorResult struct {
	ExpiredUploads int
	Requeued       int // jobs that were missing
	Recounted      int // users whose usage was counted wrong
	Objects        int // deleted orphans
	Parts          int // deleted orphans: uploads whose parts belong to nobody
	Multiparts     int // aborted orphans: unfinished multipart uploads
	Temps          int // deleted remains of unfinished writes
	Unknown        int // left alone: old, and of no recording that this database has ever had
}

// NewJanitor returns a Janitor. Now is the clock.
func NewJanitor(catalog Catalog, objects Objects, now func() time.Time, log *slog.Logger) *Janitor {
	return &Janitor{catalog: catalog, objects: objects, now: now, log: log}
}

// RunOnce does everything: Tidy, then Sweep.
func (j *Janitor) RunOnce(ctx context.Context) (JanitorResult, error) {
	res, err := j.Tidy(ctx)
	swept, sweepErr := j.Sweep(ctx)
	swept.ExpiredUploads, swept.Requeued = res.ExpiredUploads, swept.Requeued+res.Requeued
	return swept, errors.Join(err, sweepErr)
}

// Tidy does what is to be done often and costs little: it asks the database only.
// It does all it can, and returns every error joined.
func (j *Janitor) Tidy(ctx context.Context) (JanitorResult, error) {
	var res JanitorResult
	var err, requeueErr error
	if res.ExpiredUploads, err = j.catalog.ExpireUploads(ctx, j.now()); err != nil {
		err = fmt.Errorf("expire uploads: %w", err)
	}
	for _, requeue := range []func(context.Context) (int, error){j.catalog.RequeueStages, j.catalog.RequeueInsights} {
		n, err := requeue(ctx)
		res.Requeued += n
		if err != nil {
			requeueErr = errors.Join(requeueErr, fmt.Errorf("look for missing jobs: %w", err))
		}
	}
	j.log.InfoContext(ctx, "janitor done", slog.Int("expired", res.ExpiredUploads), slog.Int("requeued", res.Requeued))
	return res, errors.Join(err, requeueErr)
}

// Sweep looks through the whole storage and deletes what is old and nobody's. It
// does all it can, and returns every error joined. What no row of the database has
// to do with it leaves alone: it can't tell an orphan from the treasure of another
// installation, or of the days after the backup that this one was restored from.
func (j *Janitor) Sweep(ctx context.Context) (JanitorResult, error) {
	var res JanitorResult
	var err error
	if res.Requeued, err = j.catalog.RequeuePurges(ctx); err != nil {
		err = fmt.Errorf("look for missing purges: %w", err)
	}
	recounted, countErr := j.catalog.RecountUsage(ctx)
	if res.Recounted = recounted; countErr != nil {
		err = errors.Join(err, fmt.Errorf("count what users have: %w", countErr))
	}
	if sweepErr := j.sweep(ctx, &res); sweepErr != nil {
		err = errors.Join(err, fmt.Errorf("look through the storage: %w", sweepErr))
	}
	level := slog.LevelInfo
	if res.Unknown > 0 || res.Recounted > 0 {
		level = slog.LevelWarn
	}
	j.log.Log(ctx, level, "storage swept", slog.Int("requeued", res.Requeued), slog.Int("objects", res.Objects), slog.Int("parts", res.Parts),
		slog.Int("multiparts", res.Multiparts), slog.Int("temps", res.Temps), slog.Int("unknown", res.Unknown),
		slog.Int("recounted", res.Recounted))
	return res, err
}

// sweep deletes what is old and belongs to nobody. What can't be deleted keeps
// nothing else from being.
func (j *Janitor) sweep(ctx context.Context, res *JanitorResult) error {
	began := j.now()
	before := began.Add(-orphanAge)
	var batch []recording.StoredEntry
	var failed error // the first failure; thousands would say the same
	ask := func() error {
		removeErr, err := j.sweepBatch(ctx, batch, began, res)
		batch = batch[:0]
		failed = cmp.Or(failed, removeErr)
		return err
	}
	err := j.objects.List(ctx, func(e recording.StoredEntry) error {
		if e.ModifiedAt.Before(before) {
			batch = append(batch, e)
		}
		if len(batch) < janitorBatch {
			return nil
		}
		return ask()
	})
	if err == nil {
		err = ask()
	}
	return errors.Join(err, failed)
}

// sweepBatch asks the ledger after the storage, so that what was recorded in between
// is known. It returns the first failure to remove something apart from that to ask.
func (j *Janitor) sweepBatch(ctx context.Context, batch []recording.StoredEntry, since time.Time, res *JanitorResult) (failed, err error) {
	if len(batch) == 0 {
		return nil, nil
	}
	holdings, err := j.catalog.Holdings(ctx, batch, since)
	if err != nil {
		return nil, fmt.Errorf("ask whose these are: %w", err)
	}
	for i, e := range batch {
		switch holdings[i] {
		case recording.HoldingKept:
		case recording.HoldingUnknown:
			res.Unknown++
		default:
			if err := j.objects.Remove(ctx, e); err != nil {
				failed = cmp.Or(failed, err)
				continue
			}
			res.count(e.Kind)
		}
	}
	return failed, ctx.Err()
}

func (r *JanitorResult) count(kind recording.StoredKind) {
	switch kind {
	case recording.StoredObject:
		r.Objects++
	case recording.StoredParts:
		r.Parts++
	case recording.StoredMultipart:
		r.Multiparts++
	case recording.StoredTemp:
		r.Temps++
	}
}

// purge deletes every byte of a recording or a partial upload that may be deleted.
func purge(ctx context.Context, catalog Catalog, objects Objects, job recording.PurgeJob) error {
	p, err := catalog.Purgeable(ctx, job)
	if recording.CodeOf(err) == recording.CodeNotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask what to purge: %w", err)
	}
	for _, key := range p.Keys {
		if err := objects.Delete(ctx, key); err != nil {
			return err
		}
	}
	if p.DiscardParts {
		for _, u := range append(p.Upload.Partials, p.Upload) {
			if err := objects.DiscardParts(ctx, u); err != nil {
				return err
			}
		}
	}
	return catalog.MarkPurged(ctx, job)
}
