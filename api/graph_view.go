package api

import (
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

type entityRefView struct {
	ID   uuid.UUID            `json:"id" format:"uuid"`
	Kind recording.EntityKind `json:"kind" enum:"person,place,organization,date,topic" doc:"What it is." example:"person"`
	Name string               `json:"name" doc:"As found in recordings, or as its owner calls it." example:"Grandma"`
}

type storyRefView struct {
	ID    uuid.UUID `json:"id" format:"uuid"`
	Title string    `json:"title" doc:"Empty if only recordings have named it so far." example:"Grandmother's childhood"`
}

type relatedOutput struct{ Body relatedPageView }

type relatedPageView struct {
	Items      []relatedView `json:"items" nullable:"false" doc:"The best first."`
	NextCursor string        `json:"nextCursor,omitempty" doc:"Ask for the next page with it; absent on the last one."`
	Complete   bool          `json:"complete" doc:"false: it shares things with very many recordings; those that most have were left out."`
}

type relatedView struct {
	RecordingID uuid.UUID    `json:"recordingId" format:"uuid"`
	Title       string       `json:"title" doc:"What the owner calls it."`
	RecordedAt  time.Time    `json:"recordedAt" doc:"Or when its upload began."`
	Score       float64      `json:"score" doc:"The sum of the weights; comparable within one recording's." example:"2.35"`
	Why         []sharedView `json:"why" nullable:"false" doc:"What both have, what weighs most first."`
	URL         string       `json:"url" format:"uri" doc:"The recording."`
}

type sharedView struct {
	ID     uuid.UUID            `json:"id" format:"uuid"`
	Kind   recording.EntityKind `json:"kind" enum:"person,place,organization,date,topic" example:"place"`
	Name   string               `json:"name" example:"Vienna"`
	Weight float64              `json:"weight" doc:"1/ln of how many recordings have it; of a topic times the lesser of its weights in both." example:"1.44"`
}

type entitiesOutput struct{ Body entitiesPageView }

type entitiesPageView struct {
	Items      []countedEntityView `json:"items" nullable:"false" doc:"What is in most recordings first."`
	NextCursor string              `json:"nextCursor,omitempty" doc:"Ask for the next page with it; absent on the last one."`
}

type countedEntityView struct {
	ID         uuid.UUID            `json:"id" format:"uuid"`
	Kind       recording.EntityKind `json:"kind" enum:"person,place,organization,date,topic" doc:"What it is." example:"person"`
	Name       string               `json:"name" doc:"As found in recordings, or as its owner calls it." example:"Grandma"`
	Recordings int                  `json:"recordings" doc:"How many mention it, or are about it." example:"3"`
	Mentions   int                  `json:"mentions" doc:"How often in all of them; a topic counts once in each." example:"7"`
	FirstAt    *time.Time           `json:"firstAt,omitempty" doc:"When the first of them was recorded, or else uploaded."`
	LastAt     *time.Time           `json:"lastAt,omitempty" doc:"When the last of them was."`
}

type entityOutput struct{ Body entityCardView }

type entityCardView struct {
	ID          uuid.UUID            `json:"id" format:"uuid"`
	Kind        recording.EntityKind `json:"kind" enum:"person,place,organization,date,topic" doc:"What it is." example:"person"`
	Name        string               `json:"name" doc:"As found in recordings, or as its owner calls it." example:"Grandma"`
	Recordings  int                  `json:"recordings" doc:"How many mention it, or are about it." example:"3"`
	Mentions    int                  `json:"mentions" doc:"How often in all of them; a topic counts once in each." example:"7"`
	FirstAt     *time.Time           `json:"firstAt,omitempty" doc:"When the first of them was recorded, or else uploaded."`
	LastAt      *time.Time           `json:"lastAt,omitempty" doc:"When the last of them was."`
	Merged      []mergedEntityView   `json:"merged" nullable:"false" doc:"What its owner says is the same, by name."`
	MentionedIn []mentionedInView    `json:"mentionedIn" nullable:"false" doc:"Those recordings, the newest first."`
	OccursWith  []occursWithView     `json:"occursWith" nullable:"false" doc:"Who and what else they mention, what is in most of them first: at most 50, in the newest 2,000."`
	Complete    bool                 `json:"complete" doc:"false: mentionedIn or occursWith is not all."`
}

type mentionedInView struct {
	RecordingID uuid.UUID `json:"recordingId" format:"uuid"`
	Title       string    `json:"title" doc:"What the owner calls it."`
	RecordedAt  time.Time `json:"recordedAt" doc:"Or when its upload began."`
	Count       int       `json:"count" doc:"How often it is mentioned there; 1 for a topic." example:"2"`
	AtMs        []int64   `json:"atMs" nullable:"false" doc:"Where to jump to in the recording: the first 100; none for a topic." example:"[5200,61000]"`
	Weight      float64   `json:"weight,omitempty" doc:"Of a topic: how much the recording is about it, up to 1."`
	URL         string    `json:"url" format:"uri" doc:"The recording."`
}

type occursWithView struct {
	ID         uuid.UUID            `json:"id" format:"uuid"`
	Kind       recording.EntityKind `json:"kind" enum:"person,place,organization,date,topic" example:"place"`
	Name       string               `json:"name" example:"Vienna"`
	Recordings int                  `json:"recordings" doc:"How many mention both." example:"2"`
}

type subgraphOutput struct{ Body subgraphView }

type subgraphView struct {
	Nodes    []graphNodeView `json:"nodes" nullable:"false"`
	Edges    []graphEdgeView `json:"edges" nullable:"false"`
	Complete bool            `json:"complete" doc:"false: there is more than limit."`
}

type graphNodeView struct {
	ID         uuid.UUID  `json:"id" format:"uuid"`
	Kind       string     `json:"kind" enum:"recording,story,person,place,organization,date,topic" doc:"What it is." example:"recording"`
	Name       string     `json:"name" doc:"Of a recording or a story its title." example:"Grandmother's first day at school"`
	RecordedAt *time.Time `json:"recordedAt,omitempty" doc:"Of a recording."`
}

type graphEdgeView struct {
	From   int     `json:"from" doc:"The number of a node in nodes, from 0 on." example:"0"`
	To     int     `json:"to" doc:"The same." example:"1"`
	Kind   string  `json:"kind" enum:"has,mentions,about" doc:"A story has a recording; a recording mentions people, places, organizations and dates, and is about topics." example:"mentions"`
	Count  int     `json:"count,omitempty" doc:"How often it is mentioned." example:"2"`
	Weight float64 `json:"weight,omitempty" doc:"How much it is about it, up to 1."`
}

type timelineOutput struct{ Body timelinePageView }

type timelinePageView struct {
	Items      []timelineItemView `json:"items" nullable:"false" doc:"What was recorded first, first."`
	NextCursor string             `json:"nextCursor,omitempty" doc:"Ask for the next page with it; absent on the last one."`
}

type timelineItemView struct {
	RecordingID uuid.UUID       `json:"recordingId" format:"uuid"`
	Title       string          `json:"title" doc:"What the owner calls it."`
	RecordedAt  time.Time       `json:"recordedAt" doc:"Or when its upload began."`
	DurationMs  int64           `json:"durationMs" example:"63000"`
	Story       *storyRefView   `json:"story,omitempty" doc:"The story it belongs to."`
	People      []entityRefView `json:"people" nullable:"false" doc:"The three that it mentions most."`
	Places      []entityRefView `json:"places" nullable:"false" doc:"The same."`
	Topics      []entityRefView `json:"topics" nullable:"false" doc:"The three that it is most about."`
	URL         string          `json:"url" format:"uri" doc:"The recording."`
}

func (a *API) viewRelated(r recording.Related) relatedPageView {
	v := relatedPageView{Items: make([]relatedView, 0, len(r.Items)), NextCursor: r.NextCursor, Complete: r.Complete}
	for _, item := range r.Items {
		related := relatedView{
			RecordingID: item.ID, Title: item.Title, RecordedAt: item.At.UTC(), Score: item.Score,
			Why: make([]sharedView, 0, len(item.Why)), URL: a.recordingURL(item.ID),
		}
		for _, s := range item.Why {
			related.Why = append(related.Why, sharedView{s.ID, s.Kind, s.Name, s.Weight})
		}
		v.Items = append(v.Items, related)
	}
	return v
}

func viewEntities(page recording.EntityPage) entitiesPageView {
	v := entitiesPageView{Items: make([]countedEntityView, 0, len(page.Items)), NextCursor: page.NextCursor}
	for _, e := range page.Items {
		v.Items = append(v.Items, countedEntityView{e.ID, e.Kind, e.Name, e.Recordings, e.Mentions, utcOrNil(e.First), utcOrNil(e.Last)})
	}
	return v
}

func (a *API) viewEntity(card recording.EntityCard, named recording.NamedEntity) entityCardView {
	v := entityCardView{
		ID: card.ID, Kind: card.Kind, Name: card.Name, Recordings: card.Recordings, Mentions: card.Mentions,
		FirstAt: utcOrNil(card.First), LastAt: utcOrNil(card.Last), Merged: viewMerged(named), Complete: card.Complete,
		MentionedIn: make([]mentionedInView, 0, len(card.MentionedIn)), OccursWith: make([]occursWithView, 0, len(card.OccursWith)),
	}
	for _, m := range card.MentionedIn {
		v.MentionedIn = append(v.MentionedIn, mentionedInView{
			RecordingID: m.RecordingID, Title: m.Title, RecordedAt: m.At.UTC(), Count: m.Count,
			AtMs: append([]int64{}, m.AtMs...), Weight: m.Weight, URL: a.recordingURL(m.RecordingID),
		})
	}
	for _, o := range card.OccursWith {
		v.OccursWith = append(v.OccursWith, occursWithView{o.ID, o.Kind, o.Name, o.Recordings})
	}
	return v
}

func viewSubgraph(g recording.Subgraph) subgraphView {
	v := subgraphView{Nodes: make([]graphNodeView, 0, len(g.Nodes)), Edges: make([]graphEdgeView, 0, len(g.Edges)), Complete: g.Complete}
	for _, n := range g.Nodes {
		v.Nodes = append(v.Nodes, graphNodeView{n.ID, n.Kind, n.Name, utcOrNil(n.At)})
	}
	for _, e := range g.Edges {
		v.Edges = append(v.Edges, graphEdgeView(e))
	}
	return v
}

func (a *API) viewTimeline(page recording.TimelinePage) timelinePageView {
	v := timelinePageView{Items: make([]timelineItemView, 0, len(page.Items)), NextCursor: page.NextCursor}
	for _, item := range page.Items {
		v.Items = append(v.Items, timelineItemView{
			RecordingID: item.ID, Title: item.Title, RecordedAt: item.At.UTC(), DurationMs: item.DurationMs, Story: (*storyRefView)(item.Story),
			People: viewEntityRefs(item.People), Places: viewEntityRefs(item.Places), Topics: viewEntityRefs(item.Topics), URL: a.recordingURL(item.ID),
		})
	}
	return v
}

func viewEntityRefs(list []recording.EntityRef) []entityRefView {
	refs := make([]entityRefView, len(list))
	for i, e := range list {
		refs[i] = entityRefView(e)
	}
	return refs
}

func utcOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return utc(&t)
}
