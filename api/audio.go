package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"reprise/recording"
)

type audioInput struct {
	ID     string `path:"id" doc:"The recording's id, a UUID." example:"01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"`
	Format string `query:"format" enum:"original,aac,opus" default:"aac" doc:"original: the bytes as they were uploaded, as a download. aac: AAC in MP4. opus: Opus in Ogg."`
	Reading
}

type peaksInput struct {
	ID     string `path:"id" doc:"The recording's id, a UUID." example:"01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"`
	Format string `query:"format" enum:"json,dat" default:"json" doc:"BBC audiowaveform version 2, as peaks.js and wavesurfer.js read it: JSON or binary."`
	Reading
}

func (a *API) registerAudio() {
	codes := []recording.Code{recording.CodeInvalidRequest, recording.CodeNotFound, recording.CodeConflict, recording.CodeRangeInvalid}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		op := huma.Operation{
			OperationID: "getAudio", Method: method, Path: "/v1/recordings/{id}/audio", Tags: []string{tagRecordings},
			Summary:     "Listen to a recording",
			Description: "The bytes, or 307 and where they are for some minutes. Answers Range and conditional requests either way. 409 while there is nothing to listen to, with the reason in words.",
		}
		if method == http.MethodHead {
			op.OperationID, op.Summary = "headAudio", "Size and type of a recording's audio"
		}
		op.Responses = fileResponses(method, "audio/mp4", "audio/ogg", "application/octet-stream")
		register(a, op, codes, a.getAudio)
	}
	op := huma.Operation{
		OperationID: "getPeaks", Method: http.MethodGet, Path: "/v1/recordings/{id}/peaks", Tags: []string{tagRecordings},
		Summary:     "Get a recording's waveform",
		Description: "Smallest and largest sample of each stretch, to draw: the bytes, or 307 and where they are for some minutes. 409 until the recording is ready.",
	}
	op.Responses = fileResponses(http.MethodGet, "application/json", "application/octet-stream")
	register(a, op, codes, a.getPeaks)
}

func (a *API) getAudio(ctx context.Context, owner uuid.UUID, in *audioInput) (*huma.StreamResponse, error) {
	r, err := a.recording(ctx, owner, in.ID)
	if err != nil {
		return nil, err
	}
	if in.Format != "original" {
		return a.artifact(ctx, r, recording.ArtifactKind(in.Format), in.Reading)
	}
	// The object is there as soon as the first stage has put it together.
	if r.SizeBytes == nil || r.Stage == recording.StageStore {
		return nil, notYet(r)
	}
	return a.serveFile(ctx, file{
		key:         r.ObjectKey,
		contentType: originalType(r),
		disposition: contentDisposition("attachment", originalName(r)),
		etag:        etagOf(r.SHA256),
	}, in.Reading)
}

func (a *API) getPeaks(ctx context.Context, owner uuid.UUID, in *peaksInput) (*huma.StreamResponse, error) {
	r, err := a.recording(ctx, owner, in.ID)
	if err != nil {
		return nil, err
	}
	kind := recording.ArtifactPeaksJSON
	if in.Format == "dat" {
		kind = recording.ArtifactPeaks
	}
	return a.artifact(ctx, r, kind, in.Reading)
}

func (a *API) artifact(ctx context.Context, r recording.Recording, kind recording.ArtifactKind, in Reading) (*huma.StreamResponse, error) {
	for _, artifact := range r.Artifacts {
		if artifact.Kind == kind {
			return a.serveFile(ctx, file{
				key:         artifact.ObjectKey,
				contentType: artifact.ContentType,
				disposition: contentDisposition("inline", artifactName(r, kind)),
				etag:        etagOf(artifact.SHA256),
			}, in)
		}
	}
	return nil, notYet(r)
}

// notYet says why a recording has nothing to serve (yet).
func notYet(r recording.Recording) error {
	switch r.State {
	case recording.StateUploading:
		return recording.Errorf(recording.CodeConflict, "The upload is not complete yet.")
	case recording.StateRejected:
		return recording.Errorf(recording.CodeConflict, "The recording was rejected (%s), so there is none of this. %s", r.Reason, r.Detail)
	case recording.StateFailed:
		return recording.Errorf(recording.CodeConflict, "Processing failed (%s), so there is none of this yet. %s", r.Reason, r.Detail)
	}
	return recording.Errorf(recording.CodeConflict, "The recording is still being processed; wait for the event recording.ready.")
}
