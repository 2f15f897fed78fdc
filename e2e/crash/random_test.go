package crash

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"reprise/catalog"
	"reprise/pgcluster"
)

// backlog is how many recordings may wait for processing before phones pause:
// the load is to last, not to grow.
const backlog = 6

// load is phones of several users that upload one file after the other, at
// random paces and in pieces of random sizes, and give requests up at random.
type load struct {
	w      *world
	ctx    context.Context
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu     sync.Mutex
	done   []*phone // whose uploads are complete
	errs   []error
	ending bool
}

// startLoad begins with so many phones. Each has a source of randomness of its
// own, so that what it does depends on the seed alone.
func (w *world) startLoad(rng *rand.Rand, phones int) *load {
	l := &load{w: w}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	w.t.Cleanup(l.cancel)
	for i := range phones {
		mine := rand.New(rand.NewPCG(rng.Uint64(), 0))
		l.ended.Go(func() { l.run(fmt.Sprintf("user%d", i%3), mine) })
	}
	return l
}

func (l *load) run(user string, rng *rand.Rand) {
	for {
		l.mu.Lock()
		ending := l.ending
		l.mu.Unlock()
		if ending {
			return
		}
		seconds, upsampled := 3, 1+rng.IntN(6)
		if l.w.s3 != nil && rng.IntN(2) == 0 {
			seconds, upsampled = partSeconds, clipUpsampled
		}
		p := l.w.phone(user, wav(l.w.t, rng.IntN(lastStart(seconds)), seconds, upsampled), randomWay(rng))
		err := p.upload(l.ctx)
		l.mu.Lock()
		if err != nil {
			l.errs = append(l.errs, err)
			l.ending = true
		} else {
			l.done = append(l.done, p)
		}
		l.mu.Unlock()
		l.pause()
	}
}

// pause waits while much is waiting to be processed.
func (l *load) pause() {
	for l.ctx.Err() == nil {
		var waiting int
		err := l.w.pool.QueryRow(l.ctx, `SELECT count(*) FROM recordings WHERE state IN ('received', 'processing')`).Scan(&waiting)
		if err != nil || waiting < backlog {
			return
		}
		time.Sleep(retryPause)
	}
}

func randomWay(rng *rand.Rand) way {
	most := 64<<10 + rng.IntN(1<<20)
	w := way{
		chunk:      func() int { return 1 + rng.IntN(most) },
		inCreation: rng.IntN(3) == 0,
		length:     lengthWay(rng.IntN(3)),
	}
	if rng.IntN(2) == 0 {
		pause := time.Duration(rng.IntN(20)) * time.Millisecond
		w.pace = func() func(int) { return func(int) { time.Sleep(pause) } }
	}
	w.timeout = func() (time.Duration, bool) {
		if rng.IntN(5) > 0 {
			return 5 * time.Second, true // what a stopped server holds
		}
		return time.Duration(10+rng.IntN(500)) * time.Millisecond, true
	}
	return w
}

// end lets the phones finish what they have begun, and returns them all.
func (l *load) end() []*phone {
	l.w.t.Helper()
	l.mu.Lock()
	l.ending = true
	l.mu.Unlock()
	tooLate := time.AfterFunc(patience, l.cancel)
	defer tooLate.Stop()
	l.ended.Wait()
	if err := errors.Join(l.errs...); err != nil {
		l.w.t.Fatal(err)
	}
	return l.done
}

// TestRandomKills kills the server at random times, also while it starts, while
// phones upload.
func TestRandomKills(t *testing.T) {
	t.Parallel()
	rng := randomness(t)
	w := newWorld(t)
	w.mayFail = true
	first := w.start("server 0", "")
	load := w.startLoad(rng, 4)
	time.Sleep(time.Second)
	first.kill()
	kills := rounds(6, 100)
	for i := range kills - 1 {
		w.killWithin(fmt.Sprintf("server %d", i+1), time.Duration(rng.IntN(2500))*time.Millisecond)
	}
	last := w.start("last server", "")
	phones := load.end()
	retries := 0
	for _, p := range phones {
		retries += p.retries
	}
	w.finish([]*server{last}, phones...)
	t.Logf("%d kills, %d uploads, %d interrupted requests", kills, len(phones), retries)
}

// killWithin starts a server, sends the phones there, and kills it after d.
func (w *world) killWithin(name string, d time.Duration) {
	s := w.spawn(name, "")
	over := time.After(d)
	select {
	case at := <-s.log.serving:
		s.serves(at)
		w.use(s)
		<-over
	case <-s.ended:
		w.t.Fatalf("%s did not start: %v\n%s", name, s.cmd.ProcessState, s.log.tail(20))
	case <-over:
	}
	s.kill()
	s.sane()
}

// TestDatabaseAway keeps the servers from their database for a while.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	rng := randomness(t)
	w := newWorld(t)
	s := w.start("server", "")
	load := w.startLoad(rng, 3)
	time.Sleep(time.Second)
	w.admit(false)
	connections := w.cut("")
	time.Sleep(8 * time.Second)
	if status, err := load.w.phone("user0", nil, way{}).status(t.Context(), http.MethodGet, "/v1/recordings"); status != http.StatusServiceUnavailable {
		t.Errorf("without a database, GET /v1/recordings is answered with %d, %v", status, err)
	}
	w.admit(true)
	phones := load.end()
	w.finish([]*server{s}, phones...)
	t.Logf("%d connections were cut, %d uploads", connections, len(phones))
}

// TestDatabaseStops ends the whole database server at once, as a crash does, and
// starts it again, again and again while phones upload.
func TestDatabaseStops(t *testing.T) {
	t.Parallel()
	for name, stops := range map[string]int{"disk": rounds(2, 20), "S3": rounds(1, 20)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stopDatabase(t, stops, name == "S3")
		})
	}
}

func stopDatabase(t *testing.T, stops int, onS3 bool) {
	rng := randomness(t)
	options := pgcluster.Options{Dir: filepath.Join(t.TempDir(), "postgres"), Durable: true, MaxConnections: 100}
	var cluster *pgcluster.Cluster
	start := func() {
		var err error
		if cluster, err = pgcluster.Start(context.Background(), options); err != nil {
			t.Fatal(err)
		}
	}
	start()
	t.Cleanup(func() { _ = cluster.Stop(context.Background()) }) // what it says of its end is its own tests'
	w := newWorldOn(t, cluster.URL("postgres"))
	if err := catalog.Migrate(t.Context(), w.pool, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if onS3 {
		w.moveToS3(rng.IntN(2))
	}
	s := w.start("server", "")
	load := w.startLoad(rng, 3)
	atOnce, cancel := context.WithCancel(context.Background())
	cancel()
	for range stops {
		time.Sleep(time.Duration(500+rng.IntN(1500)) * time.Millisecond)
		_ = cluster.Stop(atOnce)
		time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
		start()
	}
	phones := load.end()
	lost := query[int](w, `SELECT count(*) FROM river_job WHERE array_to_string(errors, ' ') LIKE '%knows nothing of this job%'`)
	w.finish([]*server{s}, phones...)
	t.Logf("%d stops, %d uploads, %d jobs given by a database that could not say so", stops, len(phones), lost)
}

// TestDatabaseCut closes every connection to the database again and again while
// phones upload. They are told to try again, and nothing is lost.
func TestDatabaseCut(t *testing.T) {
	t.Parallel()
	rng := randomness(t)
	w := newWorld(t)
	s := w.start("server", "")
	load := w.startLoad(rng, 3)
	reader := w.phone("user0", nil, way{})
	cuts, connections, refused := rounds(6, 60), 0, 0
	for range cuts {
		time.Sleep(time.Duration(200+rng.IntN(800)) * time.Millisecond)
		connections += w.cut("")
		for range 3 {
			switch status, err := reader.status(t.Context(), http.MethodGet, "/v1/recordings"); {
			case err != nil:
				t.Error(err)
			case status == http.StatusServiceUnavailable:
				refused++
			case status != http.StatusOK:
				t.Errorf("GET /v1/recordings is answered with %d", status)
			}
		}
	}
	phones := load.end()
	w.finish([]*server{s}, phones...)
	t.Logf("%d cuts of %d connections, %d uploads, %d lists refused", cuts, connections, len(phones), refused)
}
