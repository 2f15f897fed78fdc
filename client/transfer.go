package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"reprise/recording"
)

// giveUpTimeout is for telling the server that an upload is given up.
const giveUpTimeout = 5 * time.Second

// upload brings one file to the server and fills r. ctx's end is its error.
func (u *uploader) upload(ctx context.Context, line *line, r *result, first bool) error {
	src, err := openSource(r.path)
	if err != nil {
		return err
	}
	defer src.close()
	r.sizeBytes = src.size
	if u.o.Again {
		src.another()
	}
	line.checking(src.size)
	if err := src.digest(ctx); err != nil {
		return err
	}
	t := &transfer{
		server: u.server, src: src, line: line, pace: u.o.pace,
		retryFor: u.o.RetryFor, chunkBytes: u.o.ChunkBytes, brake: u.brake, cutAt: -1,
		progressAt: time.Now(),
	}
	if first && u.o.CutAt > 0 {
		t.cutAt = int64(float64(u.o.CutAt) * float64(src.size))
	}
	err = t.run(ctx, map[string]string{
		"filename": src.filename(), "filetype": src.filetype(), "title": u.o.Title,
		"language": u.o.Language, "clientId": src.clientID, "sha256": src.sum,
	})
	r.recordingID, r.resumedFrom, r.complete = t.recordingID, t.resumedFrom, t.complete
	if err != nil || t.recordingID == "" {
		return err
	}
	return u.outcome(ctx, t, r)
}

// outcome asks what became of an upload that is complete.
func (u *uploader) outcome(ctx context.Context, t *transfer, r *result) error {
	t.answered, t.progressAt = true, time.Now()
	ask := func(ctx context.Context) (err error) {
		r.recording, err = u.server.recording(ctx, t.recordingID)
		return err
	}
	if err := t.insist(ctx, ask); err != nil {
		return err
	}
	if u.o.Wait {
		if err := t.watch(ctx, r); err != nil {
			return err
		}
	}
	v := r.recording
	if v.SHA256 != "" && v.SHA256 != t.src.sum {
		return &FileError{"the server has other bytes than this file; upload it once more with --again"}
	}
	switch v.State {
	case recording.StateRejected, recording.StateFailed, recording.StateDeleted:
		return &OutcomeError{State: v.State, Reason: v.Reason, Detail: v.Detail}
	}
	return nil
}

// transfer is one upload under way.
type transfer struct {
	server     *server
	src        *source
	line       *line
	pace       pace
	retryFor   time.Duration
	chunkBytes int64
	brake      *brake
	cutAt      int64 // see chunk; -1 once it is done

	url         string
	recordingID string // "" if the server is another tus server than Reprise
	offset      int64  // acknowledged
	resumedFrom int64
	complete    bool // before anything was sent

	answered   bool // the server has answered something
	failures   int  // since the offset last went up
	progressAt time.Time
}

// run creates the upload and sends what is missing, however often that takes.
func (t *transfer) run(ctx context.Context, metadata map[string]string) error {
	err := t.insist(ctx, func(ctx context.Context) error {
		c, err := t.server.create(ctx, t.src.size, metadata)
		if err == nil {
			t.url, t.recordingID, t.offset = c.url, c.recordingID, c.offset
		}
		return err
	})
	if err != nil {
		return err
	}
	t.resumedFrom, t.complete = t.offset, t.offset == t.src.size
	t.failures, t.progressAt = 0, time.Now()
	t.line.begin(t.offset, t.server.base.String())
	for t.offset < t.src.size {
		if err := t.send(ctx); err != nil {
			return t.explain(ctx, err)
		}
	}
	t.line.received(t.complete)
	return nil
}

// send sends one chunk. If that fails of something that passes, it waits and asks
// for the offset: nil means that the next chunk can be tried.
func (t *transfer) send(ctx context.Context) error {
	c := &chunk{src: t.src, from: t.offset, to: min(t.offset+t.chunkBytes, t.src.size), cutAt: t.cutAt, brake: t.brake, sent: t.line.sent}
	offset, err := t.server.patch(ctx, t.url, c, t.pace.stall)
	if err == nil {
		t.acknowledged(offset)
		return nil
	}
	if errors.Is(err, errCut) {
		t.cutAt = -1
	}
	if err := t.pause(ctx, err); err != nil {
		return err
	}
	err = t.insist(ctx, func(ctx context.Context) (err error) {
		offset, err = t.server.offset(ctx, t.url, t.src.size)
		return err
	})
	if err == nil {
		t.acknowledged(offset)
		t.line.resumed(offset)
	}
	return err
}

// acknowledged takes the server's word for what it has.
func (t *transfer) acknowledged(offset int64) {
	if offset > t.offset {
		t.failures, t.progressAt = 0, time.Now()
	}
	t.offset = offset
	t.line.acknowledged(offset)
}

// insist repeats a step as long as it fails of something that passes.
func (t *transfer) insist(ctx context.Context, step func(context.Context) error) error {
	for {
		err := step(ctx)
		if err == nil {
			t.answered = true
			t.line.recovered()
			return nil
		}
		if err := t.pause(ctx, err); err != nil {
			return err
		}
	}
}

// pause waits after a failure before the next try. It returns an error if there
// should be none.
func (t *transfer) pause(ctx context.Context, failure error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !passing(failure) {
		return failure
	}
	var problem *Problem
	answered := errors.As(failure, &problem)
	t.answered = t.answered || answered
	limit := t.retryFor
	if !t.answered {
		limit = min(limit, t.pace.firstContact)
	}
	if idle := time.Since(t.progressAt); idle >= limit {
		return &UnreachableError{Server: t.server.base.String(), After: idle, Err: failure}
	}
	wait := t.pace.backoffFor(t.failures, rand.Float64())
	t.failures++
	if answered {
		wait = max(wait, problem.retryAfter)
	}
	t.line.retrying(failure, wait)
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// backoffFor returns the pause after so many failures before it: doubling, and of
// that between a half and all, so that clients don't come back in step.
func (p pace) backoffFor(failures int, random float64) time.Duration {
	full := p.backoffMax
	if failures < 16 {
		full = min(p.backoff<<failures, p.backoffMax)
	}
	return full/2 + time.Duration(random*float64(full/2))
}

// explain turns a failure that ends an upload into what its owner should know.
func (t *transfer) explain(ctx context.Context, failure error) error {
	if errors.Is(failure, errChanged) {
		// What arrived is a part of something that no longer is: no run will ask for
		// it again. If it can't be given up now, it expires.
		ctx, cancel := context.WithTimeout(ctx, giveUpTimeout)
		defer cancel()
		_ = t.server.terminate(ctx, t.url)
		return failure
	}
	var problem *Problem
	if !errors.As(failure, &problem) || problem.Detail != "" && problem.Status != http.StatusGone || t.recordingID == "" {
		return failure
	}
	// HEAD answers without a body, and what is gone went for a reason that another
	// request was told.
	v, err := t.server.recording(ctx, t.recordingID)
	if err == nil && (v.State == recording.StateRejected || v.State == recording.StateFailed) {
		return &OutcomeError{State: v.State, Reason: v.Reason, Detail: v.Detail}
	}
	if problem.Detail == "" && problem.Status == http.StatusGone {
		problem.Detail = "The server has given this upload up. Run the command again to begin anew."
	}
	return problem
}
