package upload_test

import (
	"encoding/base64"
	"net/http"
	"testing"

	"github.com/google/uuid"

	"reprise/recording"
)

// TestLostAfterwards: when the bytes of a complete upload turn out to be lost, no
// answer says any more that it is complete, and the file can be uploaded again.
func TestLostAfterwards(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := audio(4000)
	meta := []string{"Upload-Metadata", "clientId " + base64.StdEncoding.EncodeToString([]byte("phone-1"))}
	a := r.do(http.MethodPost, r.url+"/files/", nil, append(meta, "Upload-Length", "4000")...)
	url, id := a.header.Get("Location"), uuid.MustParse(a.header.Get("Reprise-Recording"))
	r.patch(url, 0, data)
	if got := r.offset(url); got != len(data) {
		t.Fatalf("the offset is %d", got)
	}
	must(t, r.catalog.FailRecording(t.Context(), id, recording.StageStore, recording.ReasonStorage, "lost"))
	for _, a := range []answer{r.do(http.MethodHead, url, nil), r.patch(url, len(data), nil)} {
		if a.status != http.StatusGone || a.header.Get("Upload-Offset") != "" {
			t.Errorf("answered with %d and offset %q", a.status, a.header.Get("Upload-Offset"))
		}
	}
	again := r.create(len(data), meta...)
	if again == url || r.offset(again) != 0 {
		t.Errorf("created again it is %s at offset %d", again, r.offset(again))
	}
	r.patch(again, 0, data)
	r.wantReceived(again, data)
}
