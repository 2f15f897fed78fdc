package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/uuid"

	"reprise/recording"
)

const (
	maxCorrectionRunes = 4000
	maxCorrectionBytes = 64 << 10
)

type transcriptView struct {
	Language  string        `json:"language,omitempty" doc:"BCP 47: as detected, or else as declared; absent if unknown." example:"en"`
	Version   int64         `json:"version" doc:"Raised by every change. A correction names the version that it is of." example:"3"`
	Provider  string        `json:"provider" doc:"Who made the text." example:"whisper"`
	Model     string        `json:"model" doc:"With which model." example:"tiny.en"`
	CreatedAt time.Time     `json:"createdAt" doc:"When the engine's text was made."`
	Segments  []segmentView `json:"segments" nullable:"false" doc:"In the order of time; they don't overlap."`
}

type segmentView struct {
	StartMs    int64      `json:"startMs" example:"1200"`
	EndMs      int64      `json:"endMs" example:"2600"`
	Text       string     `json:"text" example:"We walked to school."`
	Confidence *float64   `json:"confidence,omitempty" doc:"0 to 1, if the engine says it." example:"0.93"`
	Words      []wordView `json:"words,omitempty" nullable:"false" doc:"Absent if the engine doesn't say them, or the owner has corrected the text."`
	Corrected  int64      `json:"corrected,omitempty" doc:"The version of the correction that the text is; absent for the engine's own." example:"3"`
}

type wordView struct {
	Text       string   `json:"text" example:"walked"`
	StartMs    int64    `json:"startMs" example:"1350"`
	EndMs      int64    `json:"endMs" example:"1700"`
	Confidence *float64 `json:"confidence,omitempty" example:"0.97"`
}

type correctionView struct {
	StartMs   int64     `json:"startMs" example:"1200"`
	EndMs     int64     `json:"endMs" example:"2600"`
	Text      string    `json:"text" doc:"Empty: nothing was said." example:"We walked to school."`
	Withdrawn bool      `json:"withdrawn,omitempty" doc:"The correction was taken back: the engine's text counts again."`
	Version   int64     `json:"version" doc:"The transcript's, that this made." example:"3"`
	At        time.Time `json:"at"`
}

type correctionsView struct {
	Items []correctionView `json:"items" nullable:"false" doc:"The latest first. Of each pair of times the latest one counts."`
}

type correctionsOutput struct{ Body correctionsView }

type correctionBodyView struct {
	_        struct{} `json:"-" additionalProperties:"false"`
	Version  int64    `json:"version" minimum:"1" doc:"Of the transcript that you have seen: if there is a newer one, the answer is 409." example:"2"`
	StartMs  int64    `json:"startMs" minimum:"0" doc:"The segment's, exactly." example:"1200"`
	EndMs    int64    `json:"endMs" minimum:"1" doc:"The segment's, exactly." example:"2600"`
	Text     *string  `json:"text,omitempty" doc:"What was said, at most 4000 characters, without control characters; empty if nothing was." example:"We walked to school."`
	Withdraw bool     `json:"withdraw,omitempty" doc:"Instead of text: take the correction of these times back."`
}

type correctionInput struct {
	ID   string `path:"id" doc:"The recording's id, a UUID." example:"01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"`
	Body correctionBodyView
}

type transcriptInput struct {
	ID          string `path:"id" doc:"The recording's id, a UUID." example:"01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"`
	IfNoneMatch string `header:"If-None-Match" doc:"ETags of copies the client has."`
}

type transcriptOutput struct {
	ETag string `header:"ETag"`
	Body transcriptView
}

type analysisOutput struct{ Body recording.Analysis }

// A transcriptFormat is one of the forms that a transcript is served in.
type transcriptFormat struct {
	suffix, operation, summary, contentType string
	write                                   func(recording.Transcript) ([]byte, error)
}

func transcriptFormats() []transcriptFormat {
	text := func(write func(recording.Transcript) string) func(recording.Transcript) ([]byte, error) {
		return func(t recording.Transcript) ([]byte, error) { return []byte(write(t)), nil }
	}
	asJSON := func(t recording.Transcript) ([]byte, error) { return json.Marshal(viewTranscript(t)) }
	return []transcriptFormat{
		{"", "getTranscript", "Get a transcript", "application/json", asJSON},
		{".json", "getTranscriptJSON", "Get a transcript, as JSON by its name", "application/json", asJSON},
		{".vtt", "getTranscriptVTT", "Get a transcript as WebVTT", "text/vtt; charset=utf-8", text(webVTT)},
		{".srt", "getTranscriptSRT", "Get a transcript as SubRip", "application/x-subrip; charset=utf-8", text(subRip)},
		{".txt", "getTranscriptText", "Get a transcript as plain text", "text/plain; charset=utf-8",
			text(func(t recording.Transcript) string { return t.Text() + "\n" })},
	}
}

func (a *API) registerTranscripts() {
	schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[transcriptView](), true, "")
	for _, f := range transcriptFormats() {
		content := &huma.MediaType{}
		if f.contentType == "application/json" {
			content.Schema = schema
		}
		mediaType, _, _ := strings.Cut(f.contentType, ";")
		register(a, huma.Operation{
			OperationID: f.operation, Method: http.MethodGet, Path: "/v1/recordings/{id}/transcript" + f.suffix, Tags: []string{tagInsights},
			Summary: f.summary, Description: "What was said, as its owner has corrected it. 404 while there is none: detail then says how far it is.",
			DefaultStatus: http.StatusOK,
			Responses: map[string]*huma.Response{
				"200": {Description: "The transcript.", Headers: headers("ETag"), Content: map[string]*huma.MediaType{mediaType: content}},
				"304": {Description: "The client's copy, named by If-None-Match, is the current one.", Headers: headers("ETag")},
			},
		}, []recording.Code{recording.CodeNotFound}, func(ctx context.Context, owner uuid.UUID, in *transcriptInput) (*huma.StreamResponse, error) {
			return a.getTranscript(ctx, owner, in, f)
		})
	}
	register(a, huma.Operation{
		OperationID: "correctTranscript", Method: http.MethodPatch, Path: "/v1/recordings/{id}/transcript", Tags: []string{tagInsights},
		Summary: "Correct a segment", Description: "Says what was said between two times, or takes that back. Corrections are kept apart from the engine's text and " +
			"stay when the recording is transcribed again. Answers with the transcript as it is then; the same request twice changes nothing.",
		MaxBodyBytes: maxCorrectionBytes, BodyReadTimeout: patchTimeout,
	}, []recording.Code{
		recording.CodeInvalidRequest, recording.CodeNotFound, recording.CodeConflict, recording.CodeTimeout, recording.CodeTooLarge, recording.CodeContentType,
	}, a.correctTranscript)
	register(a, huma.Operation{
		OperationID: "listCorrections", Method: http.MethodGet, Path: "/v1/recordings/{id}/transcript/corrections", Tags: []string{tagInsights},
		Summary: "List corrections", Description: "Every correction that was ever made of the transcript.",
	}, []recording.Code{recording.CodeNotFound}, a.listCorrections)
	register(a, huma.Operation{
		OperationID: "getAnalysis", Method: http.MethodGet, Path: "/v1/recordings/{id}/analysis", Tags: []string{tagInsights},
		Summary: "Get what a recording is about", Description: "Made of its transcript. 404 while there is none: detail then says how far it is.",
	}, []recording.Code{recording.CodeNotFound}, a.getAnalysis)
}

func (a *API) getTranscript(ctx context.Context, owner uuid.UUID, in *transcriptInput, f transcriptFormat) (*huma.StreamResponse, error) {
	id, err := parseID(in.ID)
	if err != nil {
		return nil, err
	}
	t, err := a.catalog.Transcript(ctx, owner, id)
	if err != nil {
		return nil, a.howFar(ctx, owner, id, recording.StageTranscribe, err)
	}
	body, err := f.write(t)
	if err != nil {
		return nil, err
	}
	etag := fmt.Sprintf(`"%d%s"`, t.Version, f.suffix)
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		_, w := humago.Unwrap(ctx)
		file{etag: etag}.setHeaders(w.Header())
		if names(in.IfNoneMatch, etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Type", f.contentType)
		_, _ = w.Write(body) // the client may have gone
	}}, nil
}

// howFar says of what was not found how far it is, if the recording is the owner's.
func (a *API) howFar(ctx context.Context, owner, id uuid.UUID, stage recording.Stage, err error) error {
	if recording.CodeOf(err) != recording.CodeNotFound {
		return err
	}
	r, err := a.catalog.Recording(ctx, owner, id)
	if err != nil {
		return err
	}
	what := "transcript"
	if stage == recording.StageAnalyse {
		what = "analysis"
	}
	for _, n := range r.Insights {
		switch {
		case n.Stage != stage:
		case n.State == recording.InsightWaiting:
			return recording.Errorf(recording.CodeNotFound, "There is no %s yet: it is being made; wait for its event. %s", what, n.Detail)
		case n.State == recording.InsightFailed:
			return recording.Errorf(recording.CodeNotFound, "There is no %s: making it failed (%s). %s", what, n.Reason, n.Detail)
		}
	}
	switch r.State {
	case recording.StateReady:
		return recording.Errorf(recording.CodeNotFound, "There is no %s, and none was asked for; ask with POST …/reprocess.", what)
	case recording.StateRejected, recording.StateFailed:
		return recording.Errorf(recording.CodeNotFound, "There is no %s, because the recording is %s (%s).", what, r.State, r.Reason)
	}
	return recording.Errorf(recording.CodeNotFound, "There is no %s yet: the recording is %s.", what, r.State)
}

func (a *API) correctTranscript(ctx context.Context, owner uuid.UUID, in *correctionInput) (*transcriptOutput, error) {
	id, err := parseID(in.ID)
	if err != nil {
		return nil, err
	}
	change := recording.CorrectionChange{StartMs: in.Body.StartMs, EndMs: in.Body.EndMs, Version: in.Body.Version}
	if (in.Body.Text == nil) != in.Body.Withdraw {
		return nil, recording.Errorf(recording.CodeInvalidRequest, "A correction has either a text or withdraw.")
	}
	if in.Body.Text != nil {
		text := strings.TrimSpace(*in.Body.Text)
		if n := utf8.RuneCountInString(text); n > maxCorrectionRunes {
			return nil, recording.Errorf(recording.CodeInvalidRequest, "The text has %d characters; at most %d are allowed.", n, maxCorrectionRunes)
		}
		if strings.ContainsFunc(text, unicode.IsControl) {
			return nil, recording.Errorf(recording.CodeInvalidRequest, "The text has control characters, for example a line break.")
		}
		change.Text = &text
	}
	t, err := a.catalog.CorrectTranscript(ctx, owner, id, change)
	if err != nil {
		return nil, err
	}
	return &transcriptOutput{ETag: fmt.Sprintf(`"%d"`, t.Version), Body: viewTranscript(t)}, nil
}

func (a *API) listCorrections(ctx context.Context, owner uuid.UUID, in *idInput) (*correctionsOutput, error) {
	r, err := a.recording(ctx, owner, in.ID)
	if err != nil {
		return nil, err
	}
	list, err := a.catalog.Corrections(ctx, owner, r.ID)
	if err != nil {
		return nil, err
	}
	out := &correctionsOutput{Body: correctionsView{Items: []correctionView{}}}
	for _, c := range list {
		out.Body.Items = append(out.Body.Items, correctionView{c.StartMs, c.EndMs, c.Text, c.Withdrawn, c.Version, c.At.UTC()})
	}
	return out, nil
}

func (a *API) getAnalysis(ctx context.Context, owner uuid.UUID, in *idInput) (*analysisOutput, error) {
	id, err := parseID(in.ID)
	if err != nil {
		return nil, err
	}
	analysis, err := a.catalog.Analysis(ctx, owner, id)
	if err != nil {
		return nil, a.howFar(ctx, owner, id, recording.StageAnalyse, err)
	}
	return &analysisOutput{Body: analysis}, nil
}

func viewTranscript(t recording.Transcript) transcriptView {
	v := transcriptView{
		Language: t.Language, Version: t.Version, Provider: t.Provider, Model: t.Model, CreatedAt: t.CreatedAt.UTC(),
		Segments: make([]segmentView, 0, len(t.Segments)),
	}
	for _, s := range t.Segments {
		segment := segmentView{StartMs: s.StartMs, EndMs: s.EndMs, Text: s.Text, Confidence: s.Confidence, Corrected: s.Corrected}
		for _, w := range s.Words {
			segment.Words = append(segment.Words, wordView{w.Text, w.StartMs, w.EndMs, w.Confidence})
		}
		v.Segments = append(v.Segments, segment)
	}
	return v
}
