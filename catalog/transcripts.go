package catalog

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// Transcript returns what was said in one of the owner's recordings, as its owner has
// corrected it.
func (c *Catalog) Transcript(ctx context.Context, owner, id uuid.UUID) (recording.Transcript, error) {
	t, err := readTranscript(ctx, c.pool, owner, id)
	return t, classify(err)
}

// readTranscript reads a transcript and applies its corrections, all of one moment.
func readTranscript(ctx context.Context, q querier, owner, id uuid.UUID) (recording.Transcript, error) {
	var t recording.Transcript
	rows, err := q.Query(ctx, `
		SELECT t.language, t.provider, t.model, t.segments, t.version, t.created_at, coalesce((
			SELECT json_agg(json_build_object('startMs', start_ms, 'endMs', end_ms, 'text', text, 'version', version, 'at', at) ORDER BY start_ms)
			FROM (SELECT DISTINCT ON (start_ms, end_ms) * FROM corrections
				WHERE recording_id = t.recording_id ORDER BY start_ms, end_ms, version DESC) latest
			WHERE text IS NOT NULL), '[]')
		FROM transcripts t JOIN recordings r ON r.id = t.recording_id
		WHERE t.recording_id = $1 AND r.owner_id = $2 AND r.state <> 'deleted'`, id, owner)
	if err != nil {
		return t, err
	}
	return oneRow(rows, func(row pgx.CollectableRow) (recording.Transcript, error) {
		var corrections []recording.Correction
		err := row.Scan(&t.Language, &t.Provider, &t.Model, &t.Segments, &t.Version, &t.CreatedAt, &corrections)
		t.CreatedAt = t.CreatedAt.UTC()
		return t.Correct(corrections), err
	})
}

// oneRow reads the only row of an answer; no row is ErrNotFound.
func oneRow[T any](rows pgx.Rows, scan pgx.RowToFunc[T]) (T, error) {
	list, err := pgx.CollectRows(rows, scan)
	if err == nil && len(list) == 0 {
		err = recording.ErrNotFound
	}
	if err != nil {
		var none T
		return none, err
	}
	return list[0], nil
}

// Analysis returns what one of the owner's recordings is about.
func (c *Catalog) Analysis(ctx context.Context, owner, id uuid.UUID) (recording.Analysis, error) {
	a, err := readAnalysis(ctx, c.pool, owner, id)
	return a, classify(err)
}

func readAnalysis(ctx context.Context, q querier, owner, id uuid.UUID) (recording.Analysis, error) {
	rows, err := q.Query(ctx, `
		SELECT a.analysis, a.provider, a.model, a.prompt_version, a.created_at FROM analyses a JOIN recordings r ON r.id = a.recording_id
		WHERE a.recording_id = $1 AND r.owner_id = $2 AND r.state <> 'deleted'`, id, owner)
	if err != nil {
		return recording.Analysis{}, err
	}
	return oneRow(rows, func(row pgx.CollectableRow) (a recording.Analysis, err error) {
		var provider, model, prompt string
		var at time.Time
		err = row.Scan(&a, &provider, &model, &prompt, &at)
		a.Provider, a.Model, a.PromptVersion, a.CreatedAt = provider, model, prompt, at.UTC()
		return a, err
	})
}

// Insights returns how far the stages are that were asked for of one of the owner's
// recordings.
func (c *Catalog) Insights(ctx context.Context, owner, id uuid.UUID) ([]recording.Insight, error) {
	r, err := c.Recording(ctx, owner, id)
	return r.Insights, err
}

// Corrections lists every correction that the owner has ever made of a recording, and
// every one that was withdrawn, the latest first.
func (c *Catalog) Corrections(ctx context.Context, owner, id uuid.UUID) ([]recording.Correction, error) {
	list, err := corrections(ctx, c.pool, owner, id)
	return list, classify(err)
}

func corrections(ctx context.Context, q querier, owner, id uuid.UUID) ([]recording.Correction, error) {
	rows, err := q.Query(ctx, `
		SELECT c.start_ms, c.end_ms, coalesce(c.text, ''), c.version, c.at, c.text IS NULL
		FROM corrections c JOIN recordings r ON r.id = c.recording_id
		WHERE c.recording_id = $1 AND r.owner_id = $2 AND r.state <> 'deleted' ORDER BY c.version DESC`, id, owner)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (recording.Correction, error) {
		var x recording.Correction
		err := row.Scan(&x.StartMs, &x.EndMs, &x.Text, &x.Version, &x.At, &x.Withdrawn)
		x.At = x.At.UTC()
		return x, err
	})
}

// active returns the corrections that count, of a history with the latest first.
func active(history []recording.Correction) []recording.Correction {
	type span struct{ startMs, endMs int64 }
	seen := map[span]bool{}
	var list []recording.Correction
	for _, x := range history {
		if s := (span{x.StartMs, x.EndMs}); !seen[s] {
			seen[s] = true
			list = append(list, x)
		}
	}
	return slices.DeleteFunc(list, func(x recording.Correction) bool { return x.Withdrawn })
}

// CorrectTranscript changes one segment of a transcript and returns the whole as it is
// then. It is CodeConflict if the owner has not seen the current version, and
// CodeNotFound if no segment or correction has these times. What changes nothing, or is
// the change that made the current version once more, raises no version and makes no
// event.
func (c *Catalog) CorrectTranscript(ctx context.Context, owner, id uuid.UUID, change recording.CorrectionChange) (recording.Transcript, error) {
	var t recording.Transcript
	err := c.inTx(ctx, func(tx pgx.Tx) error {
		now := c.now()
		// The recording first, as everybody does who changes what is said in it.
		if _, err := tx.Exec(ctx, `SELECT FROM recordings WHERE id = $1 AND owner_id = $2 FOR UPDATE`, id, owner); err != nil {
			return err
		}
		var err error
		if t, err = readTranscript(ctx, tx, owner, id); err != nil {
			return err
		}
		history, err := corrections(ctx, tx, owner, id)
		if err != nil {
			return err
		}
		if repeats(history, change, t.Version) {
			return nil
		}
		if change.Version != t.Version {
			return recording.Errorf(recording.CodeConflict, "The transcript is at version %d by now; get it, and correct that one.", t.Version)
		}
		correction, err := correct(t, active(history), change)
		if err != nil || correction == nil {
			return err
		}
		if err := putCorrection(ctx, tx, id, *correction, now); err != nil {
			return err
		}
		if err := c.askAgain(ctx, tx, id); err != nil {
			return err
		}
		if err := indexRecording(ctx, tx, id); err != nil {
			return err
		}
		if t, err = readTranscript(ctx, tx, owner, id); err != nil {
			return err
		}
		return appendEvent(ctx, tx, recording.NewEvent(owner, id, recording.EventTranscriptCorrected, now, map[string]any{
			"startMs": correction.StartMs, "endMs": correction.EndMs, "version": t.Version,
		}))
	})
	return t, err
}

// repeats reports whether a change is the one that has made the current version: its
// answer was lost.
func repeats(history []recording.Correction, change recording.CorrectionChange, version int64) bool {
	if len(history) == 0 || history[0].Version != version || change.Version != version-1 {
		return false
	}
	last := history[0]
	return last.StartMs == change.StartMs && last.EndMs == change.EndMs && last.Withdrawn == (change.Text == nil) &&
		(change.Text == nil || last.Text == *change.Text)
}

// correct makes a correction of a change, nil if it changes nothing.
func correct(t recording.Transcript, active []recording.Correction, change recording.CorrectionChange) (*recording.Correction, error) {
	x := recording.Correction{StartMs: change.StartMs, EndMs: change.EndMs, Withdrawn: change.Text == nil}
	if change.Text != nil {
		x.Text = *change.Text
	}
	if i := slices.IndexFunc(active, func(a recording.Correction) bool { return a.StartMs == x.StartMs && a.EndMs == x.EndMs }); i >= 0 {
		if !x.Withdrawn && active[i].Text == x.Text {
			return nil, nil
		}
		return &x, nil
	}
	if x.Withdrawn {
		return nil, recording.Errorf(recording.CodeNotFound, "There is no correction from %d to %d ms that could be withdrawn.", x.StartMs, x.EndMs)
	}
	i := slices.IndexFunc(t.Segments, func(s recording.Segment) bool { return s.StartMs == x.StartMs && s.EndMs == x.EndMs })
	if i < 0 {
		return nil, recording.Errorf(recording.CodeNotFound, "Version %d of the transcript has no segment from %d to %d ms.", t.Version, x.StartMs, x.EndMs)
	}
	if t.Segments[i].Text == x.Text {
		return nil, nil
	}
	return trim(x, active)
}

// trim cuts off what of a correction reaches into others, as what the engine has heard
// on their borders does: corrections don't overlap.
func trim(x recording.Correction, active []recording.Correction) (*recording.Correction, error) {
	for _, a := range active {
		if a.StartMs <= x.StartMs && x.StartMs < a.EndMs {
			x.StartMs = a.EndMs
		}
		if a.StartMs < x.EndMs && x.EndMs <= a.EndMs {
			x.EndMs = a.StartMs
		}
	}
	for _, a := range active {
		if x.EndMs <= x.StartMs || a.StartMs < x.EndMs && x.StartMs < a.EndMs {
			return nil, recording.Errorf(recording.CodeConflict, "The segment overlaps your correction from %d to %d ms; withdraw that first.", a.StartMs, a.EndMs)
		}
	}
	if x.EndMs <= x.StartMs {
		return nil, recording.Errorf(recording.CodeConflict, "The segment has no length, so it can't be corrected.")
	}
	return &x, nil
}

// putCorrection writes a correction as the transcript's next version.
func putCorrection(ctx context.Context, tx pgx.Tx, id uuid.UUID, x recording.Correction, now time.Time) error {
	var text *string
	if !x.Withdrawn {
		text = &x.Text
	}
	_, err := tx.Exec(ctx, `
		WITH next AS (UPDATE transcripts SET version = version + 1 WHERE recording_id = $1 RETURNING version)
		INSERT INTO corrections (recording_id, start_ms, end_ms, version, text, at)
		SELECT $1, $2, $3, version, $4, $5 FROM next`, id, x.StartMs, x.EndMs, text, now)
	return err
}
