package crash

import (
	"context"
	"fmt"
	"regexp"
	"testing"
	"time"
)

// TestReplicas lets phones talk to two servers in turns. One dies in the middle
// of a stage: the other does its job again.
func TestReplicas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.launch("a", "stage.transcode.done"), w.launch("b", "")
	w.use(a, b)
	var phones []*phone
	for i := 0; !a.hasEnded(); i++ { // until it is a that gets the job
		p := w.phone(fmt.Sprintf("user%d", i%2), wav(t, i*1000, clipSeconds, 2), way{chunk: chunksOf(100 << 10)})
		phones = append(phones, p)
		w.begin(p)()
		select {
		case <-a.ended:
		case <-time.After(500 * time.Millisecond):
		}
	}
	a.awaitDeath()
	since := time.Now()
	w.use(b)
	w.awaitReady(phones...)
	t.Logf("%d recordings are ready %v after the death of a worker", len(phones), time.Since(since).Round(time.Millisecond))
	w.finish([]*server{b}, phones...)
}

// TestStaleWriter stops a server in the middle of a request, lets the phone go on
// with another one, and wakes the first up afterwards: what it still does must
// change nothing. The full count is 100 times on disk, and 100 in S3.
func TestStaleWriter(t *testing.T) {
	t.Parallel()
	pieces, atOnce := way{chunk: chunksOf(900 << 10)}, way{inCreation: true}
	onDisk := []staleWriter{{way: pieces, seconds: clipSeconds, points: []string{
		"create.done", "part.created", "patch.written#2", "part.synced#2", "patch.flushed#2", "patch.committed#2", "patch.received",
		"tx.commit#2", // the last byte's: it holds the rows of upload, recording and owner
	}}}
	onS3 := []staleWriter{
		{way: pieces, seconds: partSeconds, points: []string{"part.before", "part.done"}},
		{way: pieces, seconds: partSeconds, tails: tailsInS3(), points: []string{"segment.done#2"}},
		{way: atOnce, seconds: clipSeconds, points: []string{"object.before", "patch.received"}},
		{way: atOnce, seconds: partSeconds, points: []string{"part.done#2"}},
	}
	rng := randomness(t)
	for place, writers := range [][]staleWriter{onDisk, onS3} {
		all := eachPoint(writers)
		for i := range rounds(len(all), 100) {
			s := all[i%len(all)]
			if i >= len(all) {
				s.wakes = time.Duration(rng.IntN(1500)) * time.Millisecond
			}
			t.Run(label([]string{"at", "on S3 at"}[place], s.points), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				if place == 1 {
					w.moveToS3(i)
				}
				w.settings = s.tails
				w.outlive(s)
			})
		}
	}
}

// staleWriter is a server that stops in the middle of a request.
type staleWriter struct {
	way     way
	seconds int      // of speech
	tails   []string // settings
	points  []string
	wakes   time.Duration // so long after the phone has gone on with the other; 0 is when the recording is ready
}

// eachPoint makes writers of one point each.
func eachPoint(writers []staleWriter) (each []staleWriter) {
	for _, s := range writers {
		for i := range s.points {
			one := s
			one.points = s.points[i : i+1]
			each = append(each, one)
		}
	}
	return each
}

func (w *world) outlive(s staleWriter) {
	const gaveUp = 2 * time.Second
	b := w.launch("b", "") // first, so that its janitor has run
	w.eventually("the janitor has run", func() bool {
		return query[int](w, `SELECT count(*) FROM river_job WHERE kind = 'janitor' AND state = 'completed'`) == 1
	})
	// A stopped worker's job is its own until its connections are gone: TestStaleWorker.
	a := w.launch("a", "stop:"+s.points[0], "--roles=api")
	w.use(a)
	s.way.timeout = func() (time.Duration, bool) { return gaveUp, true }
	p := w.phone("alice", wav(w.t, 0, s.seconds, clipUpsampled), s.way)
	wait := w.begin(p)
	a.awaitStop()
	stopped := time.Now()
	w.use(b)
	if s.wakes > 0 {
		time.Sleep(gaveUp + s.wakes)
		a.thaw()
	}
	wait()
	w.awaitReady(p)
	w.t.Logf("ready %v after the other server stopped", time.Since(stopped).Round(time.Millisecond))
	a.thaw()
	w.awaitServing(a, p)
	w.use(a, b)
	w.finish([]*server{a, b}, p)
}

// TestStaleWorker stops a server in the middle of a stage, takes its connections
// to the database from it, as a partition of the network would, lets another
// server do the job, and wakes the first up afterwards.
func TestStaleWorker(t *testing.T) {
	t.Parallel()
	for _, point := range []string{
		"stage.store.before", "part.sealed", "object.named", "stage.verify.before", "parts.removed", "temp.written#2", "stage.transcode.done", "tx.commit#10",
	} {
		t.Run(label("at", []string{point}), func(t *testing.T) {
			t.Parallel()
			newWorld(t).outliveWorker(point, clipSeconds, way{})
		})
	}
	for turn, point := range []string{"assemble.tail", "stage.verify.before"} {
		t.Run(label("on S3 at", []string{point}), func(t *testing.T) {
			t.Parallel()
			newWorldOnS3(t, turn).outliveWorker(point, partSeconds, way{chunk: chunksOf(900 << 10)})
		})
	}
}

func (w *world) outliveWorker(point string, seconds int, way way) {
	way.timeout = func() (time.Duration, bool) { return 10 * time.Second, true }
	p := w.phone("alice", wav(w.t, 0, seconds, clipUpsampled), way)
	a := w.start("a", "stop:"+point)
	wait := w.begin(p)
	a.awaitStop() // perhaps before it has answered the last PATCH
	w.cut("a")
	b := w.launch("b", "")
	w.use(b)
	wait()
	w.awaitReady(p)
	a.thaw()
	w.awaitServing(a, p)
	w.use(a, b)
	w.finish([]*server{a, b}, p)
}

// TestStaleWorkerWakesEarly is the same, but the first server wakes up while the
// second is at a later stage: what it has found must not count again.
func TestStaleWorkerWakesEarly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.phone("alice", wav(t, 0, clipSeconds, clipUpsampled), way{})
	a := w.start("a", "stop:stage.store.done")
	wait := w.begin(p)
	a.awaitStop()
	w.cut("a")
	b := w.launch("b", "stop:stage.transcode.before")
	b.awaitStop()
	a.thaw()
	wait()
	// How it ended depends on whether a notices that its connections are gone before it uses one.
	ended := regexp.MustCompile(`reprise_stage_duration_seconds_count\{outcome="[a-z]+",stage="store"\} [1-9]`)
	w.eventually("a has ended its stage", func() bool {
		text, err := p.get(context.Background(), a.admin+"/metrics")
		return err == nil && ended.Match(text)
	})
	b.thaw()
	w.finish([]*server{a, b}, p)
}

// TestRandomStops stops one of two servers for a while, again and again, while
// phones talk to both.
func TestRandomStops(t *testing.T) {
	t.Parallel()
	rng := randomness(t)
	w := newWorld(t)
	servers := []*server{w.launch("a", ""), w.launch("b", "")}
	w.use(servers...)
	load := w.startLoad(rng, 4)
	stops := rounds(4, 100)
	for range stops {
		time.Sleep(time.Duration(200+rng.IntN(600)) * time.Millisecond)
		s := servers[rng.IntN(2)]
		s.freeze()
		time.Sleep(time.Duration(100+rng.IntN(3000)) * time.Millisecond)
		s.thaw()
	}
	phones := load.end()
	w.finish(servers, phones...)
	t.Logf("%d stops, %d uploads", stops, len(phones))
}

// awaitServing waits until a server that was stopped says that it is ready.
func (w *world) awaitServing(s *server, p *phone) {
	w.t.Helper()
	w.eventually(s.name+" is ready", func() bool {
		_, err := p.get(context.Background(), s.admin+"/readyz")
		return err == nil
	})
}
