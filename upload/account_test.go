package upload_test

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"reprise/auth"
	"reprise/recording"
	"reprise/upload"
)

// accounts says the same of everybody.
type accounts struct {
	mu  sync.Mutex
	err error
}

func (a *accounts) CheckAccount(context.Context, auth.Principal) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

func (a *accounts) say(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
}

// Who is shut out can't create, complete or end an upload. What was acknowledged
// before stays, and goes on when they are let in again.
func TestRefusedAccounts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err    *recording.Error
		status int
	}{
		"disabled": {recording.Errorf(recording.CodeAccountDisabled, "disabled"), http.StatusForbidden},
		"revoked":  {recording.Errorf(recording.CodeUnauthenticated, "revoked"), http.StatusUnauthorized},
		"unknown":  {recording.Errorf(recording.CodeUnavailable, "away"), http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &accounts{}
			r := newRig(t, func(o *upload.Options) { o.Accounts = a })
			body := append([]byte("fLaC\x00\x00\x00\x22"), bytes.Repeat([]byte{7}, 1000)...)
			create := func(header ...string) answer {
				return r.do(http.MethodPost, r.url+"/files/", nil, header...)
			}
			patch := func(at string, from, to int, header ...string) answer {
				return r.do(http.MethodPatch, at, bytes.NewReader(body[from:to]), append(header, "Upload-Offset", strconv.Itoa(from))...)
			}
			known := create("Upload-Length", strconv.Itoa(len(body))).header.Get("Location")
			deferred := create("Upload-Defer-Length", "1").header.Get("Location")
			partial := create("Upload-Length", "10", "Upload-Concat", "partial").header.Get("Location")
			if got := patch(partial, 0, 10); got.status != http.StatusNoContent {
				t.Fatalf("the partial upload: %+v", got)
			}
			if got := patch(deferred, 0, 100); got.status != http.StatusNoContent {
				t.Fatalf("of unknown length: %+v", got)
			}

			a.say(tt.err)
			check := func(what string, got answer) {
				t.Helper()
				if got.status != tt.status || got.code != string(tt.err.Code) {
					t.Errorf("%s: %d %s, want %d %s", what, got.status, got.code, tt.status, tt.err.Code)
				}
			}
			check("create", create("Upload-Length", "10"))
			check("create an empty one", create("Upload-Length", "0"))
			check("join", create("Upload-Concat", "final;"+partial))
			if got := patch(known, 0, 500); got.status != http.StatusNoContent {
				t.Errorf("a part of it, which completes nothing: %+v", got)
			}
			check("complete", patch(known, 500, len(body)))
			check("declare the length", r.do(http.MethodPatch, deferred, nil, "Upload-Offset", "100", "Upload-Length", "100"))
			check("end", r.do(http.MethodDelete, known, nil))

			a.say(nil)
			if got := r.do(http.MethodHead, known, nil); got.header.Get("Upload-Offset") != "500" {
				t.Errorf("afterwards the offset is %q, want 500", got.header.Get("Upload-Offset"))
			}
			if got := patch(known, 500, len(body)); got.status != http.StatusNoContent {
				t.Errorf("complete when let in again: %+v", got)
			}
		})
	}
}
