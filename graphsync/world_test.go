package graphsync

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"reprise/catalog"
	"reprise/internal/neo4jserver"
	"reprise/internal/neo4jtest"
	"reprise/internal/pgtest"
	"reprise/recording"
)

// world is a database, and a graph that nobody else has.
type world struct {
	*catalog.Catalog
	t      testing.TB
	pool   *pgxpool.Pool
	server *neo4jserver.Server
	graph  *Graph
	settle time.Duration // of verify
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, pool: pgtest.New(t), server: neo4jtest.Alone(t), settle: time.Second}
	w.graph = open(t, w.server.Where())
	w.must(w.graph.Migrate(t.Context(), quiet()))
	var err error
	w.Catalog, err = catalog.New(catalog.Options{Pool: w.pool})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) user(name string) uuid.UUID {
	w.t.Helper()
	u, err := w.SeeUser(w.t.Context(), recording.Profile{Subject: "dev:" + name, Name: name, IssuedAt: time.Now()})
	w.must(err)
	return u.ID
}

// ready makes a recording that is ready, of a story unless that is uuid.Nil.
func (w *world) ready(owner, story uuid.UUID) uuid.UUID {
	w.t.Helper()
	ctx := w.t.Context()
	length, id, upload := int64(10), recording.NewID(), recording.NewID()
	recorded := recording.Recording{Title: "Test"}
	if story != uuid.Nil {
		recorded.StoryID = &story
	}
	_, _, err := w.CreateUpload(ctx, recording.NewUpload{
		UploadID: upload, RecordingID: id, OwnerID: owner, Length: &length, ObjectKey: "recordings/" + id.String() + "/original", Metadata: map[string]string{},
		ExpiresAt: time.Now().Add(time.Hour), Recording: recorded,
	})
	w.must(err)
	u, _, err := w.AcquireUpload(ctx, upload, recording.Claim{Write: true})
	w.must(err)
	w.must(w.CommitChunk(ctx, recording.Chunk{
		UploadID: upload, Epoch: u.Epoch, To: length, Parts: []recording.Part{{Number: 1, Size: length, Ref: "1-1"}},
		CloseWrite: true, ExpiresAt: time.Now().Add(time.Hour),
		Receipt: &recording.Receipt{
			SizeBytes: length, SHA256: make([]byte, 32), Job: recording.StageJob{RecordingID: id, Stage: recording.StageStore},
			Event: recording.NewEvent(owner, id, recording.EventUploadReceived, time.Now(), nil),
		},
	}))
	w.must(w.CompleteStage(ctx, id, recording.StageStore, recording.StageResult{
		Media: &recording.Media{DurationMs: 63_000}, Insight: recording.StageAnalyse,
	}))
	_, err = w.pool.Exec(ctx, `INSERT INTO transcripts VALUES ($1, 'en', 'test', 'none', '[]', 1, now())`, id)
	w.must(err)
	return id
}

// analyse completes an analysis: who is mentioned, and one topic.
func (w *world) analyse(owner, id uuid.UUID, topic string, people ...string) {
	w.t.Helper()
	ctx := w.t.Context()
	job := recording.InsightJob{RecordingID: id, Stage: recording.StageAnalyse}
	var state recording.InsightState
	w.must(w.pool.QueryRow(ctx, `SELECT run, state FROM insights WHERE recording_id = $1 AND stage = 'analyse'`, id).Scan(&job.Run, &state))
	if state != recording.InsightWaiting {
		_, err := w.Reprocess(ctx, owner, id, recording.Reprocessing{Stages: []recording.Stage{recording.StageAnalyse}})
		w.must(err)
		job.Run++
	}
	a := recording.Analysis{Topics: []recording.Topic{{Name: topic, Weight: 0.5}}}
	for i, name := range people {
		a.Entities = append(a.Entities, recording.Entity{
			Kind: recording.EntityPerson, Name: name, Mentions: []recording.Mention{{AtMs: int64(i) * 1000, Text: name, Length: len(name)}},
		})
	}
	w.must(w.CompleteAnalysis(ctx, job, a))
}

// entity returns the id of an entity of somebody.
func (w *world) entity(owner uuid.UUID, key string) uuid.UUID {
	w.t.Helper()
	var id uuid.UUID
	w.must(w.pool.QueryRow(w.t.Context(), `SELECT id FROM entities WHERE owner_id = $1 AND key = $2`, owner, key).Scan(&id))
	return id
}

// fill makes two users with recordings of stories and without.
func (w *world) fill(recordings int) {
	w.t.Helper()
	for _, name := range []string{"alice", "bob"} {
		owner := w.user(name)
		story, err := w.CreateStory(w.t.Context(), owner, name+"'s childhood")
		w.must(err)
		for i := range recordings {
			in := uuid.Nil
			if i%2 == 0 {
				in = story.ID
			}
			w.analyse(owner, w.ready(owner, in), fmt.Sprintf("bread %d", i%3), "Anna", fmt.Sprintf("Guest %d", i))
		}
	}
}

func (w *world) drainer() *Drainer {
	return NewDrainer(DrainerOptions{Graph: w.graph, Outbox: w.Catalog, Log: quiet(), Metrics: prometheus.NewRegistry(), BatchRows: 20})
}

// drain writes all that is due.
func (w *world) drain() {
	w.t.Helper()
	for d, more := w.drainer(), true; more; {
		var err error
		more, err = d.runOnce(w.t.Context())
		w.must(err)
	}
}

// background runs a drainer until the returned function is called.
func (w *world) background() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.drainer().Run(ctx)
	}()
	return func() { cancel(); <-done }
}

// caughtUp waits until nothing waits to be applied.
func (w *world) caughtUp() {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		b, err := w.GraphBacklog(w.t.Context())
		w.must(err)
		if b.Rows == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%d rows still wait", b.Rows)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// list keeps the differences that it is told of.
type list struct {
	differences []Difference
	done        bool
}

func (l *list) Difference(d Difference) error { l.differences = append(l.differences, d); return nil }
func (l *list) Done(Summary) error            { l.done = true; return nil }

func (w *world) verify(repair bool) []Difference {
	w.t.Helper()
	var l list
	_, err := Verify(w.t.Context(), VerifyOptions{Graph: w.graph, Source: w.Catalog, Report: &l, Repair: repair, SettleTime: w.settle})
	w.must(err)
	if !l.done {
		w.t.Error("the report was not ended")
	}
	return l.differences
}

// equal fails the test if the graph is not what Postgres says.
func (w *world) equal() {
	w.t.Helper()
	for _, d := range w.verify(false) {
		w.t.Errorf("%+v", d)
	}
}

func (w *world) query(statement string, params map[string]any) []map[string]any {
	w.t.Helper()
	return neo4jtest.Query(w.t, w.server.Where(), statement, params)
}
