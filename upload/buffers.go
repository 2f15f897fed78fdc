package upload

import (
	"io"
	"sync"
	"time"

	"reprise/recording"
)

// A request begins with small buffers, so that many slow phones need little
// memory. A client that fills one is fast, and gets large ones, as long as it is and
// there are some: the digest and the storage take large pieces for less.
const (
	smallBufferBytes = 16 << 10
	largeBufferBytes = 512 << 10
	// maxLargeBuffers are 32 MiB. A phone that stalls after a burst may hold one.
	maxLargeBuffers = 64
)

// buffers are those that all requests of a server read into.
type buffers struct {
	small, large sync.Pool
	taken        chan struct{} // an element for each large one in use
}

func newBuffers() *buffers {
	b := &buffers{taken: make(chan struct{}, maxLargeBuffers)}
	b.small.New = func() any { p := make([]byte, smallBufferBytes); return &p }
	b.large.New = func() any { p := make([]byte, largeBufferBytes); return &p }
	return b
}

func (b *buffers) getSmall() *[]byte { return b.small.Get().(*[]byte) }

// getLarge returns nil if there are none.
func (b *buffers) getLarge() *[]byte {
	select {
	case b.taken <- struct{}{}:
		return b.large.Get().(*[]byte)
	default:
		return nil
	}
}

func (b *buffers) put(buf *[]byte) {
	if len(*buf) < largeBufferBytes {
		b.small.Put(buf)
		return
	}
	b.large.Put(buf)
	<-b.taken
}

// intake reads a request's body in a goroutine of its own: one piece is read
// while the one before is written and hashed, and whoever waits for the next can
// do something else when none comes.
type intake struct {
	buffers *buffers
	pieces  chan piece
	free    chan *[]byte // buffers to read into; closed when nobody wants more
	last    piece        // that next has returned
	timer   *time.Timer
}

// piece is what one Read has given.
type piece struct {
	bytes []byte
	err   error
	buf   *[]byte
}

func newIntake(b *buffers, src io.Reader) *intake {
	in := &intake{buffers: b, pieces: make(chan piece), free: make(chan *[]byte, 2)}
	for range cap(in.free) {
		in.free <- b.getSmall()
	}
	go func() {
		defer close(in.pieces)
		for buf := range in.free {
			n, err := src.Read(*buf)
			in.pieces <- piece{(*buf)[:n], err, buf}
			if err != nil {
				return
			}
		}
	}()
	return in
}

// next returns the next piece, whose bytes may be used until the call after it.
// It reports false if none comes for patience; 0 is for ever. After a piece with
// an error there is none.
func (in *intake) next(patience time.Duration) (piece, bool) {
	in.release()
	var late <-chan time.Time
	if patience > 0 {
		if in.timer == nil {
			in.timer = time.NewTimer(patience)
		}
		in.timer.Reset(patience)
		late = in.timer.C
	}
	select {
	case in.last = <-in.pieces:
		return in.last, true
	case <-late:
		return piece{}, false
	}
}

// release gives the buffer of the last piece back to be read into, or one that
// fits the client's pace better.
func (in *intake) release() {
	buf := in.last.buf
	if buf == nil {
		return
	}
	n := len(in.last.bytes)
	if len(*buf) < largeBufferBytes && n == len(*buf) {
		if large := in.buffers.getLarge(); large != nil {
			in.buffers.put(buf)
			buf = large
		}
	} else if len(*buf) == largeBufferBytes && n <= smallBufferBytes {
		in.buffers.put(buf)
		buf = in.buffers.getSmall()
	}
	in.free <- buf
	in.last = piece{}
}

// close ends the reading and waits for that: a Read that waits for the network is
// interrupted.
func (in *intake) close(body *interruptibleBody) {
	if in.timer != nil {
		in.timer.Stop()
	}
	if in.last.err == nil {
		body.interrupt(recording.Errorf(recording.CodeUnavailable, "The rest of this request was not read; resume."))
	}
	in.release()
	close(in.free)
	for p := range in.pieces {
		in.buffers.put(p.buf)
	}
	for buf := range in.free {
		in.buffers.put(buf)
	}
}
