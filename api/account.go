package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"reprise/auth"
	"reprise/recording"
)

type userOutput struct {
	Body userView
}

func (a *API) registerAccount() {
	register(a, huma.Operation{
		OperationID: "getMe", Method: http.MethodGet, Path: "/v1/me", Tags: []string{tagAccount},
		Summary: "Who the token belongs to", Description: "With what this user has and has used, and how much of it is allowed.",
	}, []recording.Code{recording.CodeNotFound}, a.getMe)
}

func (a *API) getMe(ctx context.Context, owner uuid.UUID, _ *struct{}) (*userOutput, error) {
	u, err := a.catalog.User(ctx, owner)
	if err != nil {
		return nil, err
	}
	usage, err := a.catalog.Usage(ctx, owner)
	if err != nil {
		return nil, err
	}
	p, _ := auth.FromContext(ctx)
	return &userOutput{Body: userView{
		ID: u.ID, Subject: u.Subject, Email: u.Email, Name: u.Name, Provider: u.Provider, Role: p.Role, CreatedAt: u.CreatedAt.UTC(),
		Usage: viewUsage(usage), Limits: viewLimits(a.limits),
	}}, nil
}

type uploadsPageView struct {
	Items      []uploadView `json:"items" nullable:"false" doc:"Newest first."`
	NextCursor string       `json:"nextCursor,omitempty" doc:"Ask for the next page with it; absent on the last one."`
}

type uploadsOutput struct {
	Body uploadsPageView
}

func (a *API) registerUploads() {
	register(a, huma.Operation{
		OperationID: "listUploads", Method: http.MethodGet, Path: "/v1/uploads", Tags: []string{tagUploads},
		Summary: "List what can be resumed", Description: "The user's uploads that still take bytes, from whichever device they began, newest first.",
	}, []recording.Code{recording.CodeInvalidRequest}, a.listUploads)
}

func (a *API) listUploads(ctx context.Context, owner uuid.UUID, in *pageInput) (*uploadsOutput, error) {
	page, err := in.page()
	if err != nil {
		return nil, err
	}
	list, err := a.catalog.ResumableUploads(ctx, owner, page)
	if err != nil {
		return nil, err
	}
	items, next := viewPage(list, page, a.viewUpload, func(u recording.Upload) uuid.UUID { return u.ID })
	return &uploadsOutput{Body: uploadsPageView{Items: items, NextCursor: next}}, nil
}

type eventsInput struct {
	ID    string `path:"id" doc:"The recording's id, a UUID." example:"01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"`
	Since int64  `query:"since" minimum:"0" default:"0" doc:"Only what came after the event with this seq."`
	Limit int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"At most this many items."`
}

type eventsPageView struct {
	Items     []eventView `json:"items" nullable:"false" doc:"In the order they happened."`
	NextSince int64       `json:"nextSince" doc:"Ask with it as since for what comes after; an empty answer means that nothing has yet." example:"42"`
}

type eventsOutput struct {
	Body eventsPageView
}

type ticketView struct {
	Ticket    string    `json:"ticket" doc:"Opens one WebSocket: see there how."`
	ExpiresAt time.Time `json:"expiresAt" doc:"Until when it can be used."`
}

type ticketOutput struct {
	Body ticketView
}

func (a *API) registerEvents() {
	register(a, huma.Operation{
		OperationID: "listEvents", Method: http.MethodGet, Path: "/v1/recordings/{id}/events", Tags: []string{tagEvents},
		Summary: "List what has happened to a recording", Description: "The stored milestones, oldest first. Progress is not stored: watch it on the WebSocket.",
	}, []recording.Code{recording.CodeInvalidRequest, recording.CodeNotFound}, a.listEvents)
	register(a, huma.Operation{
		OperationID: "createTicket", Method: http.MethodPost, Path: "/v1/events/ticket", Tags: []string{tagEvents},
		Summary: "Get a ticket for the WebSocket", Description: "For clients that can't set a header on a WebSocket, such as browsers.",
		DefaultStatus: http.StatusOK,
	}, nil, a.createTicket)
}

func (a *API) listEvents(ctx context.Context, owner uuid.UUID, in *eventsInput) (*eventsOutput, error) {
	r, err := a.recording(ctx, owner, in.ID)
	if err != nil {
		return nil, err
	}
	list, err := a.catalog.EventsSince(ctx, owner, []uuid.UUID{r.ID}, in.Since, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &eventsOutput{Body: eventsPageView{Items: make([]eventView, 0, len(list)), NextSince: in.Since}}
	for _, e := range list {
		out.Body.Items = append(out.Body.Items, eventView{e.Seq, e.Type, e.RecordingID, e.At.UTC(), e.Data})
		out.Body.NextSince = e.Seq
	}
	return out, nil
}

func (a *API) createTicket(ctx context.Context, owner uuid.UUID, _ *struct{}) (*ticketOutput, error) {
	p, _ := auth.FromContext(ctx)
	ticket, expiresAt, err := a.catalog.IssueTicket(ctx, owner, p.AuthTime)
	if err != nil {
		return nil, err
	}
	return &ticketOutput{Body: ticketView{Ticket: ticket, ExpiresAt: expiresAt.UTC()}}, nil
}
