package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/recording"
)

// fakeStories are stories and entities in memory, alice's.
type fakeStories struct {
	stories  []recording.Story
	entities []recording.NamedEntity
	edits    []string
}

func (f *fake) Stories(_ context.Context, owner uuid.UUID, page recording.Page) ([]recording.Story, error) {
	return pageOf(f.stories, page, func(s recording.Story) (uuid.UUID, uuid.UUID) { return alice.UserID, s.Key }, owner), f.err
}

func (f *fake) Story(_ context.Context, owner, id uuid.UUID) (recording.Story, error) {
	i := slices.IndexFunc(f.stories, func(s recording.Story) bool { return s.ID == id && owner == alice.UserID })
	if f.err != nil {
		return recording.Story{}, f.err
	}
	if i < 0 {
		return recording.Story{}, recording.ErrNotFound
	}
	return f.stories[i], nil
}

func (f *fake) StoryRecordings(ctx context.Context, owner, story uuid.UUID, page recording.Page) ([]recording.Recording, error) {
	list, err := f.Recordings(ctx, owner, page)
	return slices.DeleteFunc(list, func(r recording.Recording) bool { return r.StoryID == nil || *r.StoryID != story }), err
}

func (f *fake) CreateStory(_ context.Context, _ uuid.UUID, title string) (recording.Story, error) {
	s := recording.Story{ID: recording.NewID(), Key: recording.NewID(), Title: title, CreatedAt: epoch, UpdatedAt: epoch}
	f.stories = slices.Insert(f.stories, 0, s)
	return s, f.err
}

func (f *fake) PatchStory(ctx context.Context, owner, id uuid.UUID, title string) (recording.Story, error) {
	s, err := f.Story(ctx, owner, id)
	s.Title = title
	return s, err
}

func (f *fake) DeleteStory(ctx context.Context, owner, id uuid.UUID) error {
	_, err := f.Story(ctx, owner, id)
	return err
}

func (f *fake) edit(what string, owner uuid.UUID, ids ...uuid.UUID) (recording.NamedEntity, error) {
	f.edits = append(f.edits, what)
	var e recording.NamedEntity
	for _, id := range slices.Backward(ids) {
		i := slices.IndexFunc(f.entities, func(e recording.NamedEntity) bool { return e.ID == id && owner == alice.UserID })
		if f.err != nil {
			return e, f.err
		}
		if i < 0 {
			return e, recording.ErrNotFound
		}
		e = f.entities[i]
	}
	return e, nil
}

func (f *fake) Entity(_ context.Context, owner, id uuid.UUID) (recording.NamedEntity, error) {
	return f.edit("read", owner, id)
}

func (f *fake) RenameEntity(_ context.Context, owner, id uuid.UUID, name string) (recording.NamedEntity, error) {
	e, err := f.edit("rename "+name, owner, id)
	e.Name = name
	return e, err
}

func (f *fake) MergeEntities(_ context.Context, owner, id, other uuid.UUID) (recording.NamedEntity, error) {
	return f.edit("merge", owner, id, other)
}

func (f *fake) SplitEntity(_ context.Context, owner, id, other uuid.UUID) (recording.NamedEntity, error) {
	return f.edit("split", owner, id, other)
}

func (s *server) send(method, path, body string) (code int, answer string) {
	w := s.do(request{as: alice, method: method, path: path, body: body, headers: []string{"Content-Type", "application/json"}})
	return w.Code, w.Body.String()
}

func TestStoriesAsJSON(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	w := s.do(request{as: alice, method: http.MethodPost, path: "/v1/stories", body: `{"title":" First "}`, headers: []string{"Content-Type", "application/json"}})
	made := wantJSON[map[string]any](t, w, http.StatusCreated)
	want := map[string]any{"id": s.stories[0].ID.String(), "title": "First", "recordings": 0.0, "createdAt": "2026-05-04T09:30:00Z", "updatedAt": "2026-05-04T09:30:00Z"}
	if diff := cmp.Diff(want, made); diff != "" {
		t.Error(diff)
	}
	_, err := s.CreateStory(t.Context(), alice.UserID, "Second")
	if err != nil {
		t.Fatal(err)
	}
	page := wantJSON[storiesPageView](t, s.get(alice, "/v1/stories?limit=1"), http.StatusOK)
	if len(page.Items) != 1 || page.Items[0].Title != "Second" || page.NextCursor == "" {
		t.Errorf("first page %+v", page)
	}
	page = wantJSON[storiesPageView](t, s.get(alice, "/v1/stories?limit=1&cursor="+page.NextCursor), http.StatusOK)
	if len(page.Items) != 1 || page.Items[0].Title != "First" {
		t.Errorf("second page %+v", page)
	}
	one := "/v1/stories/" + made["id"].(string)
	if code, answer := s.send("PATCH", one, `{"title":"Third"}`); code != http.StatusOK || !strings.Contains(answer, `"title":"Third"`) {
		t.Errorf("%d %s", code, answer)
	}
	if code, _ := s.send("DELETE", one, ""); code != http.StatusNoContent {
		t.Errorf("delete: %d", code)
	}
	for _, path := range []string{"/v1/stories/x", "/v1/stories/" + uuid.NewString()} {
		wantProblem(t, s.get(alice, path), recording.CodeNotFound)
	}
	wantProblem(t, s.get(bob, one), recording.CodeNotFound)
	for _, body := range []string{`{}`, `{"title":null}`, `{"title":"a\nb"}`, `{"title":"` + strings.Repeat("x", 201) + `"}`, `{"title":"x","id":"` + uuid.NewString() + `"}`} {
		if code, answer := s.send("POST", "/v1/stories", body); code != http.StatusBadRequest {
			t.Errorf("%.40s: %d %s", body, code, answer)
		}
	}
}

func TestListRecordingsOfStory(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r, other := s.add(alice), s.add(alice)
	s.add(bob)
	story := recording.NewID()
	s.recordings[1].StoryID = &story // other's
	for query, want := range map[string][]uuid.UUID{
		"?storyId=" + r.StoryID.String(): {r.ID}, "?storyId=" + story.String(): {other.ID}, "?storyId=" + uuid.NewString(): {},
	} {
		got := []uuid.UUID{}
		for _, item := range wantJSON[recordingsPageView](t, s.get(alice, "/v1/recordings"+query), http.StatusOK).Items {
			got = append(got, item.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	for _, id := range []string{"x", uuid.Nil.String()} {
		wantProblem(t, s.get(alice, "/v1/recordings?storyId="+id), recording.CodeInvalidRequest)
	}
}

func TestPatchStoryOfRecording(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := "/v1/recordings/" + s.add(alice).ID.String()
	story := uuid.New()
	for _, tt := range []struct {
		body string
		want *uuid.UUID
	}{
		{`{"title":"x"}`, nil},
		{`{"title":null}`, nil},
		{`{"storyId":null}`, &uuid.Nil},
		{`{"storyId":"` + story.String() + `"}`, &story},
	} {
		if code, answer := s.send("PATCH", one, tt.body); code != http.StatusOK {
			t.Errorf("%s: %d %s", tt.body, code, answer)
		}
		if diff := cmp.Diff(tt.want, s.patches[len(s.patches)-1].StoryID); diff != "" {
			t.Errorf("%s: %s", tt.body, diff)
		}
	}
	for _, id := range []string{`"x"`, `7`, `""`, `"` + uuid.Nil.String() + `"`, `{}`} {
		if code, answer := s.send("PATCH", one, `{"storyId":`+id+`}`); code != http.StatusBadRequest || !strings.Contains(answer, `"invalid_request"`) {
			t.Errorf("%s: %d %s", id, code, answer)
		}
	}
}

func TestEntityEdits(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	grandma := recording.NamedEntity{ID: recording.NewID(), Kind: recording.EntityPerson, Name: "Grandma", Merged: []recording.MergedEntity{{ID: recording.NewID(), Name: "Nan"}}}
	anna := recording.NamedEntity{ID: recording.NewID(), Kind: recording.EntityPerson, Name: "Anna"}
	s.entities = []recording.NamedEntity{grandma, anna}
	one, other := "/v1/entities/"+grandma.ID.String(), `{"entityId":"`+anna.ID.String()+`"}`
	merged := `"merged":[{"id":"` + grandma.Merged[0].ID.String() + `","name":"Nan"}]`
	for _, tt := range []struct{ method, path, body, want string }{
		{"PATCH", one, `{"name":" Anna Berger "}`, `{"id":"` + grandma.ID.String() + `","kind":"person","name":"Anna Berger",` + merged + `}`},
		{"PATCH", "/v1/entities/" + anna.ID.String(), `{"name":"Ann"}`, `"merged":[]`},
		{"POST", one + "/merge", other, merged},
		{"POST", one + "/split", other, merged},
	} {
		if code, answer := s.send(tt.method, tt.path, tt.body); code != http.StatusOK || !strings.Contains(answer, tt.want) {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, code, answer)
		}
	}
	if diff := cmp.Diff([]string{"rename Anna Berger", "rename Ann", "merge", "split"}, s.edits); diff != "" {
		t.Error(diff)
	}
	for _, tt := range []struct {
		method, path, body string
		want               int
	}{
		{"PATCH", one, `{"name":" "}`, http.StatusBadRequest},
		{"PATCH", one, `{}`, http.StatusBadRequest},
		{"PATCH", one, `{"name":"x","kind":"place"}`, http.StatusBadRequest},
		{"PATCH", one, `{"name":"` + strings.Repeat("x", 201) + `"}`, http.StatusBadRequest},
		{"PATCH", "/v1/entities/x", `{"name":"x"}`, http.StatusNotFound},
		{"POST", one + "/merge", `{}`, http.StatusBadRequest},
		{"POST", one + "/merge", `{"entityId":"x"}`, http.StatusNotFound},
		{"POST", one + "/split", `{"entityId":"` + uuid.NewString() + `"}`, http.StatusNotFound},
	} {
		if code, answer := s.send(tt.method, tt.path, tt.body); code != tt.want {
			t.Errorf("%s %s %.40s: %d %s", tt.method, tt.path, tt.body, code, answer)
		}
	}
}
