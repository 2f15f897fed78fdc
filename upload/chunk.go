package upload

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/tus/tusd/v2/pkg/handler"

	"reprise/internal/failpoint"
	"reprise/recording"
)

// commitInterval is how often a long PATCH is committed: what a crash of the
// server can cost a client to send again, however fast it sends.
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
	a, err := newAppender(u)
	if err != nil {
		return 0, u.req.fail(err)
	}
	defer a.close()
	err = a.copy(ctx, src)
	u.req.body.end()
	if cause := u.req.body.interrupted(); cause != nil && err == nil && !u.row.Complete() {
		err = cause
	}
	return u.row.Offset - start, u.req.fail(err)
}

// appender appends bytes to one upload: it hashes and writes them as they flow,
// and commits.
type appender struct {
	u          *upload
	writer     recording.PartWriter // nil until the first byte
	digest     digester             // over every byte of the upload so far
	at         int64                // the offset with the bytes that are not committed yet
	head       []byte               // the first bytes, while their format is not decided
	sniffing   bool
	lastCommit time.Time
}

func newAppender(u *upload) (*appender, error) {
	digest, err := restoreHash(u.row.HashState)
	if err != nil {
		return nil, err
	}
	a := &appender{u: u, digest: digester{hash: digest}, at: u.row.Offset, lastCommit: u.s.o.Now()}
	// Undecided as long as every byte so far is kept in Head.
	a.sniffing = int64(len(u.row.Head)) == u.row.Offset
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
	bufs := getBuffers(smallBuffers)
	defer func() {
		a.digest.wait()
		bufs.put()
	}()
	for {
		buf := bufs.next()
		n, err := src.Read(buf)
		if n > 0 {
			if err := a.append(ctx, buf[:n]); err != nil {
				return err
			}
		}
		if n == len(buf) && bufs.pool == smallBuffers {
			a.digest.wait()
			bufs.put()
			bufs = getBuffers(largeBuffers)
		}
		if errors.Is(err, io.EOF) {
			return a.commit(ctx, true)
		}
		if err != nil { // tusd's reader gives no other; it keeps the cause to itself
			return errors.Join(err, a.commit(ctx, true))
		}
	}
}

func (a *appender) append(ctx context.Context, p []byte) error {
	if a.sniffing {
		// While bytes are undecided they are few; that the last of them decide is
		// seen at the commit.
		if err := a.sniff(ctx, p, false); err != nil {
			return err
		}
	}
	if a.writer == nil {
		row := a.u.row
		w, err := a.u.s.o.Storage.NewWriter(ctx, row.ID, row.Epoch, row.Parts, !row.WriterOpen)
		if err != nil {
			return fmt.Errorf("open the upload's storage: %w", err)
		}
		a.writer = w
	}
	a.digest.add(p)
	if _, err := a.writer.Write(p); err != nil {
		return fmt.Errorf("write to the upload's storage: %w", err)
	}
	a.at += int64(len(p))
	a.u.s.metrics.bytes.Add(float64(len(p)))
	if a.u.s.o.Now().Sub(a.lastCommit) >= commitInterval {
		return a.commit(ctx, false)
	}
	return nil
}

// sniff looks at the first bytes of the file. If they are not audio the upload
// is refused here, before anything of it is kept.
func (a *appender) sniff(ctx context.Context, p []byte, last bool) error {
	const enough = 64
	head := append(append([]byte(nil), a.head...), p[:min(len(p), enough)]...)
	audio, decided := a.u.s.o.Hooks.FirstBytes(head, last)
	if !decided {
		a.head = head
		return nil
	}
	a.sniffing, a.head = false, nil
	if audio {
		return nil
	}
	const detail = "The first bytes are not those of an audio format that is accepted."
	if err := a.u.s.o.Ledger.RefuseUpload(ctx, a.u.row.ID, a.u.row.Epoch, recording.ReasonNotAudio, detail); err != nil {
		return err
	}
	a.u.s.metrics.ended("refused")
	a.u.s.log.InfoContext(ctx, "upload refused", slog.Any("upload", a.u.row.ID), slog.Any("recording", a.u.row.RecordingID))
	return recording.Errorf(recording.CodeNotAudio, detail)
}

// commit makes the bytes so far durable and moves the offset. With last the
// writer has ended; with the last byte of the file the upload is received in the
// same transaction.
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
	ch := recording.Chunk{
		UploadID: row.ID, Epoch: row.Epoch, From: row.Offset, To: a.at,
		Head: a.head, ExpiresAt: a.u.s.o.Now().Add(a.u.s.o.Expiry),
		// A request that wrote nothing says nothing about a writer before it.
		CloseWrite: last && (a.writer != nil || !row.WriterOpen),
	}
	if a.writer != nil {
		failpoint.Hit("patch.written")
		parts, err := a.writer.Flush(ctx)
		if err != nil {
			return fmt.Errorf("make the upload's bytes durable: %w", err)
		}
		ch.Parts = parts
		failpoint.Hit("patch.flushed")
		if last {
			// Before the commit, whose job may assemble the parts at once.
			a.closeWriter()
		}
	}
	a.digest.wait()
	state, err := a.digest.hash.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return fmt.Errorf("keep the digest's state: %w", err)
	}
	ch.HashState = state
	if complete {
		receipt := a.u.s.o.Hooks.Received(*row, a.at, [32]byte(a.digest.hash.Sum(nil)), a.u.s.o.Now())
		ch.Receipt = &receipt
	}
	if err := a.u.s.o.Ledger.CommitChunk(ctx, ch); err != nil {
		return err
	}
	failpoint.Hit("patch.committed")
	row.Offset, a.lastCommit = a.at, a.u.s.o.Now()
	if complete {
		failpoint.Hit("patch.received")
		row.State = recording.UploadReceived
		a.u.s.received(ctx, *row)
	}
	a.u.s.progress(ctx, *row)
	return nil
}
