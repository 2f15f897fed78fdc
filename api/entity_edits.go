package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"reprise/recording"
)

// EntityCatalog is where owners say what entities are called, and which are the same.
type EntityCatalog interface {
	// Entity returns one entity, with what is merged into it.
	Entity(ctx context.Context, owner, id uuid.UUID) (recording.NamedEntity, error)
	// RenameEntity gives an entity a name that analyses leave.
	RenameEntity(ctx context.Context, owner, id uuid.UUID, name string) (recording.NamedEntity, error)
	// MergeEntities says that other is the same as id, and returns the one that stays. Two
	// of different kinds are an error of code conflict.
	MergeEntities(ctx context.Context, owner, id, other uuid.UUID) (recording.NamedEntity, error)
	// SplitEntity takes other out of id again, and returns id.
	SplitEntity(ctx context.Context, owner, id, other uuid.UUID) (recording.NamedEntity, error)
}

type namedEntityView struct {
	ID     uuid.UUID            `json:"id" format:"uuid"`
	Kind   recording.EntityKind `json:"kind" enum:"person,place,organization,date,topic" doc:"What it is." example:"person"`
	Name   string               `json:"name" doc:"As found in recordings, or as its owner calls it." example:"Grandma"`
	Merged []mergedEntityView   `json:"merged" nullable:"false" doc:"What its owner says is the same, by name."`
}

type mergedEntityView struct {
	ID   uuid.UUID `json:"id" format:"uuid"`
	Name string    `json:"name" example:"Anna"`
}

type namedEntityOutput struct{ Body namedEntityView }

type entityPatchView struct {
	_    struct{} `json:"-" additionalProperties:"false"`
	Name string   `json:"name" doc:"1 to 200 characters, without control characters; spaces around it are cut off." example:"Grandma"`
}

type entityPatchInput struct {
	ID   string `path:"id" doc:"The entity's id, a UUID." example:"01934b61-04c2-7d15-b6a4-7f1d90a3c5e8"`
	Body entityPatchView
}

type otherEntityView struct {
	_        struct{} `json:"-" additionalProperties:"false"`
	EntityID string   `json:"entityId" doc:"The other one's id." example:"01934b61-04c2-7d16-9f0e-2c8b7a6d5e41"`
}

type entityPairInput struct {
	ID   string `path:"id" doc:"The entity's id, a UUID." example:"01934b61-04c2-7d15-b6a4-7f1d90a3c5e8"`
	Body otherEntityView
}

func (a *API) registerEntityEdits() {
	codes := []recording.Code{recording.CodeInvalidRequest, recording.CodeNotFound, recording.CodeTimeout, recording.CodeTooLarge, recording.CodeContentType}
	register(a, huma.Operation{
		OperationID: "renameEntity", Method: http.MethodPatch, Path: "/v1/entities/{id}", Tags: []string{tagEntities},
		Summary: "Rename an entity", Description: "The name stays, whatever later analyses call it.",
		MaxBodyBytes: maxPatchBytes, BodyReadTimeout: patchTimeout,
	}, codes, a.renameEntity)
	codes = append(codes, recording.CodeConflict)
	register(a, huma.Operation{
		OperationID: "mergeEntity", Method: http.MethodPost, Path: "/v1/entities/{id}/merge", Tags: []string{tagEntities},
		Summary: "Merge another entity into this one", Description: "They are shown as this one from then on, also when recordings are analysed again. What is merged into the other comes along; " +
			"if this one is merged itself, both are what it is merged into. Only entities of one kind can be merged. Answers with the entity that stays; the same request twice changes nothing.",
		DefaultStatus: http.StatusOK, MaxBodyBytes: maxPatchBytes, BodyReadTimeout: patchTimeout,
	}, codes, a.mergeEntity)
	register(a, huma.Operation{
		OperationID: "splitEntity", Method: http.MethodPost, Path: "/v1/entities/{id}/split", Tags: []string{tagEntities},
		Summary: "Take another entity out of this one", Description: "It is one of its own again. Answers with the entity that it was merged into; the same request twice changes nothing.",
		DefaultStatus: http.StatusOK, MaxBodyBytes: maxPatchBytes, BodyReadTimeout: patchTimeout,
	}, codes, a.splitEntity)
}

func (a *API) renameEntity(ctx context.Context, owner uuid.UUID, in *entityPatchInput) (*namedEntityOutput, error) {
	id, err := parseID(in.ID)
	if err != nil {
		return nil, err
	}
	name, err := checkLine("name", in.Body.Name)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, recording.Errorf(recording.CodeInvalidRequest, "The name is empty.")
	}
	return answerEntity(a.catalog.RenameEntity(ctx, owner, id, name))
}

func (a *API) mergeEntity(ctx context.Context, owner uuid.UUID, in *entityPairInput) (*namedEntityOutput, error) {
	id, other, err := in.parse()
	if err != nil {
		return nil, err
	}
	return answerEntity(a.catalog.MergeEntities(ctx, owner, id, other))
}

func (a *API) splitEntity(ctx context.Context, owner uuid.UUID, in *entityPairInput) (*namedEntityOutput, error) {
	id, other, err := in.parse()
	if err != nil {
		return nil, err
	}
	return answerEntity(a.catalog.SplitEntity(ctx, owner, id, other))
}

// parse returns both ids; what is none can be nobody's.
func (in *entityPairInput) parse() (id, other uuid.UUID, err error) {
	if id, err = parseID(in.ID); err == nil {
		other, err = parseID(in.Body.EntityID)
	}
	return id, other, err
}

func answerEntity(e recording.NamedEntity, err error) (*namedEntityOutput, error) {
	if err != nil {
		return nil, err
	}
	return &namedEntityOutput{Body: viewNamedEntity(e)}, nil
}

func viewNamedEntity(e recording.NamedEntity) namedEntityView {
	return namedEntityView{ID: e.ID, Kind: e.Kind, Name: e.Name, Merged: viewMerged(e)}
}

func viewMerged(e recording.NamedEntity) []mergedEntityView {
	merged := make([]mergedEntityView, len(e.Merged))
	for i, m := range e.Merged {
		merged[i] = mergedEntityView(m)
	}
	return merged
}
