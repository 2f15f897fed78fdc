package upload_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"testing"
	"time"

	"reprise/recording"
	"reprise/upload"
)

func clientID(id string) []string {
	return []string{"Upload-Metadata", "clientId " + base64.StdEncoding.EncodeToString([]byte(id))}
}

// interposed lets a test do something just before an upload is created.
type interposed struct {
	upload.Ledger
	beforeCreate func()
}

func (l *interposed) CreateUpload(ctx context.Context, n recording.NewUpload) (recording.Upload, bool, error) {
	if f := l.beforeCreate; f != nil {
		l.beforeCreate = nil
		f()
	}
	return l.Ledger.CreateUpload(ctx, n)
}

// TestRepeatedCreateRace: between the look-up of a clientId and the creation, an
// earlier try of the same creation gets somewhere. The body of the later one
// begins at byte 0 and must not be appended behind that.
func TestRepeatedCreateRace(t *testing.T) {
	t.Parallel()
	var ledger *interposed
	r := newRig(t, func(o *upload.Options) {
		ledger = &interposed{Ledger: o.Ledger}
		o.Ledger = ledger
	})
	for name, n := range map[string]int{"part": 2000, "whole": 4000, "nothing": 0} {
		t.Run(name, func(t *testing.T) {
			data := audio(4000)
			meta := append(clientID(name), "Upload-Length", "4000")
			var url string
			ledger.beforeCreate = func() {
				url = r.create(len(data), meta...)
				if a := r.patch(url, 0, data[:1000]); a.status != http.StatusNoContent {
					t.Errorf("patch of the first: %d %s", a.status, a.body)
				}
			}
			a := r.do(http.MethodPost, r.url+"/files/", bytes.NewReader(data[:n]), append(meta, "Content-Type", "application/offset+octet-stream")...)
			if a.status != http.StatusCreated || a.header.Get("Location") != url || a.header.Get("Upload-Offset") != "1000" {
				t.Errorf("repeated create: %d, Location %s, Upload-Offset %s, %s", a.status, a.header.Get("Location"), a.header.Get("Upload-Offset"), a.body)
			}
			at := r.offset(url)
			if a := r.patch(url, at, data[at:]); a.status != http.StatusNoContent {
				t.Fatalf("patch at %d: %d %s", at, a.status, a.body)
			}
			r.wantReceived(url, data)
		})
	}
}

// TestRepeatedCreateOfDeferred: a clientId names an upload of unknown length; a
// creation that knows the length must not be told that this is its upload, which
// would never complete.
func TestRepeatedCreateOfDeferred(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	deferred := append(clientID("live"), "Upload-Defer-Length", "1")
	a := r.do(http.MethodPost, r.url+"/files/", nil, deferred...)
	url := a.header.Get("Location")
	data := audio(3000)
	r.patch(url, 0, data[:1000])
	a = r.do(http.MethodPost, r.url+"/files/", nil, append(clientID("live"), "Upload-Length", "3000")...)
	if a.status != http.StatusConflict || a.code != "client_id_conflict" {
		t.Errorf("with a length: %d %s %s", a.status, a.header.Get("Location"), a.body)
	}
	if a := r.do(http.MethodPost, r.url+"/files/", nil, deferred...); a.header.Get("Location") != url {
		t.Errorf("without one: %d %s", a.status, a.body)
	}
}

// TestRepeatedCreateOnSlowNetwork: the body of a repeated creation takes longer
// than the server waits for one read.
func TestRepeatedCreateOnSlowNetwork(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *upload.Options) { o.ReadTimeout = 300 * time.Millisecond })
	data := audio(4000)
	meta := append(clientID("slow"), "Upload-Length", "4000")
	url := r.create(len(data), meta...)
	r.patch(url, 0, data[:1000])
	body, phone := io.Pipe()
	go func() {
		for at := 0; at < len(data); at += 200 { // 20 writes in a second
			if _, err := phone.Write(data[at : at+200]); err != nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		phone.Close()
	}()
	a := r.do(http.MethodPost, r.url+"/files/", body, append(meta, "Content-Type", "application/offset+octet-stream")...)
	if a.status != http.StatusCreated || a.header.Get("Upload-Offset") != "1000" {
		t.Errorf("got %d at %s", a.status, a.header.Get("Upload-Offset"))
	}
}
