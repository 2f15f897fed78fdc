package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/tus/tusd/v2/pkg/filestore"
	"github.com/tus/tusd/v2/pkg/handler"
	"golang.org/x/exp/slog"

	"reprise/recording"
)

const testToken = "test-token"

// fakeServer is tusd's own handler and store, with as much of Reprise around it
// as the client talks to.
type fakeServer struct {
	t     *testing.T
	dir   string
	tus   *handler.UnroutedHandler
	store filestore.FileStore
	http  *httptest.Server

	// Set before the first request.
	refuse  func(r *http.Request) *Problem                                    // nil lets a request through
	outcome recording.State                                                   // of what is received; "" is ready
	socket  func(ctx context.Context, conn *websocket.Conn, id, since string) // nil: no WebSocket

	mu       sync.Mutex
	requests []string          // method and path
	byClient map[string]string // clientId → upload
	byUpload map[string]string // upload → recording
	settled  map[string]bool   // recordings that have been processed
}

func newFakeServer(t *testing.T, change ...func(*fakeServer)) *fakeServer {
	t.Helper()
	s := &fakeServer{
		t: t, dir: t.TempDir(), outcome: recording.StateReady,
		byClient: make(map[string]string), byUpload: make(map[string]string), settled: make(map[string]bool),
	}
	for _, f := range change {
		f(s)
	}
	s.store = filestore.New(s.dir)
	composer := handler.NewStoreComposer()
	s.store.UseIn(composer)
	composer.UseLocker(&patientLocker{held: make(map[string]chan struct{})})
	var err error
	s.tus, err = handler.NewUnroutedHandler(handler.Config{
		StoreComposer: composer, BasePath: "/files/",
		Logger:         slog.New(slog.NewTextHandler(io.Discard, nil)),
		NetworkTimeout: 2 * quick().stall,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.http = httptest.NewServer(s)
	t.Cleanup(s.http.Close)
	return s
}

// patientLocker waits for the holder of a lock and never asks it to let go: how
// tusd 2.10 does that is a data race between writeChunk and the asker.
type patientLocker struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

type patientLock struct {
	l  *patientLocker
	id string
}

func (l *patientLocker) NewLock(id string) (handler.Lock, error) { return patientLock{l, id}, nil }

func (k patientLock) Lock(ctx context.Context, _ func()) error {
	for {
		k.l.mu.Lock()
		released, held := k.l.held[k.id]
		if !held {
			k.l.held[k.id] = make(chan struct{})
		}
		k.l.mu.Unlock()
		if !held {
			return nil
		}
		select {
		case <-released:
		case <-ctx.Done():
			return handler.ErrLockTimeout
		}
	}
}

func (k patientLock) Unlock() error {
	k.l.mu.Lock()
	defer k.l.mu.Unlock()
	close(k.l.held[k.id])
	delete(k.l.held, k.id)
	return nil
}

func (s *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	s.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+testToken {
		answerProblem(w, &Problem{Status: 401, Code: recording.CodeUnauthenticated, Detail: "Send a token."})
		return
	}
	if s.refuse != nil {
		if p := s.refuse(r); p != nil {
			answerProblem(w, p)
			return
		}
	}
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/files/"):
		s.serveTus(w, r)
	case strings.HasPrefix(path, "/v1/recordings/"):
		s.serveRecording(w, strings.TrimPrefix(path, "/v1/recordings/"))
	case path == "/v1/events" && s.socket != nil:
		s.serveSocket(w, r)
	default:
		http.NotFound(w, r)
	}
}

func answerProblem(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(p.retryAfter.Seconds())))
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func (s *fakeServer) serveTus(w http.ResponseWriter, r *http.Request) {
	var route http.HandlerFunc
	switch r.Method {
	case http.MethodPost:
		route = s.create
	case http.MethodHead:
		route = s.tus.HeadFile
	case http.MethodPatch:
		route = s.tus.PatchFile
	case http.MethodDelete:
		route = s.tus.DelFile
	}
	http.StripPrefix("/files/", s.tus.Middleware(route)).ServeHTTP(w, r)
}

// create makes creation idempotent by clientId, as Reprise does.
func (s *fakeServer) create(w http.ResponseWriter, r *http.Request) {
	clientID := handler.ParseMetadataHeader(r.Header.Get("Upload-Metadata"))["clientId"]
	s.mu.Lock()
	upload := s.byClient[clientID]
	s.mu.Unlock()
	if upload != "" {
		w.Header().Set("Location", "http://"+r.Host+"/files/"+upload)
		w.Header().Set("Upload-Offset", strconv.FormatInt(s.info(upload).Offset, 10))
		w.Header().Set("Reprise-Recording", s.byUpload[upload])
		w.WriteHeader(http.StatusCreated)
		return
	}
	id := recording.NewID().String()
	w.Header().Set("Reprise-Recording", id)
	s.tus.PostFile(w, r)
	if location := w.Header().Get("Location"); location != "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.byClient[clientID] = filepath.Base(location)
		s.byUpload[filepath.Base(location)] = id
	}
}

func (s *fakeServer) info(upload string) handler.FileInfo {
	u, err := s.store.GetUpload(context.Background(), upload)
	if err != nil {
		return handler.FileInfo{}
	}
	info, err := u.GetInfo(context.Background())
	if err != nil {
		s.t.Errorf("info of an upload: %v", err)
	}
	return info
}

// upload returns what the server has of the only upload, or of the one with
// this filename.
func (s *fakeServer) upload(filename string) (handler.FileInfo, []byte) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for upload := range s.byUpload {
		info := s.info(upload)
		if info.MetaData["filename"] == filename {
			content, err := os.ReadFile(filepath.Join(s.dir, upload))
			if err != nil {
				s.t.Fatal(err)
			}
			return info, content
		}
	}
	s.t.Fatalf("the server has no upload of %s", filename)
	return handler.FileInfo{}, nil
}

func (s *fakeServer) count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.requests {
		if strings.HasPrefix(r, method+" ") {
			n++
		}
	}
	return n
}

func (s *fakeServer) settle(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled[id] = true
}

func (s *fakeServer) serveRecording(w http.ResponseWriter, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for upload, recordingID := range s.byUpload {
		if recordingID != id {
			continue
		}
		info := s.info(upload)
		v := map[string]any{
			"id": id, "state": recording.StateUploading, "artifacts": []any{},
			"links": map[string]string{"self": s.http.URL + "/v1/recordings/" + id},
		}
		if info.Offset == info.Size && info.Size > 0 {
			content, err := os.ReadFile(filepath.Join(s.dir, upload))
			if err != nil {
				s.t.Error(err)
			}
			sum := sha256.Sum256(content)
			v["state"], v["sha256"] = recording.StateProcessing, hex.EncodeToString(sum[:])
		}
		if s.settled[id] || s.socket == nil {
			v["state"] = s.outcome
			switch s.outcome {
			case recording.StateReady:
				v["durationMs"] = 61234
				v["loudness"] = map[string]float64{"integratedLufs": -17.3, "rangeLu": 3.3, "truePeakDbtp": -3}
				v["artifacts"] = []any{map[string]any{"kind": "aac", "sizeBytes": 5, "url": s.http.URL + "/v1/recordings/" + id + "/audio?format=aac"}}
			case recording.StateRejected:
				v["reason"], v["detail"] = recording.ReasonTruncated, "The file ends too early."
			}
		}
		_ = json.NewEncoder(w).Encode(v)
		return
	}
	answerProblem(w, &Problem{Status: 404, Code: recording.CodeNotFound, Detail: "There is nothing here, or it is not yours."})
}

func (s *fakeServer) serveSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	var subscribe struct {
		Type       string   `json:"type"`
		Recordings []string `json:"recordings"`
		Since      *int64   `json:"since"`
	}
	_, message, err := conn.Read(r.Context())
	if err != nil {
		return
	}
	if err := json.Unmarshal(message, &subscribe); err != nil || subscribe.Type != "subscribe" || len(subscribe.Recordings) != 1 || subscribe.Since == nil {
		s.t.Errorf("subscription: %s", message)
		return
	}
	say(r.Context(), conn, `{"type":"subscribed","seq":3}`)
	s.socket(r.Context(), conn, subscribe.Recordings[0], fmt.Sprint(*subscribe.Since))
}

func say(ctx context.Context, conn *websocket.Conn, message string) {
	_ = conn.Write(ctx, websocket.MessageText, []byte(message))
}

// sayEvent writes an event as the server does.
func sayEvent(ctx context.Context, conn *websocket.Conn, seq int64, id string, typ recording.EventType, data string) {
	e := recording.Event{Seq: seq, Type: typ, RecordingID: uuid.MustParse(id), At: time.Now(), Data: json.RawMessage(data)}
	message, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	say(ctx, conn, string(message))
}
