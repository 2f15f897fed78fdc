package upload

import (
	"cmp"
	"context"
	"encoding"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"time"

	"github.com/tus/tusd/v2/pkg/handler"

	"reprise/internal/failpoint"
	"reprise/recording"
)

// commitInterval is how often a long PATCH is committed: what a crash of the
// server can cost a client to send again, however fast it sends, and how long
// bytes wait in memory when no more come.
const commitInterval = 2 * time.Second

// WriteChunk appends a request's body to the upload. The bytes it returns are
// committed; with an error, what was received before it is committed too as far
// as possible.
func (u *upload) WriteChunk(ctx context.Context, offset int64, src io.Reader) (int64, error) {
	if u.fresh {
		// Made by a creation, before its lock: only the lock knows the epoch, and
		// what a request with the same clientId has done in between.
		u.row, u.fresh = u.req.upload, false
	}
	if u.row.Offset != offset {
		return 0, handler.ErrMismatchOffset
	}
	if u.row.State != recording.UploadReceiving {
		return 0, nil
	}
	start := u.row.Offset
	if d := u.req.draft; d != nil && u.req.http.ContentLength >= 0 {
		if err := d.checkEnd(u.row, start+u.req.http.ContentLength); err != nil {
			return 0, u.req.fail(err)
		}
	}
	u.written = true
	a, err := newAppender(u)
	if err != nil {
		return 0, u.req.fail(err)
	}
	defer a.close()
	if err := a.findRoom(ctx); err != nil {
		return 0, u.req.fail(err)
	}
	err = a.copy(ctx, src)
	u.req.body.end()
	if cause := u.req.body.interrupted(); cause != nil && err == nil && !u.row.Complete() {
		err = cause
	}
	if d := u.req.draft; d != nil && err == nil && u.req.body.complete() {
		err = d.checkEnd(u.row, u.row.Offset)
	}
	return u.row.Offset - start, u.req.fail(u.sayIfEnded(ctx, u.failIfLost(ctx, err)))
}

// sayIfEnded says of an upload that has ended while it was written to what a HEAD would
// say. A client that is told to ask for the offset, and then that there is none, may
// begin anew: tus-js-client does.
func (u *upload) sayIfEnded(ctx context.Context, err error) error {
	if recording.CodeOf(err) != recording.CodeTakenOver {
		return err
	}
	now, findErr := u.s.o.Ledger.FindUpload(ctx, u.row.OwnerID, u.row.ID)
	if findErr != nil { // the client asks for itself
		return err
	}
	return cmp.Or(u.s.checkAlive(now), err)
}

// failIfLost ends the upload if err says that committed bytes of it are lost:
// nothing that its client sends can complete it.
func (u *upload) failIfLost(ctx context.Context, err error) error {
	if recording.CodeOf(err) != recording.CodeUploadGone {
		return err
	}
	// The client may have gone, which is no reason to leave it in the dark.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	const detail = "The server has lost bytes of this upload; please upload it again."
	if failErr := u.s.o.Ledger.FailUpload(ctx, u.row.ID, u.row.Epoch, recording.ReasonStorage, detail); failErr != nil {
		return failErr
	}
	u.row.State = recording.UploadFailed
	u.s.metrics.ended("failed")
	u.s.log.ErrorContext(ctx, "upload failed: its storage has lost bytes", slog.Any("upload", u.row.ID),
		purpose(u.row), slog.Any("error", err))
	return err
}

// appender appends bytes to one upload: it hashes and writes them as they flow,
// and commits.
type appender struct {
	u          *upload
	writer     recording.PartWriter // nil until the first byte
	digest     digester             // over every byte of the upload so far
	at         int64                // the offset with the bytes that are not committed yet
	marks      []mark               // where a commit may end before at
	head       []byte               // the first bytes, while their format is not decided
	sniffing   bool
	lastCommit time.Time
	room       int64 // the offset up to which the owner may send; beyond it there is an error
	beyond     error

	// While a checksum is pending nothing is committed, and no verdict is passed on
	// bytes that may be damaged.
	check    *checksum
	notAudio bool // the first bytes say so
}

// mark is the state of the digest at an offset.
type mark struct {
	offset    int64
	hashState []byte
}

func newAppender(u *upload) (*appender, error) {
	digest, err := restoreHash(u.row.HashState)
	if err != nil {
		return nil, err
	}
	a := &appender{u: u, digest: digester{hash: digest}, at: u.row.Offset, lastCommit: u.s.o.Now(), check: u.req.check, room: math.MaxInt64}
	// Undecided as long as every byte so far is kept in Head.
	a.sniffing = int64(len(u.row.Head)) == u.row.Offset && !u.row.Partial
	a.head = u.row.Head
	return a, nil
}

func (a *appender) close() {
	a.digest.close()
	a.closeWriter()
}

func (a *appender) closeWriter() {
	if a.writer != nil {
		if err := a.writer.Close(); err != nil {
			a.u.s.log.WarnContext(context.Background(), "close part writer", slog.Any("upload", a.u.row.ID), slog.Any("error", err))
		}
		a.writer = nil
	}
}

// copy appends src to its end and commits all of it.
func (a *appender) copy(ctx context.Context, src io.Reader) error {
	in := newIntake(a.u.s.buffers, src)
	defer func() {
		a.digest.wait()
		in.close(a.u.req.body)
	}()
	for {
		a.digest.wait() // before its buffer is read into again
		piece, ok := in.next(a.idle())
		if !ok {
			if err := a.commitIdle(ctx); err != nil {
				return err
			}
			continue
		}
		full := int64(len(piece.bytes)) > a.room-a.at
		if full {
			piece.bytes = piece.bytes[:a.room-a.at]
		}
		if err := a.append(ctx, piece.bytes); err != nil {
			return err
		}
		switch {
		case full:
			return cmp.Or(a.finish(ctx), a.beyond)
		case errors.Is(piece.err, io.EOF):
			return a.finish(ctx)
		case piece.err != nil: // tusd's reader gives no other; it keeps the cause to itself
			return errors.Join(piece.err, a.finish(ctx))
		case a.check != nil:
		case a.u.s.o.Now().Sub(a.lastCommit) >= commitInterval:
			if err := a.commit(ctx, false); err != nil {
				return err
			}
		}
	}
}

// finish commits what has come, unless it is known or may be that it is not what
// the client has sent: then the writer is closed as it is, and the ledger goes on
// as if it had never been (its multipart numbers stay used).
func (a *appender) finish(ctx context.Context) error {
	if a.u.req.body.taken() {
		return recording.ErrTakenOver
	}
	if a.check != nil {
		if !a.u.req.body.complete() {
			return nil // tusd knows why, and answers
		}
		if !a.check.matches() {
			return errChecksum
		}
		a.check = nil
		if a.notAudio {
			return a.refuse(ctx)
		}
	}
	return a.commit(ctx, true)
}

// idle returns how long to wait for more bytes before what there is gets
// committed; 0 is for ever.
func (a *appender) idle() time.Duration {
	if a.at == a.u.row.Offset || a.check != nil {
		return 0
	}
	return commitInterval
}

func (a *appender) append(ctx context.Context, p []byte) error {
	if a.check != nil {
		if a.at-a.u.row.Offset+int64(len(p)) > maxCheckedBytes {
			return errTooLargeToCheck
		}
		a.check.hash.Write(p)
	}
	if a.sniffing && len(p) > 0 {
		// While bytes are undecided they are few; that the last of them decide is
		// seen at the commit.
		if err := a.sniff(ctx, p, false); err != nil {
			return err
		}
	}
	if a.writer == nil && len(p) > 0 {
		a.u.req.used = true
		w, err := a.u.s.o.Storage.NewWriter(ctx, a.u.row)
		if err != nil {
			return fmt.Errorf("open the upload's storage: %w", err)
		}
		a.writer = w
	}
	for len(p) > 0 {
		room := a.writer.Room()
		if room == 0 {
			if a.check != nil { // there is no memory left, and what holds some can't be committed yet
				return recording.Errorf(recording.CodeUnavailable, "The server is too busy to keep bytes with a checksum; send them again.")
			}
			if err := a.flushAll(ctx); err != nil {
				return err
			}
			continue
		}
		n := int(min(room, int64(len(p))))
		a.digest.add(p[:n])
		if _, err := a.writer.Write(p[:n]); err != nil {
			return fmt.Errorf("write to the upload's storage: %w", err)
		}
		a.at += int64(n)
		a.u.s.metrics.bytes.Add(float64(n))
		if int64(n) == room {
			if err := a.mark(); err != nil {
				return err
			}
		}
		p = p[n:]
	}
	return nil
}

// mark remembers that a commit may end here.
func (a *appender) mark() error {
	state, err := a.hashState()
	if err == nil {
		a.marks = append(a.marks, mark{a.at, state})
	}
	return err
}

func (a *appender) hashState() ([]byte, error) {
	a.digest.wait()
	state, err := a.digest.hash.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("keep the digest's state: %w", err)
	}
	return state, nil
}

// commit makes the bytes so far durable and moves the offset. With last the
// writer has ended, and all of them are; without, some may be left for the next
// commit. With the last byte of the file the upload is received in the same
// transaction.
func (a *appender) commit(ctx context.Context, last bool) error {
	row := &a.u.row
	complete := row.Length != nil && a.at == *row.Length
	if row.Complete() || a.at == row.Offset && !last {
		return nil // the last bytes came with a commit, and what ends now is only the request
	}
	if a.sniffing && complete {
		if err := a.sniff(ctx, nil, true); err != nil {
			return err
		}
	}
	if complete { // the request may have begun long ago
		if err := a.u.s.checkAccount(ctx, a.u.req); err != nil {
			return err
		}
	}
	if !last && !complete {
		return a.flush(ctx, recording.PartWriter.FlushSome, recording.Chunk{})
	}
	return a.flush(ctx, recording.PartWriter.Flush, recording.Chunk{
		// A request that wrote nothing says nothing about a writer before it.
		CloseWrite: a.writer != nil || !row.WriterOpen,
	})
}

// commitIdle commits every byte so far because no more come now.
func (a *appender) commitIdle(ctx context.Context) error {
	if a.u.row.Length != nil && a.at == *a.u.row.Length {
		return a.commit(ctx, true)
	}
	return a.flushAll(ctx)
}

// flushAll commits every byte so far while more are coming.
func (a *appender) flushAll(ctx context.Context) error {
	return a.flush(ctx, recording.PartWriter.Flush, recording.Chunk{})
}

// flush makes bytes durable and commits them; ch says what else the commit does.
func (a *appender) flush(ctx context.Context, flush func(recording.PartWriter, context.Context) (recording.Flushed, error), ch recording.Chunk) error {
	row := &a.u.row
	flushed := recording.Flushed{Offset: a.at}
	if a.writer != nil {
		failpoint.Hit("patch.written")
		var err error
		if flushed, err = flush(a.writer, ctx); err != nil {
			return fmt.Errorf("make the upload's bytes durable: %w", err)
		}
		failpoint.Hit("patch.flushed")
		if ch.CloseWrite {
			// Before the commit, whose job may assemble the parts at once.
			a.closeWriter()
		}
	}
	a.lastCommit = a.u.s.o.Now()
	if flushed.Offset == row.Offset && !ch.CloseWrite {
		return nil
	}
	state, err := a.stateAt(flushed.Offset)
	if err != nil {
		return err
	}
	ch.OwnerID, ch.Growing = row.OwnerID, row.Length == nil
	ch.UploadID, ch.Epoch, ch.From, ch.To = row.ID, row.Epoch, row.Offset, flushed.Offset
	ch.HashState, ch.Head, ch.ExpiresAt = state, a.head, a.u.s.o.Now().Add(a.u.s.o.Expiry)
	ch.Parts, ch.Dropped = flushed.Parts, flushed.Dropped
	ch.MultipartID, ch.Segmented, ch.ObjectKey = flushed.MultipartID, flushed.Segmented, flushed.ObjectKey
	ch.PartNumber = max(row.PartNumber, flushed.PartNumber)
	if !ch.CloseWrite {
		ch.PartNumber += recording.PartWindow
	}
	return a.move(ctx, ch)
}

// move commits a chunk to the ledger.
func (a *appender) move(ctx context.Context, ch recording.Chunk) error {
	row := &a.u.row
	complete := row.Length != nil && ch.To == *row.Length
	if complete && !row.Partial {
		receipt := a.u.s.o.Hooks.Received(*row, ch.To, [32]byte(a.digest.hash.Sum(nil)), a.u.s.o.Now())
		ch.Receipt = &receipt
	}
	if err := a.u.s.o.Ledger.CommitChunk(ctx, ch); err != nil {
		return err
	}
	failpoint.Hit("patch.committed")
	row.Offset, row.PartNumber = ch.To, max(row.PartNumber, ch.PartNumber-recording.PartWindow)
	row.HashState, row.Head, row.ExpiresAt = ch.HashState, ch.Head, ch.ExpiresAt
	a.u.req.closed = ch.CloseWrite || complete
	if complete {
		failpoint.Hit("patch.received")
		row.State = recording.UploadReceived
		a.u.s.received(ctx, *row)
	}
	a.u.s.progress(ctx, *row)
	return nil
}

// stateAt returns the digest's state at an offset that a flush has ended at.
func (a *appender) stateAt(offset int64) ([]byte, error) {
	if offset == a.at {
		a.marks = nil
		return a.hashState()
	}
	for i, m := range a.marks {
		if m.offset == offset {
			a.marks = a.marks[i:]
			return m.hashState, nil
		}
	}
	return nil, fmt.Errorf("the storage has flushed to offset %d, where no commit can end", offset)
}
