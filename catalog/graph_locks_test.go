package catalog_test

import (
	"context"
	"testing"
	"time"

	"reprise/recording"
)

// waits reports how many of some that are begun one after the other wait while the lock of
// a statement is held. All have ended then, without an error.
func (r *rig) waits(sql string, arg any, runs ...func() error) (waiting int) {
	r.t.Helper()
	ctx := r.t.Context()
	tx, err := r.pool.Begin(ctx)
	must(r.t, err)
	defer tx.Rollback(context.WithoutCancel(ctx))
	_, err = tx.Exec(ctx, sql, arg)
	must(r.t, err)
	done := make(chan error, len(runs))
	for i, run := range runs {
		go func() { done <- run() }()
		for len(done)+waiting <= i { // until it waits or has ended
			time.Sleep(5 * time.Millisecond)
			waiting = r.count(`SELECT count(DISTINCT pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT granted AND a.datname = current_database()`)
		}
	}
	must(r.t, tx.Rollback(ctx))
	for range runs {
		must(r.t, <-done)
	}
	return waiting
}

// TestGraphLock: whatever changes what the graph shows of an owner waits for others that
// do, and not for those of another owner.
func TestGraphLock(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	bob, err := r.EnsureUser(ctx, "dev:bob")
	must(t, err)
	story := recording.NewID()
	id, other, gone := r.ready(r.alice, story), r.receive(r.alice).RecordingID, r.ready(r.alice, story)
	r.analyse(id, about("Anna", "Bert"))
	must(t, r.DeleteRecording(ctx, r.alice, gone))
	anna, bert := r.entity(r.alice, "anna"), r.entity(r.alice, "bert")
	const lock = `SELECT pg_advisory_xact_lock(hashtextextended('reprise-graph:' || $1, 0))`
	for _, change := range []struct {
		name string
		run  func() error
	}{ // in this order: what deletes comes last
		{"ready", func() error {
			return r.CompleteStage(ctx, other, recording.StageStore, recording.StageResult{})
		}},
		{"analyse", func() error { return r.tryAnalyse(ctx, id, about("Bert", "Anna")) }},
		{"merge", func() error { _, err := r.MergeEntities(ctx, r.alice, anna, bert); return err }},
		{"rename", func() error { _, err := r.RenameEntity(ctx, r.alice, anna, "Ann"); return err }},
		{"split", func() error { _, err := r.SplitEntity(ctx, r.alice, anna, bert); return err }},
		{"retitle", func() error {
			title := "Other"
			_, err := r.PatchRecording(ctx, r.alice, id, recording.RecordingPatch{Title: &title})
			return err
		}},
		{"create story", func() error { _, err := r.CreateStory(ctx, r.alice, "x"); return err }},
		{"name story", func() error { _, err := r.PatchStory(ctx, r.alice, story, "x"); return err }},
		{"delete story", func() error { return r.DeleteStory(ctx, r.alice, story) }},
		{"delete", func() error { return r.DeleteRecording(ctx, r.alice, other) }},
		{"purge", func() error { return r.MarkPurged(ctx, recording.PurgeJob{RecordingID: gone}) }},
	} {
		if r.waits(lock, r.alice.String(), change.run) != 1 {
			t.Errorf("%s doesn't wait", change.name)
		}
	}
	if r.waits(lock, bob.String(), func() error { return r.DeleteRecording(ctx, r.alice, id) }) != 0 {
		t.Error("somebody else's graph is waited for")
	}
}

// TestStoryStays: a story is not deleted while somebody puts a recording into it.
func TestStoryStays(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	story, err := r.CreateStory(ctx, r.alice, "Story")
	must(t, err)
	create := func() error {
		id := recording.NewID()
		_, _, err := r.CreateUpload(ctx, recording.NewUpload{
			UploadID: recording.NewID(), RecordingID: id, OwnerID: r.alice, ObjectKey: "recordings/" + id.String() + "/original",
			Metadata: map[string]string{}, ExpiresAt: r.clock.Add(time.Hour), Recording: recording.Recording{StoryID: &story.ID},
		})
		return err
	}
	// The upload has named the story, and waits for the number of its event.
	n := r.waits(`SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE`, r.alice, create, func() error { return r.DeleteStory(ctx, r.alice, story.ID) })
	if left := r.count(`SELECT count(*) FROM recordings WHERE story_id IS NOT NULL`); n != 2 || left != 0 {
		t.Errorf("%d wait, %d recordings in a story that is not there", n, left)
	}
}
