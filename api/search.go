package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"reprise/recording"
)

type searchInput struct {
	Query   string       `query:"q" required:"true" maxLength:"200" doc:"Words that must all be there; \"a phrase\"; -not; this or that; begin*. The last word is taken for the beginning of one, too." example:"grandmother school"`
	Limit   int          `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"At most this many items." example:"20"`
	Cursor  string       `query:"cursor" maxLength:"64" doc:"The nextCursor of the page before; absent for the first page."`
	StoryID string       `query:"storyId" format:"uuid" doc:"Only recordings of this story."`
	From    optionalTime `query:"from" doc:"Only what was recorded, or else uploaded, then or later."`
	Before  optionalTime `query:"before" doc:"Only what was recorded, or else uploaded, before then."`
	Topic   string       `query:"topic" maxLength:"200" doc:"Only recordings about this topic, by any of its names if it was renamed or merged; case and punctuation don't matter."`
	Entity  string       `query:"entity" maxLength:"200" doc:"Only recordings that name this person, place, organization or date; the same."`
}

type searchPageView struct {
	Items      []foundView `json:"items" nullable:"false" doc:"The best first."`
	NextCursor string      `json:"nextCursor,omitempty" doc:"Ask for the next page with it; absent on the last one."`
	Complete   bool        `json:"complete" doc:"false: more recordings match than are compared with each other; these are the best of the newest."`
}

type foundView struct {
	RecordingID uuid.UUID     `json:"recordingId" format:"uuid"`
	Title       string        `json:"title" doc:"What the owner calls it."`
	RecordedAt  time.Time     `json:"recordedAt" doc:"Or when its upload began."`
	Rank        float64       `json:"rank" doc:"Higher is better; comparable within one search." example:"1.2"`
	Snippets    []snippetView `json:"snippets" nullable:"false" doc:"Pieces of its words around what was found, the best first."`
	URL         string        `json:"url" format:"uri" doc:"The recording."`
}

type snippetView struct {
	In         string   `json:"in" enum:"title,transcript,summary,topic,entity" doc:"Where it is from."`
	Text       string   `json:"text" example:"We walked to school."`
	Highlights [][2]int `json:"highlights" nullable:"false" doc:"What was found: pairs of offsets into text, from and to, in characters (Unicode code points)."`
	AtMs       *int64   `json:"atMs,omitempty" doc:"Where to jump to in the recording; absent if it isn't from the transcript." example:"1350"`
}

type searchOutput struct{ Body searchPageView }

func (a *API) registerSearch() {
	register(a, huma.Operation{
		OperationID: "search", Method: http.MethodGet, Path: "/v1/search", Tags: []string{tagInsights},
		Summary: "Search recordings", Description: "Looks for words in titles, transcripts, summaries, topics and entities of the user's recordings, each in its own language. " +
			"Names are found in spite of a slip of the pen.",
	}, []recording.Code{recording.CodeInvalidRequest}, a.search)
}

func (a *API) search(ctx context.Context, owner uuid.UUID, in *searchInput) (*searchOutput, error) {
	s := recording.Search{
		Query: in.Query, Limit: in.Limit, Cursor: in.Cursor, Topic: in.Topic, Entity: in.Entity,
		From: in.From.orNil(), Before: in.Before.orNil(),
	}
	if in.StoryID != "" {
		id, err := filterID("storyId", in.StoryID)
		if err != nil {
			return nil, err
		}
		s.StoryID = id
	}
	result, err := a.catalog.Search(ctx, owner, s)
	if err != nil {
		return nil, err
	}
	return &searchOutput{Body: a.viewSearch(result)}, nil
}

func (a *API) viewSearch(result recording.SearchResult) searchPageView {
	v := searchPageView{Items: make([]foundView, 0, len(result.Found)), NextCursor: result.NextCursor, Complete: result.Complete}
	for _, f := range result.Found {
		found := foundView{
			RecordingID: f.RecordingID, Title: f.Title, RecordedAt: f.RecordedAt.UTC(), Rank: f.Rank,
			Snippets: make([]snippetView, 0, len(f.Snippets)), URL: a.recordingURL(f.RecordingID),
		}
		for _, s := range f.Snippets {
			found.Snippets = append(found.Snippets, snippetView(s))
		}
		v.Items = append(v.Items, found)
	}
	return v
}
