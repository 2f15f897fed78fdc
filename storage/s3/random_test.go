package s3

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"reprise/internal/s3test"
	"reprise/recording"
)

// TestRandom sends uploads at once through replicas with little memory, in requests
// that end in every way. REPRISE_SEED=n runs the one of that seed.
func TestRandom(t *testing.T) {
	t.Parallel()
	seeds := []uint64{1, 2}
	if os.Getenv("REPRISE_SOAK") != "" {
		for seed := uint64(3); seed <= 200; seed++ {
			seeds = append(seeds, seed)
		}
	}
	if seed, err := strconv.ParseUint(os.Getenv("REPRISE_SEED"), 10, 64); err == nil {
		seeds = []uint64{seed}
	}
	servers := s3test.Servers(t)
	for _, seed := range seeds {
		server := servers[seed%uint64(len(servers))]
		t.Run(fmt.Sprint(server.Name, "-", seed), func(t *testing.T) {
			t.Parallel()
			testRandom(t, server, seed)
		})
	}
}

func testRandom(t *testing.T, server *s3test.Server, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	l, url := newLedger(), server.URL(server.Bucket(t), "part-size=5MiB")
	stores := make([]*Store, 1+rng.IntN(3))
	for i := range stores {
		stores[i] = newStore(t, url, func(o *Options) {
			o.Ledger = l
			o.MemoryBytes = []int64{300 << 10, 1 << 20, 4 << 20, 12 << 20, 64 << 20}[rng.IntN(5)]
			o.InlineBytes = []int64{0, 50_000, 1 << 20}[rng.IntN(3)]
			o.InlineRate = []int64{200_000, 64 << 20}[rng.IntN(2)]
		})
		stores[i].memory.patience = 20 * time.Millisecond // for holders that wait for another in their goroutine
	}
	var group sync.WaitGroup
	for i := range 4 {
		rng := rand.New(rand.NewPCG(seed, uint64(i+1)))
		u := newUpload(t, l, rng.IntN(14<<20), rng.IntN(3) == 0)
		group.Go(func() {
			r := &randomUpload{upload: u, stores: stores, rng: rng}
			if err := r.run(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, s := range stores {
		wantNoMemory(t, s)
	}
}

// randomUpload drives an upload to its end.
type randomUpload struct {
	*upload
	stores []*Store
	rng    *rand.Rand
	stale  []*request // of earlier epochs, not closed; at most one
}

func (r *randomUpload) store() *Store { return r.stores[r.rng.IntN(len(r.stores))] }

func (r *randomUpload) run() error {
	for len(r.content) < len(r.file) {
		if err := r.request(); err != nil {
			return err
		}
		if r.row.Length == nil && r.rng.IntN(4) == 0 {
			r.declare()
		}
	}
	r.declare()
	results := make(chan error, 2)
	for range cap(results) {
		go func(s *Store, row recording.Upload) { results <- s.Assemble(r.t.Context(), row) }(r.store(), r.row)
	}
	if err := errors.Join(<-results, <-results); err != nil {
		return fmt.Errorf("Assemble: %w", err)
	}
	for len(r.stale) > 0 {
		if err := r.intrude(); err != nil {
			return err
		}
	}
	if err := errors.Join(r.compare(r.store()), r.store().Assemble(r.t.Context(), r.row)); err != nil {
		return err
	}
	for _, s := range r.stores { // each forgets its own cache
		if err := s.DiscardParts(r.t.Context(), r.row); err != nil {
			return err
		}
	}
	return errors.Join(r.compare(r.store()), r.store().Assemble(r.t.Context(), r.row))
}

// request is one PATCH.
func (r *randomUpload) request() error {
	left := len(r.file) - len(r.content)
	most := []int{1, 5000, 300_000, 3 << 20, 20 << 20}[r.rng.IntN(5)]
	n := 1 + r.rng.IntN(min(left, most))
	w, err := r.store().NewWriter(r.t.Context(), r.acquire())
	if err != nil {
		return err
	}
	q := &request{r.upload, w, r.row.PartNumber - recording.PartWindow, int64(len(r.content))}
	for n > 0 {
		piece := 1 + r.rng.IntN(n)
		if err := q.write(piece); err != nil {
			return fmt.Errorf("write at %d: %w", q.at, err)
		}
		n -= piece
		if r.rng.IntN(3) == 0 {
			if err := q.some(); err != nil {
				return fmt.Errorf("FlushSome at %d: %w", q.at, err)
			}
		}
		if len(r.stale) > 0 && r.rng.IntN(4) == 0 {
			if err := r.intrude(); err != nil {
				return err
			}
		}
	}
	switch r.rng.IntN(8) {
	case 0: // it dies
		return w.Close()
	case 1: // its last commit fails
		_, err := w.Flush(r.t.Context())
		return errors.Join(err, w.Close())
	case 2: // another takes over while it hangs
		if len(r.stale) == 0 {
			r.stale = append(r.stale, q)
			return nil
		}
	}
	return q.end()
}

// intrude has a stale request go on, with other bytes; nobody cares how its storage
// fares. It uses its numbers until it flushes: then its commit is refused, and it ends.
func (r *randomUpload) intrude() error {
	w := r.stale[0].w
	for n := 1 + r.rng.IntN(6<<20); n > 0 && w.Room() > 0; {
		piece := int(min(int64(n), w.Room()))
		if _, err := w.Write(noise(piece)); err != nil {
			break
		}
		n -= piece
	}
	if w.Room() > 0 && len(r.content) < len(r.file) && r.rng.IntN(4) > 0 {
		return nil
	}
	_, _ = w.Flush(r.t.Context())
	r.stale = nil
	return w.Close()
}
