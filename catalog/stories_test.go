package catalog_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/recording"
)

func TestStories(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	g := newGraph()
	bob, err := r.EnsureUser(ctx, "dev:bob")
	must(t, err)
	first, err := r.CreateStory(ctx, r.alice, "First")
	must(t, err)
	second := recording.NewID() // chosen by a client, as bob does
	mine, theirs := r.ready(r.alice, second), r.ready(bob, second)
	r.equal(g)
	list, err := r.Stories(ctx, r.alice, recording.Page{Limit: 10})
	must(t, err)
	if len(list) != 2 || list[0].ID != second || list[0].Recordings != 1 || list[0].Title != "" || list[1] != first {
		t.Fatalf("stories %+v", list)
	}
	if page, err := r.Stories(ctx, r.alice, recording.Page{Limit: 10, Before: list[0].Key}); err != nil || len(page) != 1 || page[0] != first {
		t.Errorf("second page %+v, %v", page, err)
	}
	if s, err := r.Story(ctx, bob, second); err != nil || s.Key == list[0].Key {
		t.Errorf("bob's: %+v, %v", s, err)
	}
	_, err = r.PatchStory(ctx, r.alice, second, "Second")
	must(t, err)
	for range 2 { // the same again changes nothing
		r.equal(g)
		if s, err := r.PatchStory(ctx, r.alice, second, "Second"); err != nil || s.Title != "Second" {
			t.Errorf("%+v, %v", s, err)
		}
		if n := r.count(`SELECT count(*) FROM graph_outbox`); n != 0 {
			t.Errorf("%d are touched", n)
		}
	}
	if row := g.rows[recording.GraphRef{Kind: recording.GraphStory, ID: list[0].Key}]; row.Name != "Second" || row.StoryID != second || row.OwnerID != r.alice {
		t.Errorf("in the graph: %+v", row)
	}
	for _, err := range []error{
		r.DeleteStory(ctx, bob, first.ID),
		func() error { _, err := r.Story(ctx, bob, first.ID); return err }(),
		func() error { _, err := r.PatchStory(ctx, bob, first.ID, "x"); return err }(),
		func() error {
			_, err := r.PatchRecording(ctx, bob, mine, recording.RecordingPatch{StoryID: &first.ID})
			return err
		}(),
	} {
		if recording.CodeOf(err) != recording.CodeNotFound {
			t.Errorf("somebody else's: %v", err)
		}
	}
	if n := r.count(`SELECT count(*) FROM stories WHERE owner_id = $1`, bob); n != 1 {
		t.Errorf("bob has %d stories", n) // what was refused has made none
	}

	// From one into the other, out, and into one that is not there yet.
	third := recording.NewID()
	for _, to := range []uuid.UUID{first.ID, uuid.Nil, third} {
		rec, err := r.PatchRecording(ctx, r.alice, mine, recording.RecordingPatch{StoryID: &to})
		must(t, err)
		again, err := r.PatchRecording(ctx, r.alice, mine, recording.RecordingPatch{StoryID: &to})
		must(t, err)
		if (rec.StoryID == nil) != (to == uuid.Nil) || rec.StoryID != nil && *rec.StoryID != to || again.Version != rec.Version {
			t.Errorf("in %v: %v, versions %d and %d", to, rec.StoryID, rec.Version, again.Version)
		}
		r.equal(g)
		list, err := r.StoryRecordings(ctx, r.alice, to, recording.Page{Limit: 10})
		must(t, err)
		if (len(list) == 1 && list[0].ID == mine) != (to != uuid.Nil) {
			t.Errorf("in story %v: %+v", to, list)
		}
		if got := r.find(r.alice, "test", recording.Search{StoryID: to}); !slices.Contains(got, mine) {
			t.Errorf("not found in story %v", to)
		}
	}
	must(t, r.DeleteStory(ctx, r.alice, third))
	if got := r.find(r.alice, "test", recording.Search{StoryID: third}); len(got) > 0 {
		t.Errorf("found in a story that is deleted: %v", got)
	}
	if rec, err := r.Recording(ctx, r.alice, mine); err != nil || rec.StoryID != nil {
		t.Errorf("in a story that is deleted: %v, %v", rec.StoryID, err)
	}
	r.equal(g)
	if g.facts(mine).Story != uuid.Nil || g.facts(theirs).Story == uuid.Nil {
		t.Error("the graph has another story")
	}
	must(t, r.DeleteStory(ctx, r.alice, second))
	events, err := r.EventsSince(ctx, r.alice, []uuid.UUID{mine}, 0, 100)
	must(t, err)
	var updates []string
	for _, e := range events {
		if e.Type == recording.EventRecordingUpdated {
			updates = append(updates, string(e.Data))
		}
	}
	in := func(id uuid.UUID) string { return `{"title": "Test", "storyId": "` + id.String() + `"}` }
	if diff := cmp.Diff([]string{in(second), in(first.ID), `{"title": "Test"}`, in(third), `{"title": "Test"}`}, updates); diff != "" {
		t.Error(diff)
	}
}

// TestStoryAtOnce: uploads name a story that is not there yet, and somebody deletes it: it
// is there for those that are in it.
func TestStoryAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	story := recording.NewID()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				id := recording.NewID()
				_, _, err := r.CreateUpload(ctx, recording.NewUpload{
					UploadID: recording.NewID(), RecordingID: id, OwnerID: r.alice, ObjectKey: "recordings/" + id.String() + "/original",
					ExpiresAt: r.clock.Add(time.Hour), Metadata: map[string]string{}, Recording: recording.Recording{StoryID: &story},
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			if err := r.DeleteStory(ctx, r.alice, story); err != nil && recording.CodeOf(err) != recording.CodeNotFound {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if n := r.count(`SELECT count(*) FROM recordings WHERE story_id IS NOT NULL AND story_id NOT IN (SELECT id FROM stories)`); n != 0 {
		t.Errorf("%d recordings in a story that is not there", n)
	}
	if n := r.count(`SELECT count(*) FROM graph_outbox WHERE kind = 'recording'`); n != 0 {
		t.Errorf("%d uploads are in the outbox", n)
	}
}

// TestGraphOfUploads: nothing of an upload is in the graph's outbox before it is ready.
func TestGraphOfUploads(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	g := newGraph()
	r.equal(g) // alice
	story := recording.NewID()
	named := func(id uuid.UUID) uuid.UUID {
		title := "Title"
		_, err := r.PatchRecording(ctx, r.alice, id, recording.RecordingPatch{Title: &title, StoryID: &story})
		must(t, err)
		return id
	}
	rejected, failed, deleted := named(r.receive(r.alice).RecordingID), named(r.receive(r.alice).RecordingID), named(r.receive(r.alice).RecordingID)
	unfinished, expires := named(r.create(r.alice).RecordingID), named(r.create(r.alice).RecordingID)
	must(t, r.CompleteStage(ctx, rejected, recording.StageStore, recording.StageResult{Next: recording.StageVerify}))
	must(t, r.RejectRecording(ctx, rejected, recording.StageVerify, recording.ReasonEmpty, ""))
	must(t, r.FailRecording(ctx, failed, recording.StageStore, recording.ReasonInternal, ""))
	must(t, r.DeleteRecording(ctx, r.alice, deleted))
	must(t, r.DeleteRecording(ctx, r.alice, unfinished))
	must(t, r.MarkPurged(ctx, recording.PurgeJob{RecordingID: deleted}))
	_, err := r.ExpireUploads(ctx, r.clock.Add(2*time.Hour))
	must(t, err)
	if _, err := r.Recording(ctx, r.alice, expires); recording.CodeOf(err) != recording.CodeNotFound {
		t.Fatalf("not expired: %v", err)
	}
	if n := r.count(`SELECT count(*) FROM graph_outbox`); n != 0 {
		t.Errorf("%d rows in the outbox", n)
	}
	r.equal(g)
	if n := r.count(`SELECT count(*) FROM graph_versions`); n != 1 {
		t.Errorf("%d versions", n)
	}
}
