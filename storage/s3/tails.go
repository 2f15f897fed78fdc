package s3

import (
	"slices"

	"github.com/google/uuid"

	"reprise/recording"
)

// tail is what is cached of one upload's tail parts: those behind its last real
// part, whose bytes a part will be folded of.
type tail struct {
	id     uuid.UUID
	chunks []chunk
}

// chunk is one tail part with its bytes, which never change. Number and Ref name it:
// the epoch in a Ref has one writer, which gives every number once. So what a stale
// holder caches, or what no commit has confirmed, is not found under the parts that
// the ledger has.
type chunk struct {
	part  recording.Part
	bytes []byte
}

// keep caches chunks in exchange for memory that their owner has: taken bytes, at
// least as many as the chunks have.
func (m *memory) keep(id uuid.UUID, taken int64, chunks ...chunk) {
	m.mu.Lock()
	defer m.mu.Unlock()
	element := m.tails[id]
	if element == nil {
		element = m.recent.PushFront(&tail{id: id})
		m.tails[id] = element
	}
	m.recent.MoveToFront(element)
	t := element.Value.(*tail)
	t.chunks = append(t.chunks, chunks...)
	n := bytesOf(chunks)
	m.cached += n
	m.used += n - taken
	m.serve()
}

// claim takes the bytes of parts out of the cache, nil for each that is not there.
// Their memory is the caller's now: held bytes, to be given back.
func (m *memory) claim(id uuid.UUID, parts []recording.Part) (found [][]byte, held int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found = make([][]byte, len(parts))
	element := m.tails[id]
	if element == nil {
		return found, 0
	}
	t := element.Value.(*tail)
	t.chunks = slices.DeleteFunc(t.chunks, func(c chunk) bool {
		i := slices.IndexFunc(parts, func(p recording.Part) bool {
			return p.Number == c.part.Number && p.Ref == c.part.Ref && p.Size == c.part.Size
		})
		if i < 0 || found[i] != nil {
			return false
		}
		found[i] = c.bytes
		held += c.part.Size
		return true
	})
	m.cached -= held
	if len(t.chunks) == 0 {
		m.recent.Remove(element)
		delete(m.tails, id)
	}
	return found, held
}

// forget drops what is cached of an upload.
func (m *memory) forget(id uuid.UUID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if element := m.tails[id]; element != nil {
		m.recent.MoveToBack(element)
		m.evict()
		m.serve()
	}
}

// evict drops the tail that was not used for longest. It reports false if there is
// none. Callers hold mu.
func (m *memory) evict() bool {
	element := m.recent.Back()
	if element == nil {
		return false
	}
	t := m.recent.Remove(element).(*tail)
	delete(m.tails, t.id)
	n := bytesOf(t.chunks)
	m.cached -= n
	m.used -= n
	return true
}

func bytesOf(chunks []chunk) (n int64) {
	for _, c := range chunks {
		n += c.part.Size
	}
	return n
}
