package upload

import (
	"crypto/sha256"
	"encoding"
	"fmt"
	"hash"
)

// restoreHash returns a SHA-256 that goes on from a stored state; nil is the
// state of no bytes.
func restoreHash(state []byte) (hash.Hash, error) {
	h := sha256.New()
	if state == nil {
		return h, nil
	}
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		return nil, fmt.Errorf("restore the digest's state: %w", err)
	}
	return h, nil
}

// worthHashingAside is the size from which hashing beside the next read pays for
// the hand-over.
const worthHashingAside = 16 << 10

// digester hashes large pieces in a goroutine of its own, while the one that
// feeds it writes them and reads the next: the digest then costs an upload no
// time. One goroutine uses it.
type digester struct {
	hash hash.Hash
	work chan []byte   // nil before the first large piece
	done chan struct{} // answers each piece
	busy bool
}

// add hashes p, which must not change until wait.
func (d *digester) add(p []byte) {
	d.wait()
	if len(p) < worthHashingAside {
		d.hash.Write(p)
		return
	}
	if d.work == nil {
		d.work, d.done = make(chan []byte), make(chan struct{})
		go func() {
			for p := range d.work {
				d.hash.Write(p)
				d.done <- struct{}{}
			}
		}()
	}
	d.work <- p
	d.busy = true
}

// wait returns when everything added is hashed.
func (d *digester) wait() {
	if d.busy {
		<-d.done
		d.busy = false
	}
}

// close ends the goroutine.
func (d *digester) close() {
	d.wait()
	if d.work != nil {
		close(d.work)
		d.work = nil
	}
}
