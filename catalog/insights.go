package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// What follows a ready recording hangs on rows of insights. The order of locks is
// that of everything else: the recording, its insights, its owner's graph, event number.

// askInsight makes a stage due, now or at a later time. A job of an earlier run does
// nothing from then on. The recording is locked.
func (c *Catalog) askInsight(ctx context.Context, tx pgx.Tx, id uuid.UUID, in recording.Insight, at time.Time) error {
	var run int64
	err := tx.QueryRow(ctx, `
		INSERT INTO insights AS was (recording_id, stage, state, language, model, updated_at) VALUES ($1, $2, 'waiting', $3, $4, $5)
		ON CONFLICT (recording_id, stage) DO UPDATE SET run = was.run + 1, state = 'waiting', language = $3, model = $4,
			reason = '', detail = '', updated_at = $5
		RETURNING run`, id, in.Stage, in.Language, in.Model, c.now()).Scan(&run)
	if err != nil {
		return err
	}
	return c.enqueue(ctx, tx, recording.InsightJob{RecordingID: id, Stage: in.Stage, Run: run}, at)
}

// correctionPause is how long after a correction an analysis is asked for: more
// corrections follow, and each puts it off.
const correctionPause = time.Minute

// askAgain asks for a new analysis of a recording that has been analysed, or is to be.
func (c *Catalog) askAgain(ctx context.Context, tx pgx.Tx, id uuid.UUID) error {
	in := recording.Insight{Stage: recording.StageAnalyse}
	err := tx.QueryRow(ctx, `SELECT model FROM insights WHERE recording_id = $1 AND stage = $2`, id, in.Stage).Scan(&in.Model)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return c.askInsight(ctx, tx, id, in, c.now().Add(correctionPause))
}

// Reprocess asks for stages of a ready recording again and returns all its insights.
// An analysis that is to follow a transcription is asked for when that is done.
func (c *Catalog) Reprocess(ctx context.Context, owner, id uuid.UUID, what recording.Reprocessing) ([]recording.Insight, error) {
	var list []recording.Insight
	err := c.inTx(ctx, func(tx pgx.Tx) error {
		var state recording.State
		err := tx.QueryRow(ctx, `SELECT state FROM recordings WHERE owner_id = $1 AND id = $2 AND state <> 'deleted' FOR UPDATE`, owner, id).Scan(&state)
		if errors.Is(err, pgx.ErrNoRows) {
			return recording.ErrNotFound
		}
		if err != nil {
			return err
		}
		if state != recording.StateReady {
			return recording.Errorf(recording.CodeConflict, "Only a ready recording can be transcribed and analysed; this one is %s.", state)
		}
		in := recording.Insight{Stage: what.First(), Language: what.Language, Model: what.Model}
		if in.Stage == recording.StageAnalyse {
			if err := hasTranscript(ctx, tx, id); err != nil {
				return err
			}
		}
		if err := c.askInsight(ctx, tx, id, in, time.Time{}); err != nil {
			return err
		}
		list, err = insightsOf(ctx, tx, id)
		return err
	})
	return list, err
}

func hasTranscript(ctx context.Context, tx pgx.Tx, id uuid.UUID) error {
	var has bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM transcripts WHERE recording_id = $1)`, id).Scan(&has)
	if err == nil && !has {
		return recording.Errorf(recording.CodeConflict, "There is no transcript to analyse yet; ask for the stage transcribe.")
	}
	return err
}

// insightsOf returns what was asked for of a recording, in the order of the stages.
func insightsOf(ctx context.Context, q querier, id uuid.UUID) ([]recording.Insight, error) {
	rows, err := q.Query(ctx, `
		SELECT stage, state, run, language, model, reason, detail, updated_at FROM insights
		WHERE recording_id = $1 ORDER BY stage DESC`, id)
	if err != nil {
		return nil, classify(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[recording.Insight])
	return list, classify(err)
}

// InsightWork returns what a job needs, or ErrNotFound if there is nothing to do for
// it: the stage was done or asked for again, or the recording is deleted.
func (c *Catalog) InsightWork(ctx context.Context, job recording.InsightJob) (recording.InsightWork, error) {
	var w recording.InsightWork
	err := c.inTx(ctx, func(tx pgx.Tx) (err error) {
		if w.Recording, err = oneRecording(ctx, tx, `SELECT `+recordingColumns+` FROM recordings r JOIN insights i ON i.recording_id = r.id
			WHERE `+insightDue, job.RecordingID, job.Stage, job.Run); err != nil {
			return err
		}
		for _, in := range w.Recording.Insights {
			if in.Stage == job.Stage {
				w.Insight = in
			}
		}
		w.Transcript, err = optional(readTranscript(ctx, tx, w.Recording.OwnerID, job.RecordingID))
		return err
	})
	return w, err
}

// insightDue is true of recording $1, joined with its insights as i, while run $3 of
// stage $2 is what is to be done.
const insightDue = `r.id = $1 AND r.state <> 'deleted' AND i.stage = $2 AND i.run = $3 AND i.state = 'waiting'`

// InsightDue reports whether there is still something to do for a job.
func (c *Catalog) InsightDue(ctx context.Context, job recording.InsightJob) (due bool, err error) {
	err = c.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM recordings r JOIN insights i ON i.recording_id = r.id WHERE `+insightDue+`)`,
		job.RecordingID, job.Stage, job.Run).Scan(&due)
	return due, classify(err)
}

// lockInsight locks a recording and one of its insights, and returns the owner if
// there is something to do for the job.
func lockInsight(ctx context.Context, tx pgx.Tx, job recording.InsightJob) (owner uuid.UUID, due bool, err error) {
	// One after the other: a join would lock in the order that its plan happens to have.
	if _, err := tx.Exec(ctx, lockRecording, job.RecordingID); err != nil {
		return uuid.Nil, false, err
	}
	err = tx.QueryRow(ctx, `SELECT r.owner_id FROM recordings r JOIN insights i ON i.recording_id = r.id WHERE `+insightDue+` FOR UPDATE OF i`,
		job.RecordingID, job.Stage, job.Run).Scan(&owner)
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, false, nil
	}
	return owner, err == nil, err
}

// CompleteTranscript records what was said, and asks for an analysis if there is to
// be one. It does nothing if there is nothing to do for the job any more.
func (c *Catalog) CompleteTranscript(ctx context.Context, job recording.InsightJob, t recording.Transcript, analyse bool) error {
	return c.inTx(ctx, func(tx pgx.Tx) error {
		owner, due, err := lockInsight(ctx, tx, job)
		if err != nil || !due {
			return err
		}
		if t.Segments == nil {
			t.Segments = []recording.Segment{}
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO transcripts AS was (recording_id, language, provider, model, segments, version, created_at) VALUES ($1, $2, $3, $4, $5, 1, $6)
			ON CONFLICT (recording_id) DO UPDATE SET language = $2, provider = $3, model = $4, segments = $5, version = was.version + 1, created_at = $6`,
			job.RecordingID, t.Language, t.Provider, t.Model, t.Segments, c.now()); err != nil {
			return err
		}
		if analyse {
			if err := c.askInsight(ctx, tx, job.RecordingID, recording.Insight{Stage: recording.StageAnalyse}, time.Time{}); err != nil {
				return err
			}
		}
		return c.endInsight(ctx, tx, owner, job, recording.EventTranscriptReady, map[string]any{"language": t.Language, "segments": len(t.Segments)})
	})
}

// CompleteAnalysis records what a recording is about. It does nothing if there is
// nothing to do for the job any more.
func (c *Catalog) CompleteAnalysis(ctx context.Context, job recording.InsightJob, a recording.Analysis) error {
	return c.inTx(ctx, func(tx pgx.Tx) error {
		owner, due, err := lockInsight(ctx, tx, job)
		if err != nil || !due {
			return err
		}
		a.CreatedAt = c.now().UTC()
		if _, err := tx.Exec(ctx, `
			INSERT INTO analyses (recording_id, analysis, provider, model, prompt_version, created_at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (recording_id) DO UPDATE SET analysis = $2, provider = $3, model = $4, prompt_version = $5, created_at = $6`,
			job.RecordingID, a, a.Provider, a.Model, a.PromptVersion, a.CreatedAt); err != nil {
			return err
		}
		if err := lockGraph(ctx, tx, owner); err != nil {
			return err
		}
		refs, err := putMentions(ctx, tx, owner, job.RecordingID, &a, a.CreatedAt)
		if err != nil {
			return err
		}
		if err := touchGraph(ctx, tx, owner, a.CreatedAt, refs...); err != nil {
			return err
		}
		return c.endInsight(ctx, tx, owner, job, recording.EventAnalysisReady,
			map[string]any{"topics": len(a.Topics), "entities": len(a.Entities), "chapters": len(a.Chapters)})
	})
}

// endInsight makes an insight ready, whose results are written.
func (c *Catalog) endInsight(ctx context.Context, tx pgx.Tx, owner uuid.UUID, job recording.InsightJob, typ recording.EventType, data map[string]any) error {
	now := c.now()
	if _, err := tx.Exec(ctx, `
		UPDATE insights SET state = 'ready', reason = '', detail = '', updated_at = $3 WHERE recording_id = $1 AND stage = $2`,
		job.RecordingID, job.Stage, now); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE recordings SET version = version + 1, updated_at = $2 WHERE id = $1`, job.RecordingID, now); err != nil {
		return err
	}
	if err := indexRecording(ctx, tx, job.RecordingID); err != nil {
		return err
	}
	return appendEvent(ctx, tx, recording.NewEvent(owner, job.RecordingID, typ, now, data))
}

// FailInsight gives a stage up. What an earlier run has found stays.
func (c *Catalog) FailInsight(ctx context.Context, job recording.InsightJob, reason recording.Reason, detail string) error {
	return c.inTx(ctx, func(tx pgx.Tx) error { return c.failInsight(ctx, tx, job, reason, detail) })
}

func (c *Catalog) failInsight(ctx context.Context, tx pgx.Tx, job recording.InsightJob, reason recording.Reason, detail string) error {
	owner, due, err := lockInsight(ctx, tx, job)
	if err != nil || !due {
		return err
	}
	if _, err := tx.Exec(ctx, `
		UPDATE insights SET state = 'failed', reason = $3, detail = $4, updated_at = $5 WHERE recording_id = $1 AND stage = $2`,
		job.RecordingID, job.Stage, reason, detail, c.now()); err != nil {
		return err
	}
	typ := recording.EventTranscriptFailed
	if job.Stage == recording.StageAnalyse {
		typ = recording.EventAnalysisFailed
	}
	return appendEvent(ctx, tx, verdictEvent(owner, job.RecordingID, typ, c.now(), reason, detail))
}

// MayAsk returns nil if more of this user's recordings may be transcribed or analysed
// today, else when they may again.
func (c *Catalog) MayAsk(ctx context.Context, owner uuid.UUID, stage recording.Stage) (from *time.Time, err error) {
	limit, used := c.limits.TranscribedPerDay.Milliseconds(), "audio_ms"
	if stage == recording.StageAnalyse {
		limit, used = c.limits.TokensPerDay, "tokens"
	}
	if limit == 0 {
		return nil, nil
	}
	today := recording.Day(c.now())
	var reached bool
	err = c.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM provider_usage WHERE owner_id = $1 AND day = $2 AND `+used+` >= $3)`,
		owner, today, limit).Scan(&reached)
	if err != nil || !reached {
		return nil, classify(err)
	}
	tomorrow := today.AddDate(0, 0, 1)
	return &tomorrow, nil
}

// DelayInsight tells a recording's owner that a stage waits until a day's limit begins
// anew, once for each such day.
func (c *Catalog) DelayInsight(ctx context.Context, job recording.InsightJob, until time.Time) error {
	detail := fmt.Sprintf("As much of your audio as may be was transcribed or analysed today; this goes on at %s.", until.UTC().Format(time.RFC3339))
	return c.inTx(ctx, func(tx pgx.Tx) error {
		owner, due, err := lockInsight(ctx, tx, job)
		if err != nil || !due {
			return err
		}
		tag, err := tx.Exec(ctx, `
			UPDATE insights SET detail = $3, updated_at = $4 WHERE recording_id = $1 AND stage = $2 AND detail <> $3`,
			job.RecordingID, job.Stage, detail, c.now())
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return appendEvent(ctx, tx, recording.NewEvent(owner, job.RecordingID, recording.EventProcessingDelayed, c.now(),
			map[string]any{"stage": job.Stage, "until": until.UTC(), "detail": detail}))
	})
}

// ProviderResult returns what a provider has answered before, or ErrNotFound.
func (c *Catalog) ProviderResult(ctx context.Context, recordingID uuid.UUID, digest []byte) (recording.ProviderResult, error) {
	r := recording.ProviderResult{RecordingID: recordingID, Digest: digest}
	var audioMs int64
	err := c.pool.QueryRow(ctx, `
		SELECT stage, provider, model, prompt_version, result, audio_ms, tokens FROM provider_results
		WHERE recording_id = $1 AND digest = $2`, recordingID, digest).
		Scan(&r.Stage, &r.Provider, &r.Model, &r.PromptVersion, &r.Result, &audioMs, &r.Tokens)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, recording.ErrNotFound
	}
	r.Audio = time.Duration(audioMs) * time.Millisecond
	return r, classify(err)
}

// KeepResult keeps a provider's answer and counts what it took, once: of an answer
// that is there already nothing is counted again. Of a deleted recording nothing is
// kept.
func (c *Catalog) KeepResult(ctx context.Context, r recording.ProviderResult) error {
	return c.inTx(ctx, func(tx pgx.Tx) error {
		var owner uuid.UUID
		// Its deletion waits for this, and finds what was kept.
		err := tx.QueryRow(ctx, `SELECT owner_id FROM recordings WHERE id = $1 AND state <> 'deleted' FOR SHARE`, r.RecordingID).Scan(&owner)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			INSERT INTO provider_results (recording_id, digest, stage, provider, model, prompt_version, result, audio_ms, tokens)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
			r.RecordingID, r.Digest, r.Stage, r.Provider, r.Model, r.PromptVersion, r.Result, r.Audio.Milliseconds(), r.Tokens)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return c.countProvider(ctx, tx, owner, r.Audio, r.Tokens)
	})
}

// CountTokens counts tokens that a recording's analysis has used for no answer.
func (c *Catalog) CountTokens(ctx context.Context, recordingID uuid.UUID, tokens int64) error {
	return c.inTx(ctx, func(tx pgx.Tx) error {
		var owner uuid.UUID
		if err := tx.QueryRow(ctx, `SELECT owner_id FROM recordings WHERE id = $1`, recordingID).Scan(&owner); err != nil {
			return err
		}
		return c.countProvider(ctx, tx, owner, 0, tokens)
	})
}

func (c *Catalog) countProvider(ctx context.Context, tx pgx.Tx, owner uuid.UUID, audio time.Duration, tokens int64) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO provider_usage AS was (owner_id, day, audio_ms, tokens) VALUES ($1, $2, $3, $4)
		ON CONFLICT (owner_id, day) DO UPDATE SET audio_ms = was.audio_ms + $3, tokens = was.tokens + $4`,
		owner, recording.Day(c.now()), audio.Milliseconds(), tokens)
	return err
}
