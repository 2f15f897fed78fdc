package upload_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"reprise/recording"
	"reprise/upload"
)

// TestCommitWithTheLastBytes: the interval between commits is over just when the
// last bytes come, as it always is for a phone that sends one packet in 2 seconds.
func TestCommitWithTheLastBytes(t *testing.T) {
	t.Parallel()
	var seconds atomic.Int64
	start := time.Now()
	r := newRig(t, func(o *upload.Options) {
		o.Now = func() time.Time { return start.Add(time.Duration(seconds.Add(10)) * time.Second) }
	})
	data := audio(5000)
	url := r.create(len(data))
	if a := r.patch(url, 0, data[:2000]); a.status != http.StatusNoContent {
		t.Errorf("patch: %d %s", a.status, a.body)
	}
	if a := r.patch(url, 2000, data[2000:]); a.status != http.StatusNoContent {
		t.Errorf("last patch: %d %s", a.status, a.body)
	}
	r.wantReceived(url, data)
}

// unsure commits, and loses the database's answer.
type unsure struct{ upload.Ledger }

func (l unsure) CommitChunk(ctx context.Context, ch recording.Chunk) error {
	if err := l.Ledger.CommitChunk(ctx, ch); err != nil {
		return err
	}
	return recording.Errorf(recording.CodeUnavailable, "The connection died at COMMIT.")
}

// TestUnsureCommit: every commit takes place and is reported as failed. The
// client asks where it stands and goes on; nothing is there twice or missing.
func TestUnsureCommit(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *upload.Options) { o.Ledger = unsure{o.Ledger} })
	data := audio(9000)
	url := r.create(len(data))
	for at := 0; at < len(data); at += 3000 {
		if a := r.patch(url, at, data[at:at+3000]); a.status != http.StatusServiceUnavailable {
			t.Errorf("patch at %d: %d %s", at, a.status, a.body)
		}
		if got := r.offset(url); got != at+3000 {
			t.Fatalf("offset %d, want %d", got, at+3000)
		}
	}
	if a := r.patch(url, len(data), nil); a.status != http.StatusNoContent {
		t.Errorf("patch at the end: %d %s", a.status, a.body)
	}
	r.wantReceived(url, data)
}
