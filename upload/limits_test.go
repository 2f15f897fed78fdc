package upload_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reprise/catalog"
	"reprise/internal/pgtest"
	"reprise/recording"
	"reprise/storage/disk"
	"reprise/upload"
)

// newLimitedRig is a rig whose users have limits.
func newLimitedRig(t *testing.T, limits recording.UserLimits) *rig {
	t.Helper()
	pool := pgtest.New(t)
	store, err := disk.New(t.TempDir())
	must(t, err)
	ledger, err := catalog.New(catalog.Options{Pool: pool, Limits: limits})
	must(t, err)
	return newRigOn(t, pool, store, store, func(o *upload.Options) { o.Ledger, o.UploadsAtOnce = ledger, limits.UploadsAtOnce })
}

// refusal is what an answer says of a limit.
type refusal struct {
	Status    int
	Code      string
	LimitName string
	Limit     int64
	Used      *int64
}

func (a answer) refusal(t *testing.T) refusal {
	t.Helper()
	r := refusal{Status: a.status}
	must(t, json.Unmarshal(a.body, &r))
	return r
}

func used(n int64) *int64 { return &n }

// TestCreationsBeyondLimits: each limit has its own answer, and a creation that is
// repeated is none more.
func TestCreationsBeyondLimits(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		limits recording.UserLimits
		want   refusal
		waits  bool
	}{
		"open":   {recording.UserLimits{OpenUploads: 1}, refusal{429, "too_many_uploads", "open_uploads", 1, used(1)}, true},
		"day":    {recording.UserLimits{BytesPerDay: 1500}, refusal{429, "daily_quota_exceeded", "daily_bytes", 1500, used(1000)}, true},
		"stored": {recording.UserLimits{StoredBytes: 1500}, refusal{413, "storage_quota_exceeded", "stored_bytes", 1500, used(1000)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newLimitedRig(t, tt.limits)
			post := func(header ...string) answer {
				return r.do(http.MethodPost, r.url+"/files/", nil, append(header, "Upload-Length", "1000")...)
			}
			again := []string{"Upload-Metadata", "clientId YQ=="}
			if a := post(again...); a.status != http.StatusCreated {
				t.Fatalf("the first: %d %s", a.status, a.body)
			}
			a := post()
			if diff := cmp.Diff(tt.want, a.refusal(t)); diff != "" {
				t.Error(diff)
			}
			if seconds, _ := strconv.Atoi(a.header.Get("Retry-After")); seconds > 0 != tt.waits {
				t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
			}
			if a := post(again...); a.status != http.StatusCreated {
				t.Errorf("the first, repeated: %d %s", a.status, a.body)
			}
			if a := post("Test-User", "bob"); a.status != http.StatusCreated {
				t.Errorf("somebody else: %d %s", a.status, a.body)
			}
		})
	}
}

// TestUnknownLengthMeetsLimit: what fits of a body is kept, and the upload goes on when
// there is room again.
func TestUnknownLengthMeetsLimit(t *testing.T) {
	t.Parallel()
	data := audio(300_000)
	for name, tt := range map[string]struct {
		limits recording.UserLimits
		want   refusal
		room   string // SQL that makes room for as much again
	}{
		"day": {recording.UserLimits{BytesPerDay: 100_000},
			refusal{429, "daily_quota_exceeded", "daily_bytes", 100_000, nil}, `UPDATE usage SET day = day - 1`},
		"stored": {recording.UserLimits{StoredBytes: 100_000},
			refusal{413, "storage_quota_exceeded", "stored_bytes", 100_000, nil}, `UPDATE usage SET stored_bytes = 0`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newLimitedRig(t, tt.limits)
			url := r.do(http.MethodPost, r.url+"/files/", nil, "Upload-Defer-Length", "1").header.Get("Location")
			offset := 0
			for i, want := range []int{100_000, 100_000, 200_000} {
				a := r.do(http.MethodPatch, url, bytes.NewReader(data[offset:]), "Upload-Offset", strconv.Itoa(offset))
				got := a.refusal(t)
				got.Used = nil // as it was before the last bytes
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
				if offset, _ = strconv.Atoi(r.do(http.MethodHead, url, nil).header.Get("Upload-Offset")); offset != want {
					t.Fatalf("%d bytes are safe, want %d", offset, want)
				}
				if i == 1 { // the first time there was no room at all
					_, err := r.pool.Exec(t.Context(), tt.room)
					must(t, err)
				}
			}
		})
	}
}

// TestUploadsAtOnce: a user sends to so many uploads at once; an upload that is being
// sent can be taken over, and its end makes room.
func TestUploadsAtOnce(t *testing.T) {
	t.Parallel()
	r := newLimitedRig(t, recording.UserLimits{UploadsAtOnce: 1})
	data := audio(2000)
	one, other := r.create(len(data)), r.create(len(data))
	body, pipe := io.Pipe()
	first := make(chan answer, 1)
	go func() { first <- r.do(http.MethodPatch, one, body, "Upload-Offset", "0") }()
	_, err := pipe.Write(data[:1000])
	must(t, err)
	for r.committed(one) != 1000 { // committed because no more comes
		time.Sleep(20 * time.Millisecond)
	}
	a := r.do(http.MethodPatch, other, bytes.NewReader(data), "Upload-Offset", "0")
	if diff := cmp.Diff(refusal{429, "too_many_uploads", "uploads_at_once", 1, used(1)}, a.refusal(t)); diff != "" || a.header.Get("Retry-After") != "5" {
		t.Errorf("Retry-After %q; %s", a.header.Get("Retry-After"), diff)
	}
	if a := r.do(http.MethodPost, r.url+"/files/", bytes.NewReader(data), "Upload-Length", "2000", "Content-Type", "application/offset+octet-stream"); a.code != "too_many_uploads" {
		t.Errorf("a creation with bytes: %d %s", a.status, a.body)
	}
	if a := r.do(http.MethodPatch, other, bytes.NewReader(data), "Upload-Offset", "0", "Test-User", "bob"); a.status != http.StatusNotFound {
		t.Errorf("bob: %d %s", a.status, a.body)
	}
	r.create(10) // without bytes
	if a := r.do(http.MethodPatch, one, bytes.NewReader(data[1000:]), "Upload-Offset", "1000"); a.status != http.StatusNoContent {
		t.Errorf("taking over: %d %s", a.status, a.body)
	}
	pipe.Close()
	if a := <-first; a.code != "upload_taken_over" {
		t.Errorf("the first: %d %s", a.status, a.body)
	}
	if a := r.do(http.MethodPatch, other, bytes.NewReader(data), "Upload-Offset", "0"); a.status != http.StatusNoContent {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}

// committed asks the ledger, which disturbs nobody, for an upload's offset.
func (r *rig) committed(url string) (n int) {
	r.t.Helper()
	must(r.t, r.pool.QueryRow(r.t.Context(), `SELECT committed_offset FROM uploads WHERE id = right($1, 36)::uuid`, url).Scan(&n))
	return n
}
