package fsck

import (
	"context"
	"fmt"
	"time"

	"reprise/recording"
)

const (
	// storageBatch is how many things in storage the ledger is asked about at once.
	storageBatch = 500
	// tempAge is how old a temporary file is at least before it is called left behind:
	// nothing else tells it from one that is being written.
	tempAge = 24 * time.Hour
)

// checkStorage looks for what is old and nobody's. The ledger is asked after the
// storage, so that what was recorded in between is somebody's.
func (r *run) checkStorage(ctx context.Context) error {
	now := r.o.Now()
	before, tempBefore := now.Add(-r.o.OlderThan), now.Add(-max(r.o.OlderThan, tempAge))
	var batch []recording.StoredEntry
	err := r.o.Storage.List(ctx, func(e recording.StoredEntry) error {
		r.sum.Entries++
		if e.ModifiedAt.After(before) || e.Kind == recording.StoredTemp && e.ModifiedAt.After(tempBefore) {
			return nil
		}
		if batch = append(batch, e); len(batch) < storageBatch {
			return nil
		}
		err := r.checkEntries(ctx, batch, now)
		batch = batch[:0]
		return err
	})
	if err != nil {
		return fmt.Errorf("look through the storage: %w", err)
	}
	return r.checkEntries(ctx, batch, now)
}

func (r *run) checkEntries(ctx context.Context, batch []recording.StoredEntry, since time.Time) error {
	if len(batch) == 0 {
		return nil
	}
	holdings, err := r.o.Ledger.Holdings(ctx, batch, since)
	if err != nil {
		return fmt.Errorf("ask the ledger whose these are: %w", err)
	}
	for i, e := range batch {
		if holdings[i] == recording.HoldingKept {
			continue
		}
		if err := r.report(ctx, problemOf(e, holdings[i])); err != nil {
			return err
		}
	}
	return nil
}

func problemOf(e recording.StoredEntry, holding recording.Holding) Problem {
	p := Problem{UploadID: e.UploadID, Key: e.Key, MultipartID: e.MultipartID, ModifiedAt: inUTC(e.ModifiedAt), entry: e}
	if e.Kind != recording.StoredMultipart { // whose size nobody knows
		p.SizeBytes = &e.SizeBytes
	}
	kinds := map[recording.StoredKind]Kind{
		recording.StoredObject: OrphanObject, recording.StoredParts: OrphanParts,
		recording.StoredMultipart: OrphanMultipart, recording.StoredTemp: OrphanTemp,
	}
	if holding == recording.HoldingUnknown {
		kinds = map[recording.StoredKind]Kind{
			recording.StoredObject: UnknownObject, recording.StoredParts: UnknownParts, recording.StoredMultipart: UnknownMultipart,
		}
	}
	p.Kind = kinds[e.Kind]
	return p
}

// age is how long ago something in storage was changed, for people.
func age(now, modified time.Time) string {
	d := now.Sub(modified)
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return d.Truncate(time.Minute).String()
}
