package api

import (
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

// The views are what clients see of recording's types. An answer may get new
// fields; none goes away or changes its meaning.

type userView struct {
	ID        uuid.UUID      `json:"id" format:"uuid" doc:"Who this is in Reprise."`
	Subject   string         `json:"subject" doc:"Who the identity provider says this is." example:"dev:alice"`
	Email     string         `json:"email,omitempty" doc:"If the identity provider has verified it." example:"alice@example.com"`
	Name      string         `json:"name,omitempty" doc:"As the identity provider has it." example:"Alice"`
	Provider  string         `json:"provider,omitempty" doc:"How the user has signed in." example:"google.com"`
	Role      recording.Role `json:"role,omitempty" enum:"support,admin" doc:"What the token allows beyond the user's own; absent for nothing."`
	CreatedAt time.Time      `json:"createdAt" doc:"When this user was first seen."`

	Usage  usageView  `json:"usage" doc:"What this user has and has used."`
	Limits limitsView `json:"limits" doc:"How much is allowed; what is absent is not limited."`
}

type recordingView struct {
	ID         uuid.UUID        `json:"id" format:"uuid" doc:"Ids sort in the order of creation."`
	State      recording.State  `json:"state" enum:"uploading,received,processing,ready,rejected,failed" doc:"uploading: bytes are missing. received: every byte is safe. processing: a stage runs or waits. ready: playable. rejected: not acceptable audio, see reason. failed: a fault of the server, see reason."`
	Reason     recording.Reason `json:"reason,omitempty" doc:"Why it was rejected or failed; stable." example:"truncated"`
	Detail     string           `json:"detail,omitempty" doc:"The reason in a sentence, for people."`
	Title      string           `json:"title" doc:"What the owner calls it."`
	Filename   string           `json:"filename" doc:"As declared by the client."`
	Filetype   string           `json:"filetype" doc:"The media type declared by the client."`
	Language   string           `json:"language,omitempty" doc:"BCP 47, as declared by the client." example:"en"`
	StoryID    *uuid.UUID       `json:"storyId,omitempty" format:"uuid" doc:"The story it belongs to."`
	RecordedAt *time.Time       `json:"recordedAt,omitempty" doc:"When it was recorded, as declared by the client."`
	SizeBytes  *int64           `json:"sizeBytes,omitempty" doc:"Of the original; from received on."`
	SHA256     string           `json:"sha256,omitempty" doc:"Of the original, in hex; from received on, or from processing on if it was joined of partial uploads."`
	Media      *mediaView       `json:"media,omitempty" doc:"What the original is made of, once it has been looked at."`
	DurationMs *int64           `json:"durationMs,omitempty" doc:"How long it plays; first as its header says, later as it decodes."`
	Loudness   *loudnessView    `json:"loudness,omitempty" doc:"EBU R 128 measures of the whole recording, when ready."`
	Silences   []silenceView    `json:"silences,omitzero" nullable:"false" doc:"Stretches without sound, when ready."`
	Artifacts  []artifactView   `json:"artifacts" nullable:"false" doc:"What was made of it, so far."`
	Insights   *insightsView    `json:"insights,omitempty" doc:"How far the transcript and the analysis are; absent while none was asked for."`
	Links      linksView        `json:"links" doc:"Where its parts are. Audio and peaks answer 409, transcript and analysis 404, while there is nothing yet."`
	Version    int64            `json:"version" doc:"Raised by every change."`
	CreatedAt  time.Time        `json:"createdAt" doc:"When its upload began."`
	UpdatedAt  time.Time        `json:"updatedAt" doc:"When it last changed."`
	ReceivedAt *time.Time       `json:"receivedAt,omitempty" doc:"When its last byte was safe."`
	ReadyAt    *time.Time       `json:"readyAt,omitempty" doc:"When it became playable."`
}

type insightsView struct {
	Transcribe *insightView `json:"transcribe,omitempty" doc:"What was said."`
	Analyse    *insightView `json:"analyse,omitempty" doc:"What it is about."`
}

type insightView struct {
	State     recording.InsightState `json:"state" enum:"waiting,ready,failed" doc:"waiting: it is being made; an older one can be read meanwhile. failed: see reason; can be asked for again."`
	Reason    recording.Reason       `json:"reason,omitempty" doc:"Why it failed; stable." example:"provider_refused"`
	Detail    string                 `json:"detail,omitempty" doc:"The reason, or what it waits for, in a sentence for people."`
	UpdatedAt time.Time              `json:"updatedAt" doc:"When it last changed."`
}

type mediaView struct {
	Container    string `json:"container" doc:"ffmpeg's name of the format." example:"wav"`
	Codec        string `json:"codec" doc:"ffmpeg's name of the codec." example:"pcm_s16le"`
	SampleRateHz int    `json:"sampleRateHz" doc:"Samples per second and channel." example:"44100"`
	Channels     int    `json:"channels" doc:"1 is mono." example:"1"`
	BitRateBps   int64  `json:"bitRateBps" doc:"Bits per second; 0 if unknown." example:"705600"`
	DurationMs   int64  `json:"durationMs" doc:"As the top-level durationMs." example:"63000"`
}

type loudnessView struct {
	IntegratedLUFS *float64 `json:"integratedLufs" doc:"Programme loudness; null for digital silence." example:"-23.1"`
	RangeLU        *float64 `json:"rangeLu" doc:"Loudness range; null for digital silence." example:"5.4"`
	TruePeakDBTP   *float64 `json:"truePeakDbtp" doc:"Highest true peak of any channel; null for digital silence." example:"-1.2"`
}

type silenceView struct {
	StartMs int64 `json:"startMs" example:"1200"`
	EndMs   int64 `json:"endMs" example:"2600"`
}

type artifactView struct {
	Kind        recording.ArtifactKind `json:"kind" doc:"aac, opus: renditions to play. peaks.json, peaks.dat: the waveform." example:"aac"`
	ContentType string                 `json:"contentType" doc:"The media type it is served with." example:"audio/mp4"`
	SizeBytes   int64                  `json:"sizeBytes" example:"504000"`
	URL         string                 `json:"url" format:"uri" doc:"Where it is; needs the token."`
}

type linksView struct {
	Self   string `json:"self" format:"uri" doc:"This recording."`
	Audio  string `json:"audio" format:"uri" doc:"To listen: ?format=original, aac or opus."`
	Peaks  string `json:"peaks" format:"uri" doc:"The waveform: ?format=json or dat."`
	Events string `json:"events" format:"uri" doc:"What has happened to it."`

	Transcript string `json:"transcript" format:"uri" doc:"What was said, as JSON; with .vtt, .srt or .txt behind it in other forms."`
	Analysis   string `json:"analysis" format:"uri" doc:"What it is about."`
}

type uploadView struct {
	ID          uuid.UUID `json:"id" format:"uuid" doc:"The upload; not the recording's id."`
	RecordingID uuid.UUID `json:"recordingId" format:"uuid" doc:"The recording it becomes."`
	ClientID    string    `json:"clientId,omitempty" doc:"The client's own name for it."`
	Filename    string    `json:"filename" doc:"As declared by the client."`
	OffsetBytes int64     `json:"offsetBytes" doc:"How many bytes are safe: where to go on."`
	LengthBytes *int64    `json:"lengthBytes,omitempty" doc:"How many it has in all; absent while the client has not said."`
	URL         string    `json:"url" format:"uri" doc:"Where to go on by tus."`
	ExpiresAt   time.Time `json:"expiresAt" doc:"When it is given up if nothing more comes."`
	CreatedAt   time.Time `json:"createdAt" doc:"When it began."`
}

type eventView struct {
	Seq         int64               `json:"seq" doc:"Counts up per user." example:"42"`
	Type        recording.EventType `json:"type" doc:"What happened." example:"recording.ready"`
	RecordingID uuid.UUID           `json:"recordingId" format:"uuid" doc:"To which recording."`
	At          time.Time           `json:"at" doc:"When."`
	Data        json.RawMessage     `json:"data" doc:"An object; its fields depend on the type."`
}

func (a *API) recordingURL(id uuid.UUID) string {
	return a.publicURL + "/v1/recordings/" + id.String()
}

func (a *API) viewRecording(r recording.Recording) recordingView {
	self := a.recordingURL(r.ID)
	v := recordingView{
		ID: r.ID, State: r.State, Reason: r.Reason, Detail: r.Detail,
		Title: r.Title, Filename: r.Filename, Filetype: r.Filetype, Language: r.Language,
		StoryID: r.StoryID, RecordedAt: utc(r.RecordedAt),
		SizeBytes: r.SizeBytes, SHA256: hex.EncodeToString(r.SHA256),
		Artifacts: []artifactView{},
		Insights:  viewInsights(r.Insights),
		Links: linksView{
			Self: self, Audio: self + "/audio", Peaks: self + "/peaks", Events: self + "/events",
			Transcript: self + "/transcript", Analysis: self + "/analysis",
		},
		Version:   r.Version,
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
		ReceivedAt: utc(r.ReceivedAt), ReadyAt: utc(r.ReadyAt),
	}
	if m := r.Media; m != nil {
		v.Media = &mediaView{m.Container, m.Codec, m.SampleRateHz, m.Channels, m.BitRate, m.DurationMs}
		v.DurationMs = &m.DurationMs
	}
	if l := r.Loudness; l != nil {
		v.Loudness = &loudnessView{l.IntegratedLUFS, l.RangeLU, l.TruePeakDBTP}
	}
	if r.Silences != nil {
		v.Silences = []silenceView{}
	}
	for _, s := range r.Silences {
		v.Silences = append(v.Silences, silenceView{s.StartMs, s.EndMs})
	}
	for _, artifact := range r.Artifacts {
		if path := artifactPath(artifact.Kind); path != "" {
			v.Artifacts = append(v.Artifacts, artifactView{artifact.Kind, artifact.ContentType, artifact.SizeBytes, self + path})
		}
	}
	return v
}

func viewInsights(list []recording.Insight) *insightsView {
	if len(list) == 0 {
		return nil
	}
	v := &insightsView{}
	for _, n := range list {
		insight := &insightView{n.State, n.Reason, n.Detail, n.UpdatedAt.UTC()}
		switch n.Stage {
		case recording.StageTranscribe:
			v.Transcribe = insight
		case recording.StageAnalyse:
			v.Analyse = insight
		}
	}
	return v
}

// artifactPath returns where below a recording an artifact is served; "" if it
// is not.
func artifactPath(kind recording.ArtifactKind) string {
	switch kind {
	case recording.ArtifactAAC, recording.ArtifactOpus:
		return "/audio?format=" + string(kind)
	case recording.ArtifactPeaksJSON:
		return "/peaks?format=json"
	case recording.ArtifactPeaks:
		return "/peaks?format=dat"
	}
	return ""
}

func (a *API) viewUpload(u recording.Upload) uploadView {
	return uploadView{
		ID: u.ID, RecordingID: u.RecordingID, ClientID: u.ClientID, Filename: u.Metadata["filename"],
		OffsetBytes: u.Offset, LengthBytes: u.Length,
		URL:       a.publicURL + "/files/" + u.ID.String(),
		ExpiresAt: u.ExpiresAt.UTC(), CreatedAt: u.CreatedAt.UTC(),
	}
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}
