package crash

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// TestAnswersLost breaks servers' connections to the database between a commit and
// its answer, while phones upload: what the server can't know it tells nobody, phones
// are asked to try again, and nothing is lost or there twice.
func TestAnswersLost(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]int{"disk": rounds(6, 200), "S3": rounds(4, 200)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loseAnswers(t, breaks, name == "S3")
		})
	}
}

// loseAnswers goes on until so many commits of an offset, and as many others, had no
// answer.
func loseAnswers(t *testing.T, breaks int, onS3 bool) {
	rng := randomness(t)
	w := newWorld(t)
	if onS3 {
		w.moveToS3(rng.IntN(2))
	}
	lost := &lostAnswers{rng: rand.New(rand.NewPCG(rng.Uint64(), 0))}
	w.wireUp(lost.lose)
	s := w.start("server", "") // which it would not with a database that is away
	lost.allow(breaks)
	load := w.startLoad(rng, 3)
	for n := range breaks { // each has its time
		w.eventually("commits have lost their answers", func() bool { return lost.all(n + 1) })
	}
	phones := load.end()
	refused := 0
	for _, p := range phones {
		refused += p.refused
	}
	if refused == 0 {
		t.Error("no phone was asked to try again")
	}
	w.finish([]*server{s}, phones...)
	t.Logf("%d commits of offsets and %d others had no answer, %d uploads, %d requests refused", lost.offsets, lost.others, len(phones), refused)
}

// lostAnswers picks the commits that get no answer.
type lostAnswers struct {
	mu              sync.Mutex
	rng             *rand.Rand
	most            int // of each kind
	offsets, others int // so far
}

func (l *lostAnswers) allow(most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.most = most
}

func (l *lostAnswers) lose(offset bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := &l.others
	if offset {
		n = &l.offsets
	}
	if *n == l.most || l.rng.IntN(4) > 0 {
		return false
	}
	*n++
	return true
}

// all reports whether n of each kind have been lost.
func (l *lostAnswers) all(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.offsets >= n && l.others >= n
}
