package upload

import "sync"

// A request begins with small buffers, so that many slow phones need little
// memory. A client that fills one is fast, and gets large ones: the digest and
// the disk take large pieces for less.
var (
	smallBuffers = newBufferPool(32 << 10)
	largeBuffers = newBufferPool(512 << 10)
)

func newBufferPool(size int) *sync.Pool {
	return &sync.Pool{New: func() any { b := make([]byte, size); return &b }}
}

// bufferPair is two buffers in turn: one is read into while the other is hashed.
type bufferPair struct {
	pool *sync.Pool
	bufs [2]*[]byte
	turn int
}

func getBuffers(pool *sync.Pool) bufferPair {
	return bufferPair{pool: pool, bufs: [2]*[]byte{pool.Get().(*[]byte), pool.Get().(*[]byte)}}
}

// next returns the buffer that was not returned the last time.
func (p *bufferPair) next() []byte {
	p.turn = 1 - p.turn
	return *p.bufs[p.turn]
}

// put gives the buffers back; nobody may use them any more.
func (p *bufferPair) put() {
	for _, b := range p.bufs {
		p.pool.Put(b)
	}
}
