package processing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

const (
	// orphanAge is how old something in storage is before the janitor asks whom
	// it belongs to. A stage's artifacts belong to nobody until the stage is
	// recorded, and no stage takes nearly that long.
	orphanAge    = 24 * time.Hour
	janitorBatch = 500
)

// Janitor ends what was given up and deletes what belongs to nobody.
type Janitor struct {
	catalog Catalog
	objects Objects
	now     func() time.Time
	log     *slog.Logger
}

// JanitorResult counts what a round did.
type JanitorResult struct {
	ExpiredUploads int
	Objects        int // deleted orphans
	Parts          int // deleted orphans: uploads whose parts belong to nobody
	Temps          int // deleted remains of unfinished writes
}

// NewJanitor returns a Janitor. Now is the clock.
func NewJanitor(catalog Catalog, objects Objects, now func() time.Time, log *slog.Logger) *Janitor {
	return &Janitor{catalog: catalog, objects: objects, now: now, log: log}
}

// RunOnce does one round. It does all it can, and returns every error joined.
func (j *Janitor) RunOnce(ctx context.Context) (JanitorResult, error) {
	var res JanitorResult
	now := j.now()
	var err error
	if res.ExpiredUploads, err = j.catalog.ExpireUploads(ctx, now); err != nil {
		err = fmt.Errorf("expire uploads: %w", err)
	}
	err = errors.Join(err, j.sweep(ctx, now.Add(-orphanAge), &res))
	j.log.InfoContext(ctx, "janitor done", slog.Int("expired", res.ExpiredUploads), slog.Int("objects", res.Objects),
		slog.Int("parts", res.Parts), slog.Int("temps", res.Temps))
	return res, err
}

// sweep deletes what is older than before and belongs to nobody.
func (j *Janitor) sweep(ctx context.Context, before time.Time, res *JanitorResult) error {
	var keys []string
	var ids []uuid.UUID
	err := j.objects.List(ctx, func(e recording.StoredEntry) error {
		if !e.ModifiedAt.Before(before) {
			return nil
		}
		switch e.Kind {
		case recording.StoredTemp:
			if err := j.objects.Remove(ctx, e); err != nil {
				return err
			}
			res.Temps++
		case recording.StoredObject:
			if keys = append(keys, e.Key); len(keys) == janitorBatch {
				err := j.sweepObjects(ctx, keys, res)
				keys = keys[:0]
				return err
			}
		case recording.StoredParts:
			if ids = append(ids, e.UploadID); len(ids) == janitorBatch {
				err := j.sweepParts(ctx, ids, res)
				ids = ids[:0]
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look through the storage: %w", err)
	}
	return errors.Join(j.sweepObjects(ctx, keys, res), j.sweepParts(ctx, ids, res))
}

func (j *Janitor) sweepObjects(ctx context.Context, keys []string, res *JanitorResult) error {
	if len(keys) == 0 {
		return nil
	}
	known, err := j.catalog.KnownObjects(ctx, keys)
	if err != nil {
		return fmt.Errorf("ask whose objects these are: %w", err)
	}
	for _, key := range keys {
		if known[key] {
			continue
		}
		if err := j.objects.Delete(ctx, key); err != nil {
			return err
		}
		res.Objects++
	}
	return nil
}

func (j *Janitor) sweepParts(ctx context.Context, ids []uuid.UUID, res *JanitorResult) error {
	if len(ids) == 0 {
		return nil
	}
	known, err := j.catalog.KnownUploads(ctx, ids)
	if err != nil {
		return fmt.Errorf("ask whose parts these are: %w", err)
	}
	for _, id := range ids {
		if known[id] {
			continue
		}
		if err := j.objects.Remove(ctx, recording.StoredEntry{Kind: recording.StoredParts, UploadID: id}); err != nil {
			return err
		}
		res.Parts++
	}
	return nil
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
