package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/api"
	"reprise/internal/s3test"
)

// walk is bob on his way through what alice has.
type walk struct {
	t       *testing.T
	s       *server
	tracer  *statements
	storage *s3test.Server
	proxy   *s3test.Proxy // in front of the storage, to count
	bucket  string

	alice, bob  user
	ticket      user   // whoever has found the ticket of another upload of alice's
	recordingID string // hers, as what follows
	uploadID    string
	pieceID     string   // a complete partial upload
	clientID    string   // of another upload
	secrets     []string // what no answer to bob may have in it
	requests    int
}

func newWalk(t *testing.T) *walk {
	t.Helper()
	w := &walk{t: t, tracer: &statements{byRequest: map[string][]string{}}, storage: s3test.Servers(t)[0], clientID: "alices-own-name"}
	w.bucket, w.proxy = w.storage.Bucket(t), w.storage.Proxy(t)
	w.s = newTracedServer(t, w.tracer, onS3(w.proxy.URL(w.bucket), "direct"), onGraph(t))
	w.alice, w.bob = w.s.user(t, "alice"), w.s.user(t, "bob")
	w.bob.create(1000, map[string]string{"title": "Bob's"}) // older than anything of alice's
	w.recordingID, w.uploadID = w.alice.owned()
	w.pieceID = w.alice.piece(readFile(t, makeAudio(t, "piece.flac", "-t", "1", "-i", speech)))
	another := w.alice.do(http.MethodPost, "/files/", nil, "Tus-Resumable", "1.0.0", "Upload-Length", "1000",
		"Upload-Metadata", encodeMetadata(map[string]string{"clientId": w.clientID}))
	w.ticket = user{t: t, s: w.s, token: another.header.Get("Reprise-Upload-Ticket")}
	if got := w.ticket.head(another.header.Get("Location")); got.status != http.StatusOK {
		t.Fatalf("HEAD with a ticket: %v", got)
	}
	me := get[struct{ ID string }](w.alice, "/v1/me").ID
	w.secrets = []string{me, w.recordingID, w.uploadID, w.pieceID, another.header.Get("Reprise-Recording"), "Theirs"}
	return w
}

// piece makes a complete partial upload and returns its id.
func (u user) piece(data []byte) string {
	u.t.Helper()
	a := u.do(http.MethodPost, "/files/", data, "Tus-Resumable", "1.0.0", "Upload-Concat", "partial",
		"Upload-Length", fmt.Sprint(len(data)), "Content-Type", "application/offset+octet-stream")
	if a.status != http.StatusCreated || a.header.Get("Upload-Offset") != fmt.Sprint(len(data)) {
		u.t.Fatalf("piece: %v", a)
	}
	return a.header.Get("Location")[strings.LastIndex(a.header.Get("Location"), "/")+1:]
}

// newID is an id that nothing has.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// asked is an answer, and what was done for it.
type asked struct {
	status int
	text   string   // all of it that may be compared
	sql    []string // in order
	stored int      // requests to the storage
}

// ask performs one request and returns its answer with mask, the id that it is about,
// taken out.
func (w *walk) ask(u user, mask string, perform func(u user) answer) asked {
	w.t.Helper()
	w.requests++
	u.requestID = fmt.Sprintf("walk-%d", w.requests)
	before := w.proxy.Counts().Total()
	a := perform(u)
	got := asked{status: a.status, text: comparable(a), sql: w.tracer.of(u.requestID), stored: w.proxy.Counts().Total() - before}
	if mask != "" {
		got.text = strings.ReplaceAll(got.text, mask, "<id>")
	}
	return got
}

// comparable is what of an answer must not depend on whose something is.
func comparable(a answer) string {
	header := a.header.Clone()
	header.Del("Date")
	header.Del("X-Request-Id")
	text, err := json.MarshalIndent(header, "", " ")
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d\n%s\n%s", a.status, text, a.body)
}

// rows returns all rows of the database that have something of alice's in them.
func (w *walk) rows() map[string][]string {
	w.t.Helper()
	ctx := w.t.Context()
	db, err := pgx.Connect(ctx, w.s.database)
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close(context.WithoutCancel(ctx))
	list := func(sql string, args ...any) []string {
		rows, err := db.Query(ctx, sql, args...)
		if err != nil {
			w.t.Fatal(err)
		}
		texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			w.t.Fatal(err)
		}
		return texts
	}
	var like []string
	for _, secret := range w.secrets {
		like = append(like, "%"+secret+"%")
	}
	found := map[string][]string{}
	for _, table := range list(`SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'`) {
		if rows := list(`SELECT t::text FROM `+table+` t WHERE t::text LIKE ANY($1) ORDER BY 1`, like); len(rows) > 0 {
			found[table] = rows
		}
	}
	for _, table := range []string{"users", "uploads", "recordings", "events", "artifacts", "river_job", "stories", "entities"} {
		if len(found[table]) == 0 {
			w.t.Errorf("alice has nothing in the table %s", table)
		}
	}
	return found
}

// statements keeps what is asked of the database, by the request that it is for.
type statements struct {
	mu        sync.Mutex
	byRequest map[string][]string
}

// TraceQueryStart implements pgx.QueryTracer.
func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := api.RequestID(ctx)
	s.byRequest[id] = append(s.byRequest[id], data.SQL)
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (s *statements) of(request string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.byRequest[request])
}
