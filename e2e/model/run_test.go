package model

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

// run is one seed's way through a world.
type run struct {
	w       *world
	seed    uint64
	uploads []*model
	created map[string]*model // every creation that was tried, by its title
	held    []*held           // requests that hang, or whose replica stands still
	history []string
}

// step is one operation with what may go wrong at it.
type step struct {
	number  int
	rng     *rand.Rand
	replica *replica
	trouble trouble
	note    string
	cut     chan struct{} // closed when the connections are; nil if they aren't to be
}

// held is a request that gets no answer for now.
type held struct {
	*request
	replica *replica
	u       *model // nil for a creation
	t       *try
	rest    []byte         // of its body, to be sent
	body    *io.PipeWriter // that it is sent with; nil if the replica stands still
}

// goThrough makes the steps and the end, and returns what was violated first.
func goThrough(t *testing.T, k kind, seed uint64, steps []int) (history []string, err error) {
	var r *run
	defer func() {
		if v := recover(); v != nil {
			broken, ok := v.(violation)
			if !ok {
				panic(v)
			}
			err = fmt.Errorf("%s", broken)
			if r != nil {
				history = r.history
			}
		}
	}()
	r = &run{w: newWorld(t, k), seed: seed, created: map[string]*model{}}
	for _, n := range steps {
		r.step(n)
	}
	r.finish()
	return r.history, nil
}

func (r *run) note(format string, args ...any) {
	r.history = append(r.history, fmt.Sprintf(format, args...))
}

// step makes the nth step.
func (r *run) step(n int) {
	s := &step{number: n, rng: rand.New(rand.NewPCG(r.seed, uint64(n)))}
	s.replica = r.awake(s.rng.IntN(2))
	s.trouble = randomTrouble(s.rng)
	r.w.clock.hurry.Store(int64(s.rng.IntN(3)/2) * int64(3*time.Second))
	defer func() { r.note("%d: %s", n, s.note) }()
	for _, rep := range r.w.replicas {
		rep.gate.expect(trouble{})
	}
	r.operation(s)
	r.w.clock.hurry.Store(0)
	if s.cut != nil {
		<-s.cut
		r.w.pool.Reset()
	}
	if hit := s.replica.gate.calm(); hit != "" {
		s.note += fmt.Sprintf("; %s came at %s", s.trouble.what, hit)
	}
	for _, rep := range slices.Clone(r.w.replicas) {
		if rep.gate.isDead() {
			r.w.replace(rep)
		}
	}
	r.look()
}

func randomTrouble(rng *rand.Rand) trouble {
	what := []string{"", "", "", "", "", "", fail, fail, freeze, die, cut}[rng.IntN(11)]
	return trouble{what, rng.IntN(1 + rng.IntN(12)), rng.IntN(2) == 0}
}

// awake returns a replica that doesn't stand still; if both do, one is thawed.
func (r *run) awake(i int) *replica {
	for range 2 {
		if rep := r.w.replicas[i%2]; !rep.gate.isFrozen() {
			return rep
		}
		i++
	}
	rep := r.w.replicas[i%2]
	r.thaw(rep)
	r.look()
	return rep
}

// operation draws what to do and does it.
func (r *run) operation(s *step) {
	dice := s.rng.IntN(100)
	u := r.pick(s.rng)
	h := r.hanging(s.rng)
	switch {
	case u == nil || dice < 12:
		r.create(s)
	case dice < 60:
		r.patch(s, u)
	case dice < 66:
		r.head(s, u)
	case dice < 69:
		r.delete(s, u)
	case dice < 77:
		r.race(s, u)
	case dice < 83:
		r.store(s, u)
	case dice < 86:
		r.expire(s)
	case dice < 88:
		s.note = "work"
		r.w.work()
	case dice < 94 && h != nil:
		r.goOn(s, h)
	case dice < 97 && r.frozen():
		r.thawAll(s)
	default:
		r.patch(s, u)
	}
}

func (r *run) frozen() bool {
	return r.w.replicas[0].gate.isFrozen() || r.w.replicas[1].gate.isFrozen()
}

// pick returns an upload, rather one that is not complete.
func (r *run) pick(rng *rand.Rand) *model {
	a, b := rng.Uint64(), rng.Uint64()
	var open []*model
	for _, u := range r.uploads {
		if u.state == recording.UploadReceiving {
			open = append(open, u)
		}
	}
	switch {
	case len(open) > 0 && a%8 > 0:
		return open[b%uint64(len(open))]
	case len(r.uploads) > 0 && (a%8 == 0 || len(r.uploads) > 12):
		return r.uploads[b%uint64(len(r.uploads))]
	}
	return nil
}

// look compares every upload's row with the model.
func (r *run) look() {
	now := r.w.clock.now()
	late := false
	for _, id := range r.unknown() {
		row := r.w.row(id)
		u := r.created[row.Metadata["title"]]
		if u == nil || u.id != uuid.Nil {
			violated("the ledger has upload %s with title %q, which nobody has created, or twice", id, row.Metadata["title"])
		}
		u.id, u.recordingID = id, row.RecordingID
		r.uploads = append(r.uploads, u)
		late = late || row.Expired(now)
	}
	if late { // a creation that stood still until the upload had expired
		eventually(r.w.janitor)
	}
	for _, u := range r.uploads {
		if err := u.saw(r.w.row(u.id), now); err != nil {
			violated("upload %s (%s): %v", u.title, u.id, err)
		}
	}
}

// unknown returns the uploads in the ledger that the model doesn't know yet.
func (r *run) unknown() (ids []uuid.UUID) {
	known := make([]uuid.UUID, len(r.uploads))
	for i, u := range r.uploads {
		known[i] = u.id
	}
	eventually(func() error {
		return r.w.pool.QueryRow(context.Background(),
			`SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM uploads WHERE id <> ALL($1)`, known).Scan(&ids)
	})
	return ids
}

// await waits for the answer of a request of this step, and until the server has
// done with a request that has lost its client. It returns false if that doesn't
// come for now because the replica stands still.
func (r *run) await(s *step, h *held) (a answer, ended bool) {
	g := h.replica.gate
	hit := g.came()
	var over <-chan struct{}
	for {
		select {
		case a = <-h.answered:
			if a.status != 0 || !h.hasBegun() {
				return a, true
			}
			over = h.over
		case <-over:
			return a, true
		case <-hit:
			hit = nil
			switch {
			case g.isDead():
				r.w.replace(h.replica)
			case g.isFrozen():
				if over != nil {
					h.answered <- a
				}
				r.held = append(r.held, h)
				return answer{}, false
			}
		case <-time.After(patience):
			violated("%s: no answer after %v", s.note, patience)
		}
	}
}

func (r *request) hasBegun() bool {
	select {
	case <-r.begun:
		return true
	default:
		return false
	}
}

// calm reports whether nothing keeps the server from the one right answer about u.
func (r *run) calm(s *step, u *model) bool {
	select {
	case <-s.replica.gate.came():
		return false
	default:
	}
	if s.cut != nil {
		return false
	}
	for _, h := range r.held {
		if h.u == u || h.u == nil {
			return false
		}
	}
	return true
}

// want checks an answer's status where only some are right.
func (r *run) want(s *step, u *model, a answer, status ...int) {
	s.note += fmt.Sprintf(" → %d", a.status)
	if a.status == 0 {
		s.note += " (" + a.body + ")"
	}
	if !r.calm(s, u) {
		return
	}
	for _, ok := range status {
		if a.status == ok {
			return
		}
	}
	violated("%s: answered with %d %s, want %v", s.note, a.status, a.body, status)
}

// acknowledged takes note of what an answer says about t.
func (r *run) acknowledged(u *model, t *try, a answer) {
	if a.status != http.StatusNoContent {
		return
	}
	offset, err := strconv.ParseInt(a.header.Get("Upload-Offset"), 10, 64)
	must(err)
	r.look()
	if err := u.told(t, offset); err != nil {
		violated("upload %s: %v", u.title, err)
	}
	if offset != t.at+int64(len(t.body)) {
		violated("upload %s: %d bytes at %d were answered with 204 and offset %d", u.title, len(t.body), t.at, offset)
	}
}

// bytesFor returns n random bytes for an offset; a file begins as FLAC does.
func bytesFor(rng *rand.Rand, offset, n int64) []byte {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rng.Uint32())
	}
	p := make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(p)
	if magic := "fLaC"; offset < int64(len(magic)) {
		copy(p, magic[offset:])
	}
	return p
}

func metadata(pairs ...string) string {
	var list []string
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			list = append(list, pairs[i]+" "+base64.StdEncoding.EncodeToString([]byte(pairs[i+1])))
		}
	}
	return strings.Join(list, ",")
}
