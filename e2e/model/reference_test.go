package model

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

// model is what the clients of one upload know of it, and so what
// the server may say next.
type model struct {
	id, recordingID uuid.UUID
	title, clientID string

	state   recording.UploadState // as last seen
	length  *int64                // as last seen
	expires time.Time             // as last seen

	// bytes are the acknowledged bytes: what the server may have before its offset.
	// There is more than one possibility only while requests raced at one offset, and
	// none of them was told that its bytes count.
	bytes [][]byte
	tries []*try // every request that sent bytes

	lengths  []int64 // that were declared
	deleting bool    // somebody has asked for its end
	refusing bool    // somebody has sent what is not audio
}

// try is a request that sends bytes: some of its first ones may be committed at
// any time from its beginning until its handler is over.
type try struct {
	at   int64
	body []byte
}

// offset is what was acknowledged.
func (u *model) offset() int64 { return int64(len(u.bytes[0])) }

// saw compares the ledger's row with what is possible and takes note of it.
// Now is the clock of the servers.
func (u *model) saw(row recording.Upload, now time.Time) error {
	if err := u.sawState(row, now); err != nil {
		return err
	}
	if row.Length != nil && !slices.Contains(u.lengths, *row.Length) || row.Length == nil && u.length != nil {
		return fmt.Errorf("the length is %v, declared were %v", show(row.Length), u.lengths)
	}
	if row.Offset < u.offset() {
		return fmt.Errorf("the offset went from %d down to %d", u.offset(), row.Offset)
	}
	if row.Complete() && (row.Length == nil || *row.Length != row.Offset) {
		return fmt.Errorf("it is %s at offset %d of %v", row.State, row.Offset, show(row.Length))
	}
	var size int64
	for _, p := range row.Parts {
		size += p.Size
	}
	if row.State == recording.UploadReceiving && size != row.Offset {
		return fmt.Errorf("the offset is %d, its parts have %d bytes", row.Offset, size)
	}
	u.state, u.length, u.expires = row.State, row.Length, row.ExpiresAt
	return u.sawBytes(row.Offset, row.HashState)
}

func (u *model) sawState(row recording.Upload, now time.Time) error {
	to := row.State
	possible := false
	switch to {
	case u.state:
		possible = true
	case recording.UploadReceived:
		possible = u.state == recording.UploadReceiving
	case recording.UploadTerminated:
		possible = u.deleting
	case recording.UploadRefused:
		possible = u.refusing && u.state == recording.UploadReceiving
	case recording.UploadExpired:
		possible = u.state == recording.UploadReceiving && u.expires.Before(now)
	case recording.UploadStored:
		possible = u.state.Complete()
	}
	if !possible {
		return fmt.Errorf("it went from %s to %s", u.state, to)
	}
	return nil
}

// sawBytes takes note of an offset. HashState is the server's own digest of the
// bytes before it, which says whose bytes they are where requests raced.
func (u *model) sawBytes(offset int64, hashState []byte) error {
	known := u.bytes
	for !slices.ContainsFunc(known, func(b []byte) bool { return int64(len(b)) == offset }) {
		var longer [][]byte
		for _, b := range known {
			longer = append(longer, u.grown(b, offset)...)
		}
		if known = longer; len(known) == 0 {
			return fmt.Errorf("the offset is %d, but nobody has sent the bytes behind %d", offset, u.offset())
		}
	}
	sum, err := digest(hashState)
	if err != nil {
		return err
	}
	possible := slices.DeleteFunc(slices.Clone(known), func(b []byte) bool {
		return int64(len(b)) != offset || sha256.Sum256(b) != sum
	})
	if len(possible) == 0 {
		return fmt.Errorf("the digest of the %d bytes is of none that were sent", offset)
	}
	u.bytes = slices.CompactFunc(possible, bytes.Equal)
	return nil
}

// grown returns what b may have become by one request's bytes, up to offset.
func (u *model) grown(b []byte, offset int64) (list [][]byte) {
	for _, t := range u.tries {
		end := min(offset, t.at+int64(len(t.body)))
		if t.at > int64(len(b)) || end <= int64(len(b)) || !bytes.Equal(b[t.at:], t.body[:int64(len(b))-t.at]) {
			continue
		}
		list = append(list, append(b[:t.at:t.at], t.body[:end-t.at]...))
	}
	return list
}

// told takes note that the server has told t that its bytes before offset count.
func (u *model) told(t *try, offset int64) error {
	if offset < t.at || offset > t.at+int64(len(t.body)) || offset > u.offset() {
		return fmt.Errorf("a request with %d bytes at %d was told offset %d; the ledger has %d", len(t.body), t.at, offset, u.offset())
	}
	u.bytes = slices.DeleteFunc(u.bytes, func(b []byte) bool { return !bytes.Equal(b[t.at:offset], t.body[:offset-t.at]) })
	if len(u.bytes) == 0 {
		u.bytes = [][]byte{nil}
		return fmt.Errorf("a request at %d was told offset %d, but the bytes are not its own", t.at, offset)
	}
	return nil
}

func digest(hashState []byte) (sum [32]byte, err error) {
	h := sha256.New()
	if hashState != nil {
		if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(hashState); err != nil {
			return sum, fmt.Errorf("the digest's state: %w", err)
		}
	}
	return [32]byte(h.Sum(nil)), nil
}

func show(n *int64) string {
	if n == nil {
		return "?"
	}
	return fmt.Sprint(*n)
}
