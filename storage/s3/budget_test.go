package s3

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/uuid"

	"reprise/recording"
)

// wantUse checks what is taken.
func wantUse(t *testing.T, m *memory, used, cached int64) {
	t.Helper()
	if gotUsed, gotCached := m.inUse(); gotUsed != used || gotCached != cached {
		t.Errorf("%d bytes in use, %d of them cached; want %d and %d", gotUsed, gotCached, used, cached)
	}
}

// Whoever waits is served in order, and nobody overtakes him with less.
func TestMemoryWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(100)
		if !m.tryTake(90) || m.tryTake(11) {
			t.Fatal("tryTake does not count")
		}
		var order []int
		wait := func(i int, n int64) {
			go func() {
				if err := m.take(t.Context(), n); err != nil {
					t.Error(err)
				}
				order = append(order, i)
			}()
			synctest.Wait()
		}
		wait(1, 60)
		wait(2, 10)
		if m.tryTake(1) {
			t.Error("tryTake overtakes who waits")
		}
		m.give(45)
		synctest.Wait()
		wantUse(t, m, 45, 0)
		m.give(5)
		synctest.Wait()
		wantUse(t, m, 100, 0)
		m.give(10)
		synctest.Wait()
		wantUse(t, m, 100, 0)
		if len(order) != 2 || order[0] != 1 {
			t.Errorf("served in the order %v", order)
		}
		m.give(100)
		wantUse(t, m, 0, 0)
	})
}

// Who gives up lets the next one through.
func TestMemoryGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(100)
		m.tryTake(50)
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- m.take(ctx, 80) }()
		synctest.Wait()
		go func() { second <- m.take(t.Context(), 50) }()
		synctest.Wait()
		cancel(gone)
		if err := <-first; !errors.Is(err, gone) {
			t.Errorf("take = %v, want the cause", err)
		}
		if err := <-second; err != nil {
			t.Errorf("take behind him: %v", err)
		}
		wantUse(t, m, 100, 0)
	})
}

// What is more than the budget is there for one alone.
func TestMemoryTooMuch(t *testing.T) {
	t.Parallel()
	m := newMemory(100)
	if err := m.take(t.Context(), 300); err != nil {
		t.Fatal(err)
	}
	if m.tryTake(1) {
		t.Error("there is more beside it")
	}
	m.give(300)
	if !m.tryTake(300) {
		t.Error("tryTake refuses what take gives")
	}
}

func testChunk(number int, ref string, n int) chunk {
	return chunk{recording.Part{Number: number, Ref: ref, Size: int64(n)}, make([]byte, n)}
}

// Cached tails give way, the one that was not used for longest first.
func TestTailsGiveWay(t *testing.T) {
	t.Parallel()
	m := newMemory(100)
	ids := []uuid.UUID{recording.NewID(), recording.NewID(), recording.NewID()}
	for _, id := range ids {
		m.tryTake(30)
		m.keep(id, 30, testChunk(1, "inline-1", 20))
	}
	wantUse(t, m, 60, 60)
	m.tryTake(10)
	m.keep(ids[0], 10, testChunk(2, "inline-1", 10)) // now the last used
	wantUse(t, m, 70, 70)
	if !m.tryTake(60) {
		t.Error("cached tails do not give way")
	}
	wantUse(t, m, 90, 30)
	for i, want := range []bool{true, false, false} {
		found, held := m.claim(ids[i], []recording.Part{{Number: 1, Ref: "inline-1", Size: 20}})
		if got := found[0] != nil; got != want || (held > 0) != want {
			t.Errorf("upload %d: cached is %v, %d bytes", i, got, held)
		}
	}
	m.forget(ids[0])
	wantUse(t, m, 80, 0)
	m.forget(ids[0])
	m.give(80)
}

// Somebody who waits gets what is cached meanwhile.
func TestTailsServeWaiters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(100)
		m.tryTake(100)
		done := make(chan error, 1)
		go func() { done <- m.take(t.Context(), 90) }()
		synctest.Wait()
		m.keep(recording.NewID(), 100, testChunk(1, "inline-1", 100))
		if err := <-done; err != nil {
			t.Error(err)
		}
		wantUse(t, m, 90, 0)
	})
}

// Only the very same parts are found: those of another epoch, number or size have
// other bytes.
func TestTailsOfOthers(t *testing.T) {
	t.Parallel()
	m, id := newMemory(1000), recording.NewID()
	m.tryTake(60)
	m.keep(id, 60, testChunk(1, "inline-1", 10), testChunk(2, "inline-1", 20), testChunk(2, "inline-2", 30))
	parts := []recording.Part{
		{Number: 1, Ref: "segment-1", Size: 10}, {Number: 1, Ref: "inline-1", Size: 10},
		{Number: 2, Ref: "inline-1", Size: 21}, {Number: 3, Ref: "inline-1", Size: 20},
		{Number: 2, Ref: "inline-2", Size: 30},
	}
	found, held := m.claim(id, parts)
	for i, want := range []int{0, 10, 0, 0, 30} {
		if len(found[i]) != want {
			t.Errorf("%+v has %d bytes, want %d", parts[i], len(found[i]), want)
		}
	}
	if other, _ := m.claim(recording.NewID(), parts); other[1] != nil {
		t.Error("another upload's tail is found")
	}
	m.give(held)
	wantUse(t, m, 20, 20)
	if again, held := m.claim(id, parts[1:2]); again[0] != nil || held != 0 {
		t.Error("claimed bytes are found again")
	}
}

// Many take, cache and claim at once; in the end nothing is missing.
func TestMemoryManyAtOnce(t *testing.T) {
	t.Parallel()
	m := newMemory(1000)
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			id, rng := recording.NewID(), rand.New(rand.NewPCG(uint64(i), 0))
			for number := range 500 {
				n := 1 + rng.Int64N(400)
				if !m.tryTake(n) {
					if err := m.take(t.Context(), n); err != nil {
						t.Error(err)
					}
				}
				if used, _ := m.inUse(); used > 1000 {
					t.Errorf("%d bytes of 1000 in use", used)
				}
				c := testChunk(number, "inline-1", int(1+rng.Int64N(n)))
				switch number % 4 {
				case 0:
					m.give(n)
				case 1:
					m.keep(id, n, c)
				case 2:
					m.keep(id, n, c)
					_, held := m.claim(id, []recording.Part{c.part})
					m.give(held)
				case 3:
					m.give(n)
					m.forget(id)
				}
			}
			m.forget(id)
		})
	}
	group.Wait()
	wantUse(t, m, 0, 0)
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	var b blocks
	var p pools
	file := noise(3 << 20)
	for rest := file; len(rest) > 0; {
		if b.space() == 0 {
			b.add(p.get(b.nextBlock()))
		}
		rest = rest[b.fill(rest[:min(len(rest), 100_000)]):]
	}
	if b.size != 3<<20 || b.taken != 4*smallBlock+3*largeBlock {
		t.Errorf("%d bytes in blocks of %d", b.size, b.taken)
	}
	at := 0
	for _, block := range b.list {
		if string(block) != string(file[at:at+len(block)]) {
			t.Fatalf("other bytes at %d", at)
		}
		at += len(block)
	}
	p.put(b.list)
	if got := len(p.get(largeBlock)); got != largeBlock {
		t.Errorf("a large block has %d bytes", got)
	}
}
