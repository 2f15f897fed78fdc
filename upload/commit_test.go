package upload_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

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
