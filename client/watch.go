package client

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/coder/websocket"

	"reprise/recording"
)

// maxMessage bounds a message of the WebSocket, in bytes.
const maxMessage = 1 << 20

// recordingView is what the API tells of a recording, as far as it is used here;
// raw is all of it.
type recordingView struct {
	ID         string              `json:"id"`
	State      recording.State     `json:"state"`
	Reason     recording.Reason    `json:"reason"`
	Detail     string              `json:"detail"`
	Title      string              `json:"title"`
	SHA256     string              `json:"sha256"`
	DurationMs *int64              `json:"durationMs"`
	Loudness   *recording.Loudness `json:"loudness"`
	Artifacts  []artifactView      `json:"artifacts"`
	Links      struct {
		Self string `json:"self"`
	} `json:"links"`

	raw json.RawMessage
}

type artifactView struct {
	Kind      recording.ArtifactKind `json:"kind"`
	SizeBytes int64                  `json:"sizeBytes"`
	URL       string                 `json:"url"`
}

// settled reports whether processing has ended, well or not.
func (v *recordingView) settled() bool {
	switch v.State {
	case recording.StateReady, recording.StateRejected, recording.StateFailed, recording.StateDeleted:
		return true
	}
	return false
}

// watch waits until the recording is settled and leaves it in r. Events only
// make it livelier: whenever there are none, the recording is asked for.
func (t *transfer) watch(ctx context.Context, r *result) error {
	var seq int64
	for {
		quiet := t.pace.quiet
		if r.recording.settled() { // only to tell what has happened
			quiet = min(quiet, time.Second)
		}
		seq = t.follow(ctx, seq, quiet)
		err := t.insist(ctx, func(ctx context.Context) (err error) {
			r.recording, err = t.server.recording(ctx, t.recordingID)
			return err
		})
		if err != nil {
			return err
		}
		t.failures, t.progressAt = 0, time.Now()
		if r.recording.settled() {
			return nil
		}
		select {
		case <-time.After(t.pace.poll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// follow shows the recording's events above since until it is settled or the
// WebSocket fails or says nothing for quiet, and returns the sequence number of the last. Why it failed
// does not matter: the caller asks by REST, and what is wrong shows there.
func (t *transfer) follow(ctx context.Context, since int64, quiet time.Duration) int64 {
	conn, err := t.server.subscribe(ctx, t.recordingID, since, quiet)
	if err != nil {
		return since
	}
	defer conn.CloseNow()
	for {
		e, err := readEvent(ctx, conn, quiet)
		if err != nil {
			return since
		}
		if e.RecordingID.String() != t.recordingID {
			continue // an answer to the subscription
		}
		since = max(since, e.Seq)
		t.line.event(e)
		switch e.Type {
		case recording.EventRecordingReady, recording.EventRecordingRejected,
			recording.EventRecordingFailed, recording.EventRecordingDeleted:
			_ = conn.Close(websocket.StatusNormalClosure, "")
			return since
		}
	}
}

// subscribe opens a WebSocket with the events of one recording above since.
func (s *server) subscribe(ctx context.Context, id string, since int64, limit time.Duration) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, s.path("v1", "events"), &websocket.DialOptions{HTTPClient: s.http, HTTPHeader: s.header()})
	if err != nil {
		return nil, fmt.Errorf("open the WebSocket: %w", err)
	}
	conn.SetReadLimit(maxMessage)
	message, err := json.Marshal(map[string]any{"type": "subscribe", "recordings": []string{id}, "since": since})
	if err == nil {
		err = conn.Write(ctx, websocket.MessageText, message)
	}
	if err != nil {
		_ = conn.CloseNow() // it is of no use
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return conn, nil
}

// readEvent reads the next message. One that is no event has no recording.
func readEvent(ctx context.Context, conn *websocket.Conn, limit time.Duration) (recording.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, message, err := conn.Read(ctx)
	if err != nil {
		return recording.Event{}, err
	}
	var e recording.Event
	if err := json.Unmarshal(message, &e); err != nil {
		return recording.Event{}, fmt.Errorf("read an event: %w", err)
	}
	return e, nil
}

// eventData is what the data of events has, of all types together.
type eventData struct {
	SizeBytes   int64            `json:"sizeBytes"`
	LengthBytes int64            `json:"lengthBytes"`
	Stage       recording.Stage  `json:"stage"`
	Percent     float64          `json:"percent"`
	Speed       float64          `json:"speed"`
	RemainingMs int64            `json:"remainingMs"`
	DurationMs  int64            `json:"durationMs"`
	Reason      recording.Reason `json:"reason"`
}
