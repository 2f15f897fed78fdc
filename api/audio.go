package api

import (
	"context"
	"encoding/hex"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/uuid"

	"reprise/recording"
)

type audioInput struct {
	ID     string `path:"id" doc:"The recording's id, a UUID." example:"01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"`
	Format string `query:"format" enum:"original,aac,opus" default:"aac" doc:"original: the bytes as they were uploaded, as a download. aac: AAC in MP4. opus: Opus in Ogg."`
}

type peaksInput struct {
	ID     string `path:"id" doc:"The recording's id, a UUID." example:"01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"`
	Format string `query:"format" enum:"json,dat" default:"json" doc:"BBC audiowaveform version 2, as peaks.js and wavesurfer.js read it: JSON or binary."`
}

// file is something stored that can be served.
type file struct {
	key         string
	contentType string
	disposition string
	sha256      []byte
}

func (a *API) registerAudio() {
	codes := []recording.Code{recording.CodeInvalidRequest, recording.CodeNotFound, recording.CodeConflict, recording.CodeRangeInvalid}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		op := huma.Operation{
			OperationID: "getAudio", Method: method, Path: "/v1/recordings/{id}/audio", Tags: []string{tagRecordings},
			Summary:     "Listen to a recording",
			Description: "Answers Range, If-Range and If-None-Match (the ETag is made of the SHA-256). 409 while there is nothing to listen to, with the reason in words.",
		}
		if method == http.MethodHead {
			op.OperationID, op.Summary = "headAudio", "Size and type of a recording's audio"
		}
		op.Responses = fileResponses(method, "audio/mp4", "audio/ogg", "application/octet-stream")
		op.Parameters = conditionalParams()
		register(a, op, codes, a.getAudio)
	}
	op := huma.Operation{
		OperationID: "getPeaks", Method: http.MethodGet, Path: "/v1/recordings/{id}/peaks", Tags: []string{tagRecordings},
		Summary:     "Get a recording's waveform",
		Description: "Smallest and largest sample of each stretch, to draw. 409 until the recording is ready.",
	}
	op.Responses = fileResponses(http.MethodGet, "application/json", "application/octet-stream")
	op.Parameters = conditionalParams()
	register(a, op, codes, a.getPeaks)
}

func (a *API) getAudio(ctx context.Context, owner uuid.UUID, in *audioInput) (*huma.StreamResponse, error) {
	r, err := a.recording(ctx, owner, in.ID)
	if err != nil {
		return nil, err
	}
	if in.Format != "original" {
		return a.artifact(ctx, r, recording.ArtifactKind(in.Format))
	}
	// The object is there as soon as the first stage has put it together.
	if r.SizeBytes == nil || r.Stage == recording.StageStore {
		return nil, notYet(r)
	}
	return a.stream(ctx, file{
		key:         r.ObjectKey,
		contentType: originalType(r),
		disposition: contentDisposition("attachment", originalName(r)),
		sha256:      r.SHA256,
	})
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
	return a.artifact(ctx, r, kind)
}

func (a *API) artifact(ctx context.Context, r recording.Recording, kind recording.ArtifactKind) (*huma.StreamResponse, error) {
	for _, artifact := range r.Artifacts {
		if artifact.Kind == kind {
			return a.stream(ctx, file{
				key:         artifact.ObjectKey,
				contentType: artifact.ContentType,
				disposition: contentDisposition("inline", artifactName(r, kind)),
				sha256:      artifact.SHA256,
			})
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

// stream opens a file and returns an answer that serves it.
func (a *API) stream(ctx context.Context, f file) (*huma.StreamResponse, error) {
	object, err := a.objects.Open(ctx, f.key)
	if recording.CodeOf(err) == recording.CodeNotFound {
		// The catalog knows it, so it must be there: not the client's mistake.
		return nil, recording.Wrap(recording.CodeInternal, err, "The file is missing.")
	}
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer object.Close() // it was only read
		r, w := humago.Unwrap(ctx)
		h := w.Header()
		h.Set("Content-Type", f.contentType)
		h.Set("Content-Disposition", f.disposition)
		h.Set("ETag", `"`+hex.EncodeToString(f.sha256)+`"`)
		// Kept by the client only, and shown only after asking: it may be deleted.
		h.Set("Cache-Control", "private, no-cache")
		// A page opened from here can do nothing, whatever its bytes are.
		h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
		info := object.Info()
		http.ServeContent(&rangeWriter{ResponseWriter: w, api: a, r: r, size: info.SizeBytes}, r, "", info.ModifiedAt, object)
	}}, nil
}

// rangeWriter makes http.ServeContent's answer to a bad Range a problem.
type rangeWriter struct {
	http.ResponseWriter
	api     *API
	r       *http.Request
	size    int64
	refused bool
}

// Unwrap is for http.ResponseController.
func (w *rangeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *rangeWriter) WriteHeader(status int) {
	if status != http.StatusRequestedRangeNotSatisfiable {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.refused = true
	w.Header().Del("Content-Disposition")
	w.api.problems.Write(w.ResponseWriter, w.r, recording.Errorf(recording.CodeRangeInvalid, "The file has %d bytes; the Range is malformed or outside of them.", w.size))
}

// Write implements http.ResponseWriter.
func (w *rangeWriter) Write(p []byte) (int, error) {
	if w.refused { // the text that goes with the refusal
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}
