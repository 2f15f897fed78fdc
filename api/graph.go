package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"reprise/recording"
)

// Graph answers questions about how an owner's recordings are connected. What is
// somebody else's is recording.ErrNotFound, as what does not exist. Other errors are of
// code graph_unavailable or graph_timeout, or invalid_request for a cursor.
type Graph interface {
	// Related returns a page of the recordings that share entities with one.
	Related(ctx context.Context, owner, id uuid.UUID, limit int, cursor string) (recording.Related, error)
	// Entities returns a page of who and what recordings mention or are about.
	Entities(ctx context.Context, owner uuid.UUID, q recording.EntityQuery) (recording.EntityPage, error)
	// Entity returns one entity with at most limit of its recordings, the newest.
	Entity(ctx context.Context, owner, id uuid.UUID, limit int) (recording.EntityCard, error)
	// Path returns a shortest way between two recordings or entities; nothing if none is
	// short enough.
	Path(ctx context.Context, owner, from, to uuid.UUID) (recording.Subgraph, error)
	// Neighborhood returns what is around a recording or an entity: at most limit nodes.
	Neighborhood(ctx context.Context, owner, of uuid.UUID, depth, limit int) (recording.Subgraph, error)
	// Timeline returns a page of the recordings in the order of when they were recorded.
	Timeline(ctx context.Context, owner uuid.UUID, t recording.Timeline) (recording.TimelinePage, error)
}

var errNoGraph = recording.Errorf(recording.CodeGraphUnavailable, "This server has no graph: its operator has configured no Neo4j. Everything else works.")

type relatedInput struct {
	ID     string `path:"id" doc:"The recording's id, a UUID." example:"01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"`
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"At most this many items." example:"20"`
	Cursor string `query:"cursor" maxLength:"64" doc:"The nextCursor of the page before; absent for the first page."`
}

type entitiesInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"At most this many items." example:"50"`
	Cursor string `query:"cursor" maxLength:"64" doc:"The nextCursor of the page before; absent for the first page."`
	Kind   string `query:"kind" enum:"person,place,organization,date,topic" doc:"Only these."`
	Prefix string `query:"q" maxLength:"200" doc:"Only those whose name begins so; case doesn't matter." example:"gra"`
}

type entityInput struct {
	ID    string `path:"id" doc:"The entity's id, a UUID." example:"01934b61-04c2-7d15-b6a4-7f1d90a3c5e8"`
	Limit int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"At most this many recordings." example:"50"`
}

type pathInput struct {
	From string `query:"from" required:"true" doc:"The id of a recording or an entity." example:"01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"`
	To   string `query:"to" required:"true" doc:"The same." example:"01934b61-04c2-7d15-b6a4-7f1d90a3c5e8"`
}

type neighborhoodInput struct {
	Of    string `query:"of" required:"true" doc:"The id of a recording or an entity." example:"01934b61-04c2-7d15-b6a4-7f1d90a3c5e8"`
	Depth int    `query:"depth" minimum:"1" maximum:"2" default:"1" doc:"How many edges away." example:"2"`
	Limit int    `query:"limit" minimum:"1" maximum:"200" default:"100" doc:"At most this many nodes." example:"100"`
}

type timelineInput struct {
	Limit    int          `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"At most this many items." example:"50"`
	Cursor   string       `query:"cursor" maxLength:"64" doc:"The nextCursor of the page before; absent for the first page."`
	From     optionalTime `query:"from" doc:"Only what was recorded, or else uploaded, then or later."`
	Before   optionalTime `query:"before" doc:"Only what was recorded, or else uploaded, before then."`
	EntityID string       `query:"entityId" format:"uuid" doc:"Only recordings that mention this entity, or are about it."`
	StoryID  string       `query:"storyId" format:"uuid" doc:"Only recordings of this story."`
}

func (a *API) registerGraph() {
	registerQuestion(a, huma.Operation{
		OperationID: "listRelated", Path: "/v1/recordings/{id}/related", Tags: []string{tagEntities},
		Summary: "Recordings related to one", Description: "Other recordings that mention the same people, places, organizations and dates, or are about the same topics, and which those are. " +
			"What few recordings share weighs more than what many do.",
	}, []recording.Code{recording.CodeInvalidRequest, recording.CodeNotFound}, a.listRelated)
	registerQuestion(a, huma.Operation{
		OperationID: "listEntities", Path: "/v1/entities", Tags: []string{tagEntities},
		Summary: "List entities", Description: "Those that recordings mention or are about, page by page: what is in most recordings first.",
	}, []recording.Code{recording.CodeInvalidRequest}, a.listEntities)
	registerQuestion(a, huma.Operation{
		OperationID: "getEntity", Path: "/v1/entities/{id}", Tags: []string{tagEntities},
		Summary: "Get an entity", Description: "Where it is mentioned, who and what occurs with it, and what is merged into it. One that is merged into another is not there. `GET /v1/timeline?entityId=` has all of its recordings, page by page.",
	}, []recording.Code{recording.CodeInvalidRequest, recording.CodeNotFound}, a.getEntity)
	registerQuestion(a, huma.Operation{
		OperationID: "getPath", Path: "/v1/graph/path", Tags: []string{tagEntities},
		Summary: "How two are connected", Description: "A shortest way between two recordings or entities, over what recordings mention, what they are about and their stories: at most six edges. " +
			"The nodes are in its order. If there is none, the answer has no nodes.",
	}, []recording.Code{recording.CodeInvalidRequest, recording.CodeNotFound}, a.getPath)
	registerQuestion(a, huma.Operation{
		OperationID: "getNeighborhood", Path: "/v1/graph/neighborhood", Tags: []string{tagEntities},
		Summary: "What is around", Description: "A recording or an entity, which is the first node, what is near it, and all edges between those: ready to be drawn. The nearest nodes come first, and newer recordings before older ones.",
	}, []recording.Code{recording.CodeInvalidRequest, recording.CodeNotFound}, a.getNeighborhood)
	registerQuestion(a, huma.Operation{
		OperationID: "getTimeline", Path: "/v1/timeline", Tags: []string{tagEntities},
		Summary: "Recordings in the order of time", Description: "Ready recordings, those first that were recorded first, page by page, each with its story and what weighs most in it. " +
			"A story or an entity that is not there has none.",
	}, []recording.Code{recording.CodeInvalidRequest}, a.getTimeline)
}

// registerQuestion is register for what the graph is asked.
func registerQuestion[I, O any](a *API, op huma.Operation, codes []recording.Code, handle func(ctx context.Context, owner uuid.UUID, in *I) (*O, error)) {
	op.Method = http.MethodGet
	codes = append(slices.Clone(codes), recording.CodeGraphUnavailable, recording.CodeGraphTimeout)
	register(a, op, codes, func(ctx context.Context, owner uuid.UUID, in *I) (*O, error) {
		if a.graph == nil {
			return nil, errNoGraph
		}
		return handle(ctx, owner, in)
	})
}

func (a *API) listRelated(ctx context.Context, owner uuid.UUID, in *relatedInput) (*relatedOutput, error) {
	id, err := parseID(in.ID)
	if err != nil {
		return nil, err
	}
	related, err := a.graph.Related(ctx, owner, id, in.Limit, in.Cursor)
	if err != nil {
		return nil, err
	}
	return &relatedOutput{Body: a.viewRelated(related)}, nil
}

func (a *API) listEntities(ctx context.Context, owner uuid.UUID, in *entitiesInput) (*entitiesOutput, error) {
	page, err := a.graph.Entities(ctx, owner, recording.EntityQuery{
		Kind: recording.EntityKind(in.Kind), Prefix: in.Prefix, Limit: in.Limit, Cursor: in.Cursor,
	})
	if err != nil {
		return nil, err
	}
	return &entitiesOutput{Body: viewEntities(page)}, nil
}

func (a *API) getEntity(ctx context.Context, owner uuid.UUID, in *entityInput) (*entityOutput, error) {
	id, err := parseID(in.ID)
	if err != nil {
		return nil, err
	}
	card, err := a.graph.Entity(ctx, owner, id, in.Limit)
	if err != nil {
		return nil, err
	}
	// A graph that is behind may show what is no more: then Postgres is right.
	named, err := a.catalog.Entity(ctx, owner, id)
	if err != nil {
		return nil, err
	}
	return &entityOutput{Body: a.viewEntity(card, named)}, nil
}

func (a *API) getPath(ctx context.Context, owner uuid.UUID, in *pathInput) (*subgraphOutput, error) {
	from, err := parseID(in.From)
	if err != nil {
		return nil, err
	}
	to, err := parseID(in.To)
	if err != nil {
		return nil, err
	}
	return answerSubgraph(a.graph.Path(ctx, owner, from, to))
}

func (a *API) getNeighborhood(ctx context.Context, owner uuid.UUID, in *neighborhoodInput) (*subgraphOutput, error) {
	of, err := parseID(in.Of)
	if err != nil {
		return nil, err
	}
	return answerSubgraph(a.graph.Neighborhood(ctx, owner, of, in.Depth, in.Limit))
}

func answerSubgraph(g recording.Subgraph, err error) (*subgraphOutput, error) {
	if err != nil {
		return nil, err
	}
	return &subgraphOutput{Body: viewSubgraph(g)}, nil
}

func (a *API) getTimeline(ctx context.Context, owner uuid.UUID, in *timelineInput) (*timelineOutput, error) {
	t := recording.Timeline{From: in.From.orNil(), Before: in.Before.orNil(), Limit: in.Limit, Cursor: in.Cursor}
	for _, filter := range []struct {
		name, text string
		id         *uuid.UUID
	}{{"entityId", in.EntityID, &t.EntityID}, {"storyId", in.StoryID, &t.StoryID}} {
		if filter.text == "" {
			continue
		}
		id, err := filterID(filter.name, filter.text)
		if err != nil {
			return nil, err
		}
		*filter.id = id
	}
	page, err := a.graph.Timeline(ctx, owner, t)
	if err != nil {
		return nil, err
	}
	return &timelineOutput{Body: a.viewTimeline(page)}, nil
}
