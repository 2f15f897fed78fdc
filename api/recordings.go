package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"golang.org/x/text/language"

	"reprise/recording"
)

const (
	maxTitleRunes = 200
	maxPatchBytes = 16 << 10
	patchTimeout  = 10 * time.Second
)

// idInput is the path of everything about one recording. The id is a string
// here, so that one that is no UUID is what does not exist and not an error of
// its own.
type idInput struct {
	ID string `path:"id" doc:"The recording's id, a UUID." example:"01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"`
}

func parseID(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, recording.ErrNotFound
	}
	return id, nil
}

// recordingsInput repeats the fields of pageInput: huma does not look into what is embedded
// and not exported.
type recordingsInput struct {
	Limit   int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"At most this many items." example:"50"`
	Cursor  string `query:"cursor" maxLength:"64" doc:"The nextCursor of the page before; absent for the first page."`
	StoryID string `query:"storyId" format:"uuid" doc:"Only recordings of this story."`
}

type recordingsPageView struct {
	Items      []recordingView `json:"items" nullable:"false" doc:"Newest first."`
	NextCursor string          `json:"nextCursor,omitempty" doc:"Ask for the next page with it; absent on the last one."`
}

type recordingsOutput struct {
	Body recordingsPageView
}

type recordingOutput struct {
	Body recordingView
}

type recordingPatchView struct {
	_       struct{}    `json:"-" additionalProperties:"false"`
	Title   *string     `json:"title,omitempty" doc:"At most 200 characters, without control characters; spaces around it are cut off. An empty one takes the title away; null leaves it." example:"Grandmother's first day at school"`
	StoryID storyChange `json:"storyId,omitempty" doc:"The story it is to be in, which is made if it is not there yet; null takes it out of its story." example:"01934b40-1c00-7f00-8a00-3e5d0c9b7a61"`
}

type patchInput struct {
	ID   string `path:"id" doc:"The recording's id, a UUID." example:"01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"`
	Body recordingPatchView
}

type reprocessInput struct {
	ID   string            `path:"id" doc:"The recording's id, a UUID." example:"01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"`
	Body *reprocessingView `required:"false"`
}

type reprocessingView struct {
	_        struct{}          `json:"-" additionalProperties:"false"`
	Stages   []recording.Stage `json:"stages,omitempty" nullable:"false" maxItems:"10" enum:"transcribe,analyse" doc:"A transcription is always followed by an analysis."`
	Language string            `json:"language,omitempty" maxLength:"35" doc:"BCP 47, what is spoken; absent to use what is declared or detected." example:"en"`
	Model    string            `json:"model,omitempty" maxLength:"100" doc:"Of the first stage, one that the server puts up for choice; absent for the configured one."`
}

func (a *API) registerRecordings() {
	register(a, huma.Operation{
		OperationID: "listRecordings", Method: http.MethodGet, Path: "/v1/recordings", Tags: []string{tagRecordings},
		Summary: "List recordings", Description: "The user's recordings, newest first, page by page. Pages stay right while recordings are added.",
	}, []recording.Code{recording.CodeInvalidRequest}, a.listRecordings)
	register(a, huma.Operation{
		OperationID: "getRecording", Method: http.MethodGet, Path: "/v1/recordings/{id}", Tags: []string{tagRecordings},
		Summary: "Get a recording",
	}, []recording.Code{recording.CodeNotFound}, a.getRecording)
	register(a, huma.Operation{
		OperationID: "updateRecording", Method: http.MethodPatch, Path: "/v1/recordings/{id}", Tags: []string{tagRecordings},
		Summary: "Change a recording", Description: "Changes the fields that the body names and returns the recording as it is then.",
		MaxBodyBytes: maxPatchBytes, BodyReadTimeout: patchTimeout,
	}, []recording.Code{
		recording.CodeInvalidRequest, recording.CodeNotFound, recording.CodeTimeout, recording.CodeTooLarge, recording.CodeContentType,
	}, a.updateRecording)
	register(a, huma.Operation{
		OperationID: "deleteRecording", Method: http.MethodDelete, Path: "/v1/recordings/{id}", Tags: []string{tagRecordings},
		Summary: "Delete a recording", Description: "It is gone at once, with an upload that is still running; its bytes are deleted after the retention period.",
		DefaultStatus: http.StatusNoContent,
	}, []recording.Code{recording.CodeNotFound}, a.deleteRecording)
	register(a, huma.Operation{
		OperationID: "reprocessRecording", Method: http.MethodPost, Path: "/v1/recordings/{id}/reprocess", Tags: []string{tagRecordings},
		Summary: "Process a recording again", Description: "Without stages: a failed recording goes on from the stage that failed; one in another state answers with conflict. " +
			"With stages: transcript or analysis of a recording that is ready are made again; insights says how far they are, and what is there stays until then.",
		DefaultStatus: http.StatusAccepted, MaxBodyBytes: maxPatchBytes, BodyReadTimeout: patchTimeout,
	}, []recording.Code{
		recording.CodeInvalidRequest, recording.CodeNotFound, recording.CodeConflict, recording.CodeTimeout, recording.CodeTooLarge, recording.CodeContentType,
	}, a.reprocessRecording)
}

func (a *API) reprocessRecording(ctx context.Context, owner uuid.UUID, in *reprocessInput) (*recordingOutput, error) {
	id, err := parseID(in.ID)
	if err != nil {
		return nil, err
	}
	if in.Body != nil && (len(in.Body.Stages) > 0 || in.Body.Language != "" || in.Body.Model != "") {
		return a.reprocess(ctx, owner, id, *in.Body)
	}
	r, err := a.catalog.RetryRecording(ctx, owner, id)
	if err != nil {
		return nil, err
	}
	return &recordingOutput{Body: a.viewRecording(r)}, nil
}

// reprocess asks for the stages after ready again.
func (a *API) reprocess(ctx context.Context, owner, id uuid.UUID, body reprocessingView) (*recordingOutput, error) {
	if len(body.Stages) == 0 {
		return nil, recording.Errorf(recording.CodeInvalidRequest, "Language and model go with stages: name transcribe, analyse or both.")
	}
	if body.Language != "" {
		if _, err := language.Parse(body.Language); err != nil {
			return nil, recording.Errorf(recording.CodeInvalidRequest, "The language is no tag of BCP 47, such as en or pt-BR.")
		}
	}
	if strings.ContainsFunc(body.Model, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return nil, recording.Errorf(recording.CodeInvalidRequest, "The model has characters that can't be printed.")
	}
	what := recording.Reprocessing{Stages: body.Stages, Language: body.Language, Model: body.Model}
	if err := a.checkOffered(what); err != nil {
		return nil, err
	}
	if _, err := a.catalog.Reprocess(ctx, owner, id, what); err != nil {
		return nil, err
	}
	r, err := a.catalog.Recording(ctx, owner, id)
	if err != nil {
		return nil, err
	}
	return &recordingOutput{Body: a.viewRecording(r)}, nil
}

// checkOffered refuses stages that nobody does here, and models that the operator has
// not put up for choice: they may cost more.
func (a *API) checkOffered(what recording.Reprocessing) error {
	verbs := map[recording.Stage]string{recording.StageTranscribe: "transcribes", recording.StageAnalyse: "analyses"}
	for _, stage := range what.Stages {
		if _, ok := a.models[stage]; !ok {
			return recording.Errorf(recording.CodeConflict, "Nobody %s recordings on this server.", verbs[stage])
		}
	}
	if offered := a.models[what.First()]; what.Model != "" && !slices.Contains(offered, what.Model) {
		return recording.Errorf(recording.CodeInvalidRequest, "The stage %s has no such model to choose; there are: %s.",
			what.First(), cmp.Or(strings.Join(offered, ", "), "none"))
	}
	return nil
}

func (a *API) listRecordings(ctx context.Context, owner uuid.UUID, in *recordingsInput) (*recordingsOutput, error) {
	page, err := pageInput{in.Limit, in.Cursor}.page()
	if err != nil {
		return nil, err
	}
	list, err := a.pageOfRecordings(ctx, owner, in.StoryID, page)
	if err != nil {
		return nil, err
	}
	items, next := viewPage(list, page, a.viewRecording, func(r recording.Recording) uuid.UUID { return r.ID })
	return &recordingsOutput{Body: recordingsPageView{Items: items, NextCursor: next}}, nil
}

// pageOfRecordings returns those of a story, or of all if it is "".
func (a *API) pageOfRecordings(ctx context.Context, owner uuid.UUID, story string, page recording.Page) ([]recording.Recording, error) {
	if story == "" {
		return a.catalog.Recordings(ctx, owner, page)
	}
	id, err := filterID("storyId", story)
	if err != nil {
		return nil, err
	}
	return a.catalog.StoryRecordings(ctx, owner, id, page)
}

func (a *API) getRecording(ctx context.Context, owner uuid.UUID, in *idInput) (*recordingOutput, error) {
	r, err := a.recording(ctx, owner, in.ID)
	if err != nil {
		return nil, err
	}
	return &recordingOutput{Body: a.viewRecording(r)}, nil
}

// recording returns the owner's recording that a path names.
func (a *API) recording(ctx context.Context, owner uuid.UUID, text string) (recording.Recording, error) {
	id, err := parseID(text)
	if err != nil {
		return recording.Recording{}, err
	}
	return a.catalog.Recording(ctx, owner, id)
}

func (a *API) updateRecording(ctx context.Context, owner uuid.UUID, in *patchInput) (*recordingOutput, error) {
	id, err := parseID(in.ID)
	if err != nil {
		return nil, err
	}
	patch := recording.RecordingPatch{StoryID: in.Body.StoryID.id}
	if in.Body.Title != nil {
		title, err := checkTitle(*in.Body.Title)
		if err != nil {
			return nil, err
		}
		patch.Title = &title
	}
	r, err := a.catalog.PatchRecording(ctx, owner, id, patch)
	if err != nil {
		return nil, err
	}
	return &recordingOutput{Body: a.viewRecording(r)}, nil
}

// checkTitle returns the title without the spaces around it.
func checkTitle(title string) (string, error) { return checkLine("title", title) }

// checkLine is checkTitle for what is called otherwise.
func checkLine(what, text string) (string, error) {
	text = strings.TrimSpace(text)
	if n := utf8.RuneCountInString(text); n > maxTitleRunes {
		return "", recording.Errorf(recording.CodeInvalidRequest, "The %s has %d characters; at most %d are allowed.", what, n, maxTitleRunes)
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return "", recording.Errorf(recording.CodeInvalidRequest, "The %s has control characters, for example a line break.", what)
	}
	return text, nil
}

func (a *API) deleteRecording(ctx context.Context, owner uuid.UUID, in *idInput) (*struct{}, error) {
	id, err := parseID(in.ID)
	if err != nil {
		return nil, err
	}
	return nil, a.catalog.DeleteRecording(ctx, owner, id)
}
