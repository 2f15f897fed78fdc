package client

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/coder/websocket"

	"reprise/recording"
)

func TestWaitShowsEvents(t *testing.T) {
	t.Parallel()
	var s *fakeServer
	s = newFakeServer(t, func(f *fakeServer) {
		f.socket = func(ctx context.Context, conn *websocket.Conn, id, since string) {
			if since != "0" {
				t.Errorf("subscribed since %s", since)
			}
			sayEvent(ctx, conn, 1, id, recording.EventUploadCreated, `{"lengthBytes":100000}`)
			sayEvent(ctx, conn, 2, id, recording.EventUploadReceived, `{"sizeBytes":100000}`)
			sayEvent(ctx, conn, 0, id, recording.EventProcessingProgress, `{"stage":"transcode","percent":50,"speed":40,"remainingMs":900}`)
			sayEvent(ctx, conn, 3, id, recording.EventStageCompleted, `{"stage":"transcode"}`)
			s.settle(id)
			sayEvent(ctx, conn, 4, id, recording.EventRecordingReady, `{"durationMs":61234}`)
			_, _, _ = conn.Read(ctx)
		}
	})
	path, _ := newFile(t, "talk.wav", 100_000)
	got := upload(t, t.Context(), s.http.URL, Options{Files: []string{path}, Wait: true})
	wantCode(t, got, ExitDone)
	wantText(t, got.stderr, "event 1  upload.created  100 kB\n", "event 2  upload.received  100 kB\n", "event 3  processing.completed  transcode\n", "event 4  recording.ready  1:01.2\n")
	wantText(t, got.stdout, "ready", "-17.3 LUFS")
}

func TestWaitSurvivesALostSocket(t *testing.T) {
	t.Parallel()
	var s *fakeServer
	var asked []string
	s = newFakeServer(t, func(f *fakeServer) {
		f.socket = func(ctx context.Context, conn *websocket.Conn, id, since string) {
			asked = append(asked, since)
			if len(asked) == 1 {
				sayEvent(ctx, conn, 7, id, recording.EventUploadReceived, `{}`)
				return // without a close frame
			}
			s.settle(id)
			sayEvent(ctx, conn, 8, id, recording.EventRecordingReady, `{}`)
			_, _, _ = conn.Read(ctx)
		}
	})
	path, _ := newFile(t, "talk.wav", 100)
	got := upload(t, t.Context(), s.http.URL, Options{Files: []string{path}, Wait: true})
	wantCode(t, got, ExitDone)
	if len(asked) != 2 || asked[0] != "0" || asked[1] != "7" {
		t.Errorf("subscribed since %v, want 0 and 7", asked)
	}
}

func TestWaitWithoutASocket(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t) // /v1/events answers 404
	path, _ := newFile(t, "talk.wav", 100)
	got := upload(t, t.Context(), s.http.URL, Options{Files: []string{path}, Wait: true})
	wantCode(t, got, ExitDone)
	wantText(t, got.stdout, "ready")
}

func TestRejected(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t, func(s *fakeServer) { s.outcome = recording.StateRejected })
	path, _ := newFile(t, "talk.wav", 100)
	got := upload(t, t.Context(), s.http.URL, Options{Files: []string{path}, Wait: true, JSON: true})
	wantCode(t, got, ExitFailed)
	var result jsonResult
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil {
		t.Fatal(err)
	}
	want := jsonError{ExitCode: ExitFailed, Code: "truncated", Message: "rejected: The file ends too early. (truncated)"}
	if result.Error == nil || *result.Error != want {
		t.Errorf("error: %+v, want %+v", result.Error, want)
	}
	if result.Recording == nil || result.RecordingID == "" {
		t.Errorf("no recording in %s", got.stdout)
	}
}

func TestServerWithOtherBytes(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	path, _ := newFile(t, "talk.wav", 200_000)
	wantCode(t, upload(t, t.Context(), s.http.URL, Options{Files: []string{path}}), ExitDone)
	src, err := openSource(path)
	if err != nil {
		t.Fatal(err)
	}
	src.close()
	// The same ends, size and time, another middle.
	changeMiddle(t, path, src.modified)
	got := upload(t, t.Context(), s.http.URL, Options{Files: []string{path}})
	wantCode(t, got, ExitFailed)
	wantText(t, got.stderr, "the server has other bytes than this file")
}
