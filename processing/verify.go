package processing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"reprise/recording"
)

// verifyStage reads the stored object and compares its size and digest with
// what the ledger has counted and hashed as the bytes came in, and with the
// digest that the client gave. Then the parts may go.
type verifyStage struct{ objects Objects }

func (s *verifyStage) name() recording.Stage { return recording.StageVerify }

func (s *verifyStage) deadline(w recording.Work) time.Duration { return timeToMove(w) }

func (s *verifyStage) run(ctx context.Context, w recording.Work, _ string) (recording.StageResult, error) {
	var none recording.StageResult
	size, sum, err := s.digest(ctx, w.Upload.ObjectKey)
	if err != nil {
		return none, err
	}
	if w.Recording.SizeBytes == nil || size != *w.Recording.SizeBytes || !bytes.Equal(sum, w.Recording.SHA256) {
		return none, lost(fmt.Errorf("the object has %d bytes with digest %x, the ledger says otherwise", size, sum))
	}
	if err := s.discard(ctx, w.Upload); err != nil {
		return none, err
	}
	if size == 0 {
		return none, &recording.Rejection{Reason: recording.ReasonEmpty, Detail: "The file is empty."}
	}
	if want := w.Upload.Metadata["sha256"]; want != "" && !strings.EqualFold(want, hex.EncodeToString(sum)) {
		return none, &recording.Rejection{Reason: recording.ReasonChecksumMismatch, Detail: "The bytes received do not have the SHA-256 digest that the client announced."}
	}
	return none, nil
}

// discard deletes what the object was made of.
func (s *verifyStage) discard(ctx context.Context, u recording.Upload) error {
	for _, p := range u.Partials {
		if err := s.objects.Delete(ctx, p.ObjectKey); err != nil {
			return err
		}
		if err := s.objects.DiscardParts(ctx, p); err != nil {
			return err
		}
	}
	return s.objects.DiscardParts(ctx, u)
}

func (s *verifyStage) digest(ctx context.Context, key string) (int64, []byte, error) {
	object, err := s.objects.Open(ctx, key)
	if recording.CodeOf(err) == recording.CodeNotFound {
		return 0, nil, lost(err)
	}
	if err != nil {
		return 0, nil, err
	}
	defer object.Close()
	h := sha256.New()
	size, err := io.Copy(h, contextReader{ctx, object})
	if err != nil {
		return 0, nil, fmt.Errorf("read the object: %w", err)
	}
	return size, h.Sum(nil), nil
}

// contextReader stops reading when ctx ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
