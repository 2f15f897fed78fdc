package catalog_test

import (
	"testing"
	"time"

	"reprise/recording"
)

// TestCreateWhileDeleting: an upload ends just when another creation finds its
// clientId taken. That creation is no less welcome.
func TestCreateWhileDeleting(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	create := func() (recording.Upload, error) {
		length := int64(10)
		u, _, err := r.CreateUpload(ctx, recording.NewUpload{
			UploadID: recording.NewID(), RecordingID: recording.NewID(), OwnerID: r.alice, ClientID: "x", Length: &length,
			ObjectKey: "recordings/" + recording.NewID().String(), ExpiresAt: r.clock.Add(time.Hour), Metadata: map[string]string{},
		})
		return u, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 300 {
			if u, err := create(); err == nil {
				_ = r.TerminateUpload(ctx, r.alice, u.ID)
			}
		}
	}()
	for creating := true; creating; {
		if _, err := create(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-done:
			creating = false
		default:
		}
	}
}
