package upload

import (
	"io"
	"sync"
	"time"

	"reprise/recording"
)

// A request begins with small buffers, so that many slow phones need little
// memory. A client that fills one is fast, and gets large ones: the digest and
// the disk take large pieces for less.
var (
	smallBuffers = newBufferPool(smallBufferBytes)
	largeBuffers = newBufferPool(largeBufferBytes)
)

const (
	smallBufferBytes = 16 << 10
	largeBufferBytes = 512 << 10
)

func newBufferPool(size int) *sync.Pool {
	return &sync.Pool{New: func() any { b := make([]byte, size); return &b }}
}

// intake reads a request's body in a goroutine of its own: one piece is read
// while the one before is written and hashed, and whoever waits for the next can
// do something else when none comes.
type intake struct {
	pieces chan piece
	free   chan *[]byte // buffers to read into; closed when nobody wants more
	last   piece        // that next has returned
	timer  *time.Timer
}

// piece is what one Read has given.
type piece struct {
	bytes []byte
	err   error
	buf   *[]byte
}

func newIntake(src io.Reader) *intake {
	in := &intake{pieces: make(chan piece), free: make(chan *[]byte, 2)}
	for range cap(in.free) {
		in.free <- smallBuffers.Get().(*[]byte)
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

// release gives the buffer of the last piece back to be read into.
func (in *intake) release() {
	if in.last.buf == nil {
		return
	}
	buf := in.last.buf
	if small := len(*buf) < largeBufferBytes; small && len(in.last.bytes) == len(*buf) {
		smallBuffers.Put(buf)
		buf = largeBuffers.Get().(*[]byte)
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
		putBuffer(p.buf)
	}
	for buf := range in.free {
		putBuffer(buf)
	}
}

func putBuffer(buf *[]byte) {
	if len(*buf) < largeBufferBytes {
		smallBuffers.Put(buf)
	} else {
		largeBuffers.Put(buf)
	}
}
