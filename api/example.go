package api

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"reprise/recording"
)

// addExamples puts an example on every answer that has a body of JSON. They are
// made by the same code as the answers, so they can't drift from them.
func (a *API) addExamples(doc *huma.OpenAPI) {
	at := time.Date(2026, 5, 4, 9, 30, 0, 0, time.UTC)
	id, uploadID := uuid.MustParse("01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"), uuid.MustParse("01934b5e-7f39-7b0a-8d55-0f6e1c2a9b77")
	r := a.viewRecording(exampleRecording(id, at))
	again := r
	again.State, again.ReadyAt = recording.StateProcessing, nil
	length := int64(5_556_044)
	u := a.viewUpload(recording.Upload{
		ID: uploadID, RecordingID: id, ClientID: "phone-0042", Metadata: map[string]string{"filename": "first-day.wav"},
		Offset: 1_048_576, Length: &length, CreatedAt: at, ExpiresAt: at.Add(24 * time.Hour),
	})
	next := encodeCursor(id)
	event := eventView{42, recording.EventRecordingReady, id, at.Add(10 * time.Second), json.RawMessage(`{"durationMs":63000}`)}

	example := func(op *huma.Operation, v any) {
		op.Responses[strconv.Itoa(op.DefaultStatus)].Content["application/json"].Example = v
	}
	paths := doc.Paths
	alice := uuid.MustParse("01934b5e-0000-7000-8000-00000000a11c")
	example(paths["/v1/me"].Get, userView{
		ID: alice, Subject: "firebase:kX3vT0aQ", Email: "alice@example.com", Name: "Alice", Provider: "google.com", CreatedAt: at,
		Usage: viewUsage(exampleUsage(at)), Limits: viewLimits(exampleLimits()),
	})
	user := adminUserView{
		ID: alice, Subject: "firebase:kX3vT0aQ", Email: "alice@example.com", Name: "Alice", Provider: "google.com", CreatedAt: at, LastSeenAt: at.Add(time.Hour),
	}
	disabled, counted := user, user
	disabledAt := at.Add(2 * time.Hour)
	disabled.DisabledAt, disabled.DisabledReason = &disabledAt, "Asked for it by letter."
	counted.Recordings = map[recording.State]int64{recording.StateReady: 12, recording.StateRejected: 1}
	example(paths["/v1/admin/users"].Get, usersPageView{Items: []adminUserView{user}, NextCursor: encodeCursor(alice)})
	example(paths["/v1/admin/users/{id}"].Get, counted)
	example(paths["/v1/admin/users/{id}/recordings"].Get, recordingStatesPageView{Items: []recordingStateView{{
		ID: id, State: recording.StateReady, SizeBytes: &length, CreatedAt: at, UpdatedAt: at.Add(10 * time.Second),
	}}, NextCursor: next})
	example(paths["/v1/admin/users/{id}/disable"].Post, disabled)
	example(paths["/v1/admin/users/{id}/enable"].Post, user)
	example(paths["/v1/admin/audit"].Get, auditPageView{Items: []auditView{{
		ID: id, At: disabledAt, ActorID: &uploadID, Role: recording.RoleAdmin, Action: recording.ActionDisableUser,
		Target: alice.String(), Reason: "Asked for it by letter.", RequestID: "K7ZL4VQ3W2N5X6R8",
	}}, NextCursor: next})
	example(paths["/v1/recordings"].Get, recordingsPageView{Items: []recordingView{r}, NextCursor: next})
	example(paths["/v1/recordings/{id}"].Get, r)
	example(paths["/v1/recordings/{id}"].Patch, r)
	example(paths["/v1/recordings/{id}/reprocess"].Post, again)
	story := viewStory(recording.Story{ID: *r.StoryID, Title: "Grandmother's childhood", Recordings: 3, CreatedAt: at, UpdatedAt: at})
	example(paths["/v1/stories"].Get, storiesPageView{Items: []storyView{story}, NextCursor: next})
	example(paths["/v1/stories"].Post, story)
	example(paths["/v1/stories/{id}"].Get, story)
	example(paths["/v1/stories/{id}"].Patch, story)
	grandma := recording.NamedEntity{ID: uuid.MustParse("01934b61-04c2-7d15-b6a4-7f1d90a3c5e8"), Kind: recording.EntityPerson, Name: "Grandma"}
	example(paths["/v1/entities/{id}"].Patch, viewNamedEntity(grandma))
	example(paths["/v1/entities/{id}/split"].Post, viewNamedEntity(grandma))
	grandma.Merged = []recording.MergedEntity{{ID: uuid.MustParse("01934b61-04c2-7d16-9f0e-2c8b7a6d5e41"), Name: "Anna"}}
	example(paths["/v1/entities/{id}/merge"].Post, viewNamedEntity(grandma))
	graph := newExampleGraph(exampleRecording(id, at), at)
	example(paths["/v1/recordings/{id}/related"].Get, a.viewRelated(graph.related))
	example(paths["/v1/entities"].Get, viewEntities(graph.entities))
	example(paths["/v1/entities/{id}"].Get, a.viewEntity(graph.entity, grandma))
	example(paths["/v1/graph/path"].Get, viewSubgraph(graph.path))
	example(paths["/v1/graph/neighborhood"].Get, viewSubgraph(graph.neighborhood))
	example(paths["/v1/timeline"].Get, a.viewTimeline(graph.timeline))
	transcript := viewTranscript(exampleTranscript(at))
	example(paths["/v1/recordings/{id}/transcript"].Get, transcript)
	example(paths["/v1/recordings/{id}/transcript.json"].Get, transcript)
	example(paths["/v1/recordings/{id}/transcript"].Patch, transcript)
	example(paths["/v1/recordings/{id}/transcript/corrections"].Get, correctionsView{Items: []correctionView{{1200, 2600, "We walked to school.", false, 3, at.Add(time.Hour)}}})
	example(paths["/v1/recordings/{id}/analysis"].Get, exampleAnalysis(at))
	atMs := int64(1350)
	example(paths["/v1/search"].Get, a.viewSearch(recording.SearchResult{Complete: true, NextCursor: "AkA_MzMBk0tefzp8wZweWg9PHSs8", Found: []recording.Found{{
		RecordingID: id, Title: r.Title, RecordedAt: at.Add(-time.Hour), Rank: 1.2,
		Snippets: []recording.Snippet{{In: "transcript", Text: "We walked to school.", Highlights: [][2]int{{3, 9}}, AtMs: &atMs}},
	}}}))
	example(paths["/v1/recordings/{id}/events"].Get, eventsPageView{Items: []eventView{event}, NextSince: event.Seq})
	example(paths["/v1/uploads"].Get, uploadsPageView{Items: []uploadView{u}, NextCursor: encodeCursor(uploadID)})
	example(paths["/v1/events/ticket"].Post, ticketView{Ticket: "K7ZL4VQ3W2N5X6R8T9Y1P0M2C4", ExpiresAt: at.Add(time.Minute)})
}

func exampleTranscript(at time.Time) recording.Transcript {
	sure, surer := 0.93, 0.97
	return recording.Transcript{
		Language: "en", Version: 3, Provider: "whisper", Model: "tiny.en", CreatedAt: at.Add(time.Minute), Segments: []recording.Segment{
			{StartMs: 0, EndMs: 1100, Text: "Good morning.", Confidence: &sure, Words: []recording.Word{
				{Text: "Good", StartMs: 0, EndMs: 500, Confidence: &surer}, {Text: "morning.", StartMs: 500, EndMs: 1100},
			}},
			{StartMs: 1200, EndMs: 2600, Text: "We walked to school.", Corrected: 3},
		},
	}
}

func exampleAnalysis(at time.Time) recording.Analysis {
	return recording.Analysis{
		Language: "en", Title: "The way to school", Summary: "How two sisters walked to school in the winter of 1962.",
		Topics: []recording.Topic{{Name: "school", Weight: 0.8}},
		Entities: []recording.Entity{{Kind: recording.EntityDate, Name: "winter of 1962", Mentions: []recording.Mention{
			{AtMs: 5200, Offset: 61, Length: 14, Text: "winter of 1962"},
		}}},
		Sentiment: recording.Sentiment{Label: "positive", Score: 0.4},
		Chapters:  []recording.Chapter{{StartMs: 0, Title: "The way to school"}},
		Quotes:    []recording.Quote{{Text: "We walked to school.", StartMs: 1200, EndMs: 2600}},
		Provider:  "local", Model: "keyphrases", PromptVersion: "1", CreatedAt: at.Add(2 * time.Minute),
	}
}

// exampleRecording is a ready recording with every field set.
func exampleRecording(id uuid.UUID, at time.Time) recording.Recording {
	story := uuid.MustParse("01934b40-1c00-7f00-8a00-3e5d0c9b7a61")
	recorded, received, ready := at.Add(-time.Hour), at.Add(5*time.Second), at.Add(10*time.Second)
	size, integrated, loudnessRange, peak := int64(5_556_044), -23.1, 5.4, -1.2
	return recording.Recording{
		ID: id, State: recording.StateReady,
		Title: "Grandmother's first day at school", Filename: "first-day.wav", Filetype: "audio/wav", Language: "en",
		StoryID: &story, RecordedAt: &recorded,
		SizeBytes: &size, SHA256: make([]byte, 32),
		Media:    &recording.Media{Container: "wav", Codec: "pcm_s16le", SampleRateHz: 44_100, Channels: 1, BitRate: 705_600, DurationMs: 63_000},
		Loudness: &recording.Loudness{IntegratedLUFS: &integrated, RangeLU: &loudnessRange, TruePeakDBTP: &peak},
		Silences: []recording.Silence{{StartMs: 1200, EndMs: 2600}},
		Artifacts: []recording.Artifact{
			{Kind: recording.ArtifactAAC, ContentType: "audio/mp4", SizeBytes: 504_000},
			{Kind: recording.ArtifactOpus, ContentType: "audio/ogg", SizeBytes: 378_000},
			{Kind: recording.ArtifactPeaksJSON, ContentType: "application/json", SizeBytes: 40_210},
			{Kind: recording.ArtifactPeaks, ContentType: "application/octet-stream", SizeBytes: 21_732},
		},
		Insights: []recording.Insight{
			{Stage: recording.StageTranscribe, State: recording.InsightReady, UpdatedAt: at.Add(time.Minute)},
			{Stage: recording.StageAnalyse, State: recording.InsightWaiting, Detail: "It waits for its turn.", UpdatedAt: at.Add(time.Minute)},
		},
		Version: 7, CreatedAt: at, UpdatedAt: ready, ReceivedAt: &received, ReadyAt: &ready,
	}
}
