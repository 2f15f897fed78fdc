package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"reprise/recording"
)

// StoryCatalog is where stories are kept, each method for one owner.
type StoryCatalog interface {
	// Stories returns a page of the owner's stories, newest first; Page.Before is a key.
	Stories(ctx context.Context, owner uuid.UUID, page recording.Page) ([]recording.Story, error)
	// Story returns one story.
	Story(ctx context.Context, owner, id uuid.UUID) (recording.Story, error)
	// StoryRecordings returns a page of the recordings in a story, newest first.
	StoryRecordings(ctx context.Context, owner, story uuid.UUID, page recording.Page) ([]recording.Recording, error)
	// CreateStory makes a story with a new id.
	CreateStory(ctx context.Context, owner uuid.UUID, title string) (recording.Story, error)
	// PatchStory gives a story another title.
	PatchStory(ctx context.Context, owner, id uuid.UUID, title string) (recording.Story, error)
	// DeleteStory deletes a story; its recordings stay.
	DeleteStory(ctx context.Context, owner, id uuid.UUID) error
}

type storyView struct {
	ID         uuid.UUID `json:"id" format:"uuid" doc:"What recordings name as their storyId."`
	Title      string    `json:"title" doc:"What the owner calls it; empty if only recordings have named it so far." example:"Grandmother's childhood"`
	Recordings int       `json:"recordings" doc:"How many are in it." example:"3"`
	CreatedAt  time.Time `json:"createdAt"`
	UpdatedAt  time.Time `json:"updatedAt" doc:"When its title last changed."`
}

type storiesPageView struct {
	Items      []storyView `json:"items" nullable:"false" doc:"Newest first."`
	NextCursor string      `json:"nextCursor,omitempty" doc:"Ask for the next page with it; absent on the last one."`
}

type storiesOutput struct{ Body storiesPageView }

type storyOutput struct{ Body storyView }

type storyBodyView struct {
	_     struct{} `json:"-" additionalProperties:"false"`
	Title string   `json:"title" doc:"At most 200 characters, without control characters; spaces around it are cut off." example:"Grandmother's childhood"`
}

type storyInput struct {
	ID string `path:"id" doc:"The story's id, a UUID." example:"01934b40-1c00-7f00-8a00-3e5d0c9b7a61"`
}

type newStoryInput struct{ Body storyBodyView }

type storyPatchInput struct {
	ID   string `path:"id" doc:"The story's id, a UUID." example:"01934b40-1c00-7f00-8a00-3e5d0c9b7a61"`
	Body storyBodyView
}

func (a *API) registerStories() {
	register(a, huma.Operation{
		OperationID: "listStories", Method: http.MethodGet, Path: "/v1/stories", Tags: []string{tagStories},
		Summary: "List stories", Description: "The user's stories, newest first, page by page.",
	}, []recording.Code{recording.CodeInvalidRequest}, a.listStories)
	register(a, huma.Operation{
		OperationID: "createStory", Method: http.MethodPost, Path: "/v1/stories", Tags: []string{tagStories},
		Summary: "Make a story", Description: "With a new id. A client may also choose an id of its own: the first recording that names it makes the story.",
		DefaultStatus: http.StatusCreated, MaxBodyBytes: maxPatchBytes, BodyReadTimeout: patchTimeout,
	}, []recording.Code{recording.CodeInvalidRequest, recording.CodeTimeout, recording.CodeTooLarge, recording.CodeContentType}, a.createStory)
	register(a, huma.Operation{
		OperationID: "getStory", Method: http.MethodGet, Path: "/v1/stories/{id}", Tags: []string{tagStories},
		Summary: "Get a story",
	}, []recording.Code{recording.CodeNotFound}, a.getStory)
	register(a, huma.Operation{
		OperationID: "updateStory", Method: http.MethodPatch, Path: "/v1/stories/{id}", Tags: []string{tagStories},
		Summary: "Change a story", Description: "Gives it another title and returns it as it is then.",
		MaxBodyBytes: maxPatchBytes, BodyReadTimeout: patchTimeout,
	}, []recording.Code{
		recording.CodeInvalidRequest, recording.CodeNotFound, recording.CodeTimeout, recording.CodeTooLarge, recording.CodeContentType,
	}, a.updateStory)
	register(a, huma.Operation{
		OperationID: "deleteStory", Method: http.MethodDelete, Path: "/v1/stories/{id}", Tags: []string{tagStories},
		Summary: "Delete a story", Description: "Its recordings stay, and are in none then.", DefaultStatus: http.StatusNoContent,
	}, []recording.Code{recording.CodeNotFound}, a.deleteStory)
}

func (a *API) listStories(ctx context.Context, owner uuid.UUID, in *pageInput) (*storiesOutput, error) {
	page, err := in.page()
	if err != nil {
		return nil, err
	}
	list, err := a.catalog.Stories(ctx, owner, page)
	if err != nil {
		return nil, err
	}
	items, next := viewPage(list, page, viewStory, func(s recording.Story) uuid.UUID { return s.Key })
	return &storiesOutput{Body: storiesPageView{Items: items, NextCursor: next}}, nil
}

func (a *API) createStory(ctx context.Context, owner uuid.UUID, in *newStoryInput) (*storyOutput, error) {
	title, err := checkTitle(in.Body.Title)
	if err != nil {
		return nil, err
	}
	s, err := a.catalog.CreateStory(ctx, owner, title)
	if err != nil {
		return nil, err
	}
	return &storyOutput{Body: viewStory(s)}, nil
}

func (a *API) getStory(ctx context.Context, owner uuid.UUID, in *storyInput) (*storyOutput, error) {
	id, err := parseID(in.ID)
	if err != nil {
		return nil, err
	}
	s, err := a.catalog.Story(ctx, owner, id)
	if err != nil {
		return nil, err
	}
	return &storyOutput{Body: viewStory(s)}, nil
}

func (a *API) updateStory(ctx context.Context, owner uuid.UUID, in *storyPatchInput) (*storyOutput, error) {
	id, err := parseID(in.ID)
	if err != nil {
		return nil, err
	}
	title, err := checkTitle(in.Body.Title)
	if err != nil {
		return nil, err
	}
	s, err := a.catalog.PatchStory(ctx, owner, id, title)
	if err != nil {
		return nil, err
	}
	return &storyOutput{Body: viewStory(s)}, nil
}

func (a *API) deleteStory(ctx context.Context, owner uuid.UUID, in *storyInput) (*struct{}, error) {
	id, err := parseID(in.ID)
	if err != nil {
		return nil, err
	}
	return nil, a.catalog.DeleteStory(ctx, owner, id)
}

func viewStory(s recording.Story) storyView {
	return storyView{ID: s.ID, Title: s.Title, Recordings: s.Recordings, CreatedAt: s.CreatedAt.UTC(), UpdatedAt: s.UpdatedAt.UTC()}
}

// storyChange is a field of a body that may be absent, null or an id.
type storyChange struct {
	id *uuid.UUID // nil if absent, uuid.Nil for null
}

// UnmarshalJSON implements json.Unmarshaler, for null as well.
func (c *storyChange) UnmarshalJSON(text []byte) error {
	c.id = &uuid.UUID{}
	if bytes.Equal(text, []byte("null")) {
		return nil
	}
	err := json.Unmarshal(text, c.id)
	if err == nil && *c.id == uuid.Nil {
		err = errors.New("no story has this id")
	}
	return err
}

// Schema implements huma.SchemaProvider.
func (*storyChange) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "uuid", Nullable: true}
}
