package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"reprise/auth"
	"reprise/recording"
)

var (
	alice = auth.Principal{UserID: uuid.MustParse("01934b5e-0000-7000-8000-00000000a11c"), Subject: "dev:alice"}
	bob   = auth.Principal{UserID: uuid.MustParse("01934b5e-0000-7000-8000-000000000b0b"), Subject: "dev:bob"}
	epoch = time.Date(2026, 5, 4, 9, 30, 0, 0, time.UTC)
)

const (
	publicURL  = "https://audio.example.com"
	storageURL = "https://storage.example.com/signed/"
)

// fake is a catalog and a storage in memory. err, if set, is every answer.
type fake struct {
	fakeStories
	err        error
	openErr    error
	recordings []recording.Recording // newest first, as uploads
	uploads    []recording.Upload
	events     []recording.Event
	objects    map[string][]byte
	opened     int // objects open now
	opens      int // and in all

	transcripts map[uuid.UUID]recording.Transcript
	changes     []recording.CorrectionChange
	asked       []recording.Reprocessing
	searches    []recording.Search
	patches     []recording.RecordingPatch
	result      recording.SearchResult

	users   []recording.User
	audit   []recording.AuditEntry
	refused error // what is said of every account

	unsigned bool // there are no signed URLs
	signErr  error
	signed   []recording.SignedRead
}

// usage is what everybody has used.
func usage() recording.Usage {
	return recording.Usage{OpenUploads: 1, StoredBytes: 1000, DayBytes: 100, DayDecoded: time.Minute, DayEnds: recording.Day(epoch).AddDate(0, 0, 1)}
}

func (f *fake) Usage(context.Context, uuid.UUID) (recording.Usage, error) { return usage(), f.err }

func (f *fake) User(_ context.Context, id uuid.UUID) (recording.User, error) {
	for _, p := range []auth.Principal{alice, bob} {
		if p.UserID == id {
			return recording.User{ID: id, Subject: p.Subject, CreatedAt: epoch.In(time.FixedZone("CEST", 7200))}, f.err
		}
	}
	return recording.User{}, recording.ErrNotFound
}

func pageOf[T any](list []T, page recording.Page, ids func(T) (owner, id uuid.UUID), owner uuid.UUID) []T {
	var out []T
	for _, v := range list {
		of, id := ids(v)
		older := page.Before == uuid.Nil || bytes.Compare(id[:], page.Before[:]) < 0
		if of == owner && older && len(out) < page.Limit {
			out = append(out, v)
		}
	}
	return out
}

func (f *fake) Recordings(_ context.Context, owner uuid.UUID, page recording.Page) ([]recording.Recording, error) {
	return pageOf(f.recordings, page, func(r recording.Recording) (uuid.UUID, uuid.UUID) { return r.OwnerID, r.ID }, owner), f.err
}

func (f *fake) find(owner, id uuid.UUID) (*recording.Recording, error) {
	i := slices.IndexFunc(f.recordings, func(r recording.Recording) bool { return r.OwnerID == owner && r.ID == id })
	if f.err != nil {
		return nil, f.err
	}
	if i < 0 {
		return nil, recording.ErrNotFound
	}
	return &f.recordings[i], nil
}

func (f *fake) Recording(_ context.Context, owner, id uuid.UUID) (recording.Recording, error) {
	r, err := f.find(owner, id)
	if err != nil {
		return recording.Recording{}, err
	}
	return *r, nil
}

func (f *fake) PatchRecording(_ context.Context, owner, id uuid.UUID, patch recording.RecordingPatch) (recording.Recording, error) {
	r, err := f.find(owner, id)
	if err != nil {
		return recording.Recording{}, err
	}
	f.patches = append(f.patches, patch)
	if patch.Title != nil {
		r.Title = *patch.Title
		r.Version++
	}
	return *r, nil
}

func (f *fake) DeleteRecording(_ context.Context, owner, id uuid.UUID) error {
	if _, err := f.find(owner, id); err != nil {
		return err
	}
	f.recordings = slices.DeleteFunc(f.recordings, func(r recording.Recording) bool { return r.ID == id })
	return nil
}

func (f *fake) RetryRecording(_ context.Context, owner, id uuid.UUID) (recording.Recording, error) {
	r, err := f.find(owner, id)
	switch {
	case err != nil:
		return recording.Recording{}, err
	case r.State != recording.StateFailed:
		return recording.Recording{}, recording.Errorf(recording.CodeConflict, "It is %s.", r.State)
	}
	r.State = recording.StateProcessing
	return *r, nil
}

func (f *fake) Reprocess(_ context.Context, owner, id uuid.UUID, asked recording.Reprocessing) ([]recording.Insight, error) {
	r, err := f.find(owner, id)
	if err != nil {
		return nil, err
	}
	f.asked = append(f.asked, asked)
	return r.Insights, nil
}

func (f *fake) Transcript(_ context.Context, owner, id uuid.UUID) (recording.Transcript, error) {
	if _, err := f.find(owner, id); err != nil {
		return recording.Transcript{}, err
	}
	t, ok := f.transcripts[id]
	if !ok {
		return t, recording.ErrNotFound
	}
	return t, nil
}

func (f *fake) CorrectTranscript(ctx context.Context, owner, id uuid.UUID, change recording.CorrectionChange) (recording.Transcript, error) {
	f.changes = append(f.changes, change)
	t, err := f.Transcript(ctx, owner, id)
	t.Version++
	return t, err
}

func (f *fake) Corrections(_ context.Context, owner, id uuid.UUID) ([]recording.Correction, error) {
	_, err := f.find(owner, id)
	return []recording.Correction{{StartMs: 1, EndMs: 2, Text: "x", Version: 2, At: epoch}, {StartMs: 1, EndMs: 2, Withdrawn: true, Version: 1, At: epoch}}, err
}

func (f *fake) Analysis(_ context.Context, owner, id uuid.UUID) (recording.Analysis, error) {
	if _, err := f.find(owner, id); err != nil {
		return recording.Analysis{}, err
	}
	if _, ok := f.transcripts[id]; !ok {
		return recording.Analysis{}, recording.ErrNotFound
	}
	return exampleAnalysis(epoch), nil
}

func (f *fake) Search(_ context.Context, _ uuid.UUID, s recording.Search) (recording.SearchResult, error) {
	f.searches = append(f.searches, s)
	return f.result, f.err
}

func (f *fake) EventsSince(_ context.Context, owner uuid.UUID, recordings []uuid.UUID, since int64, limit int) ([]recording.Event, error) {
	var out []recording.Event
	for _, e := range f.events {
		if e.OwnerID == owner && e.Seq > since && slices.Contains(recordings, e.RecordingID) && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, f.err
}

func (f *fake) ResumableUploads(_ context.Context, owner uuid.UUID, page recording.Page) ([]recording.Upload, error) {
	return pageOf(f.uploads, page, func(u recording.Upload) (uuid.UUID, uuid.UUID) { return u.OwnerID, u.ID }, owner), f.err
}

func (f *fake) IssueTicket(_ context.Context, owner uuid.UUID, _ time.Time) (string, time.Time, error) {
	return "ticket-of-" + owner.String(), epoch.Add(time.Minute), f.err
}

func (f *fake) CheckAccount(context.Context, auth.Principal) error { return f.refused }

func (f *fake) Users(context.Context, recording.Page) ([]recording.User, error) {
	return f.users, f.err
}

func (f *fake) FindUsers(_ context.Context, what string, _ recording.Page) ([]recording.User, error) {
	var found []recording.User
	for _, u := range f.users {
		if u.Email == what {
			found = append(found, u)
		}
	}
	return found, f.err
}

func (f *fake) CountRecordings(_ context.Context, owner uuid.UUID) (recording.UserRecordings, error) {
	counts := recording.UserRecordings{}
	for _, r := range f.recordings {
		if r.OwnerID == owner {
			counts[r.State]++
		}
	}
	return counts, f.err
}

func (f *fake) SetUserDisabled(ctx context.Context, id uuid.UUID, disabled bool, e recording.AuditEntry) (recording.User, error) {
	u, err := f.User(ctx, id)
	if err != nil {
		return u, err
	}
	if disabled {
		u.DisabledAt, u.DisabledReason = &epoch, e.Reason
	}
	return u, f.Audit(ctx, e)
}

func (f *fake) Audit(_ context.Context, e recording.AuditEntry) error {
	f.audit = append(f.audit, e)
	return f.err
}

func (f *fake) AuditEntries(context.Context, recording.Page) ([]recording.AuditEntry, error) {
	return f.audit, f.err
}

type fakeObject struct {
	*bytes.Reader
	info recording.ObjectInfo
	f    *fake
}

func (o fakeObject) Info() recording.ObjectInfo { return o.info }
func (o fakeObject) Close() error               { o.f.opened--; return nil }

func (f *fake) Open(_ context.Context, key string) (recording.Object, error) {
	content, ok := f.objects[key]
	switch {
	case f.openErr != nil:
		return nil, f.openErr
	case !ok:
		return nil, recording.Errorf(recording.CodeNotFound, "no such object")
	}
	f.opened++
	f.opens++
	return fakeObject{bytes.NewReader(content), recording.ObjectInfo{Key: key, SizeBytes: int64(len(content)), ModifiedAt: epoch}, f}, nil
}

func (f *fake) Stat(ctx context.Context, key string) (recording.ObjectInfo, error) {
	object, err := f.Open(ctx, key)
	if err != nil {
		return recording.ObjectInfo{}, err
	}
	f.opens--
	return object.Info(), object.Close()
}

func (f *fake) SignedURL(_ context.Context, key string, read recording.SignedRead) (string, error) {
	if f.unsigned || f.signErr != nil {
		return "", f.signErr
	}
	f.signed = append(f.signed, read)
	return storageURL + key, nil
}

// add gives somebody a ready recording whose files have bytes that name them.
func (f *fake) add(owner auth.Principal) recording.Recording {
	r := exampleRecording(recording.NewID(), epoch)
	r.OwnerID, r.ObjectKey = owner.UserID, "original/"+r.ID.String()
	sum := func(key string) []byte {
		if f.objects == nil {
			f.objects = map[string][]byte{}
		}
		f.objects[key] = []byte("the bytes of " + key)
		digest := sha256.Sum256(f.objects[key])
		return digest[:]
	}
	r.SHA256 = sum(r.ObjectKey)
	for i := range r.Artifacts {
		r.Artifacts[i].ObjectKey = string(r.Artifacts[i].Kind) + "/" + r.ID.String()
		r.Artifacts[i].SHA256 = sum(r.Artifacts[i].ObjectKey)
	}
	f.recordings = slices.Insert(f.recordings, 0, r)
	return r
}

// server is the API over a fake, with what it logged.
type server struct {
	*fake
	mux *http.ServeMux
	api *API
	log *bytes.Buffer
}

func newServer(t *testing.T, change ...func(*server, *Options)) *server {
	t.Helper()
	s := &server{fake: &fake{}, mux: http.NewServeMux(), log: &bytes.Buffer{}}
	logger := slog.New(slog.NewJSONHandler(s.log, nil))
	o := Options{
		Models:  map[recording.Stage][]string{recording.StageTranscribe: {"large v3"}, recording.StageAnalyse: nil},
		Catalog: s.fake, Objects: s.fake, Accounts: s.fake, Problems: NewProblems(logger), PublicURL: publicURL + "/", Version: "1.2.3",
		Limits: recording.UserLimits{RequestsPerSecond: 100, OpenUploads: 10, DecodedPerDay: time.Hour},
	}
	for _, c := range change {
		c(s, &o)
	}
	s.api = New(s.mux, o)
	t.Cleanup(func() {
		if s.opened != 0 {
			t.Errorf("%d objects are left open", s.opened)
		}
	})
	return s
}

// request is one request; headers are pairs of name and value.
type request struct {
	as      auth.Principal
	method  string
	path    string
	body    string
	headers []string
}

func (s *server) do(req request) *httptest.ResponseRecorder {
	var body io.Reader
	if req.body != "" {
		body = strings.NewReader(req.body)
	}
	r := httptest.NewRequest(req.method, req.path, body)
	for i := 0; i+1 < len(req.headers); i += 2 {
		r.Header.Set(req.headers[i], req.headers[i+1])
	}
	if req.as != (auth.Principal{}) {
		r = r.WithContext(auth.NewContext(r.Context(), req.as))
	}
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, r)
	return w
}

func (s *server) get(as auth.Principal, path string, headers ...string) *httptest.ResponseRecorder {
	return s.do(request{as: as, method: http.MethodGet, path: path, headers: headers})
}

// wantJSON checks status and type of an answer and decodes it.
func wantJSON[T any](t *testing.T, w *httptest.ResponseRecorder, status int) T {
	t.Helper()
	var v T
	if w.Code != status {
		t.Fatalf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	want := "application/json"
	if status >= 400 {
		want = problemType
	}
	if got := w.Header().Get("Content-Type"); got != want {
		t.Errorf("Content-Type %q, want %q", got, want)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	return v
}

// wantProblem checks that an answer is the problem of this code.
func wantProblem(t *testing.T, w *httptest.ResponseRecorder, code recording.Code) Problem {
	t.Helper()
	p := wantJSON[Problem](t, w, Status(code))
	if p.Code != code || p.Status != w.Code || p.Title != kinds[code].title || p.Type != "/docs#"+string(code) || p.Detail == "" {
		t.Errorf("problem %+v, want code %s", p, code)
	}
	return p
}
