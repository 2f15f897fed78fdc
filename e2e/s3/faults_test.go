package s3_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"reprise/internal/s3test"
	"reprise/processing"
	"reprise/recording"
)

// smallParts makes parts of S3's least size, so that few bytes make many.
const (
	smallParts = "part-size=5MiB"
	partSize   = 5 * mib
)

// Requests to S3 fail in any way, before or after they took effect. Phones of all
// sorts come through, on two replicas that keep tails differently; some give up
// half-way. Each object is what was sent, and nothing else is left.
func TestRequestsFail(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		p       float64
		faults  []s3test.Fault
		uploads int  // on each server
		jobs    bool // fail too
	}{
		{"every tenth", 0.1, s3test.Faults(), rounds(20, 500), true},
		// So many that the store gives up, and phones resume.
		{"two of three", 0.66, []s3test.Fault{s3test.InternalError(), s3test.Reset(), s3test.Reset().After()}, rounds(10, 250), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, w *world) {
				w.addReplica(keptInLedger, smallParts)
				w.addReplica(keptInS3, smallParts)
				if tt.jobs {
					w.startWorkers()
				}
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				w.proxy.Fail(s3test.Sometimes(seed, tt.p, tt.faults...))
				phones := w.sendMany(seed, tt.uploads)
				if !tt.jobs {
					w.proxy.Fail(nil)
					w.startWorkers()
				}
				var want []string // keys
				retries := 0
				for _, p := range phones {
					u := w.wantStored(p.recording, p.data)
					want = append(want, "objects/"+u.ObjectKey)
					retries += p.retries
				}
				counts := w.proxy.Counts()
				t.Logf("%d of %d requests to S3 failed; phones tried %d PATCHes again", counts.Faults, counts.Total(), retries)
				w.proxy.Fail(nil)
				slices.Sort(want)
				w.wantNothingElse(want)
			})
		})
	}
}

// sendMany has phones upload, some at a time, and returns those that didn't give up
// half-way.
func (w *world) sendMany(seed uint64, uploads int) []*phone {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience*time.Duration(1+uploads/20))
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(6)
	var finished []*phone
	for i := range uploads {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		data := audio(rng.Uint64(), mixedSize(rng))
		p := w.phone(data, max(len(data)/(1+rng.IntN(12)), 16*kib))
		p.turn = rng.IntN(2)
		if i%10 == 9 {
			p.data = data[:len(data)/2]
		} else {
			finished = append(finished, p)
		}
		group.Go(func() error {
			if err := p.createOf(ctx, len(data)); err != nil {
				return err
			}
			return p.finish(ctx)
		})
	}
	if err := group.Wait(); err != nil {
		w.t.Fatal(err)
	}
	return finished
}

// mixedSize is a size of an upload: most are small.
func mixedSize(rng *rand.Rand) int {
	switch rng.IntN(4) {
	case 0:
		return 16 + rng.IntN(64*kib)
	case 1:
		return 64*kib + rng.IntN(mib)
	case 2:
		return mib + rng.IntN(4*mib)
	}
	return partSize - 2 + rng.IntN(2*partSize)
}

// wantNothingElse runs the janitor, with its clock days ahead, and fails the test
// unless the bucket then holds exactly these objects.
func (w *world) wantNothingElse(keys []string) {
	w.t.Helper()
	ahead := func() time.Time { return time.Now().Add(72 * time.Hour) }
	janitor := processing.NewJanitor(w.catalog, w.replicas[0].store, ahead, slog.New(slog.DiscardHandler))
	if _, err := janitor.RunOnce(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.until("the purge of what has expired", func() bool {
		var left int
		err := w.pool.QueryRow(w.t.Context(), "SELECT count(*) FROM river_job WHERE kind = 'purge' AND state <> 'completed'").Scan(&left)
		if err != nil {
			w.t.Fatal(err)
		}
		return left == 0
	})
	if _, err := janitor.RunOnce(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if diff := cmp.Diff(keys, w.server.Keys(w.t, w.bucket)); diff != "" {
		w.t.Errorf("the bucket holds something else: %s", diff)
	}
	if left := w.server.Multiparts(w.t, w.bucket); len(left) != 0 {
		w.t.Errorf("multipart uploads are left: %v", left)
	}
	var parts int
	if err := w.pool.QueryRow(w.t.Context(), "SELECT count(*) FROM upload_parts").Scan(&parts); err != nil {
		w.t.Fatal(err)
	}
	if parts != 0 {
		w.t.Errorf("%d rows of parts are left", parts)
	}
}

// One part of a PATCH can't be stored while the others are, whichever it is: what
// counts ends before it, and the phone goes on from there.
func TestMiddlePartFails(t *testing.T) {
	t.Parallel()
	const parts = 5 // the last is shorter
	faults := []s3test.Fault{s3test.InternalError(), s3test.SlowDown(), s3test.Reset(), s3test.InternalError().After()}
	onBoth(t, func(t *testing.T, w *world) {
		w.addReplica(keptInLedger, smallParts)
		data := audio(1, (parts-1)*partSize+3*mib)
		for part := 1; part <= parts; part++ {
			w.proxy.ResetCounts()
			w.proxy.Fail(func(r s3test.Request) s3test.Fault {
				if r.Op == "UploadPart" && r.Part == part {
					return faults[part%len(faults)]
				}
				return s3test.Fault{}
			})
			p := w.phone(data, len(data))
			if err := p.create(t.Context()); err != nil {
				t.Fatal(err)
			}
			failed := p.patch(t.Context())
			w.proxy.Fail(nil)
			if w.proxy.Counts().Faults == 0 {
				t.Errorf("part %d was not made fail", part)
			}
			if err := p.look(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Logf("part %d: %v, then the offset is %d", part, failed, p.offset)
			if failed == nil || !strings.Contains(failed.Error(), "503") || p.offset > int64(part-1)*partSize {
				t.Errorf("part %d: %v, and then the offset is %d", part, failed, p.offset)
			}
			if err := p.finish(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.wantObject(w.assemble(p.recording), data)
		}
	})
}

// The server gives no answer to one request. The store itself gives it up, with no
// help of its HTTP client, and a second one does it: the phone notices nothing.
func TestRequestHangs(t *testing.T) {
	t.Parallel()
	for i, fault := range []s3test.Fault{s3test.Hang(), s3test.Hang().After()} {
		t.Run(fault.String(), func(t *testing.T) {
			t.Parallel()
			servers := s3test.Servers(t)
			w := newWorld(t, servers[i%len(servers)])
			w.attemptTime = 0
			w.addReplica(keptInS3)
			w.proxy.Fail(s3test.Nth("PutObject", 1, fault))
			data := audio(1, 64*kib)
			p := w.phone(data, len(data))
			if err := p.upload(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.wantObject(w.assemble(p.recording), data)
			if n := w.proxy.Counts().Requests["PutObject"]; p.retries != 0 || n != 2 {
				t.Errorf("%d requests to S3, and the phone tried %d times again", n, p.retries)
			}
		})
	}
}

// A bucket's rule has aborted the multipart upload of a slow phone: it is told that
// its upload is gone, whatever it asks, and nobody ever takes it for complete.
func TestBucketRuleAborts(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.addReplica(keptInLedger, smallParts)
		w.startWorkers()
		data := audio(1, 2*partSize+mib)
		p := w.phone(data, partSize)
		if err := p.create(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := p.patch(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := w.server.AbortAll(t, w.bucket); n != 1 {
			t.Fatalf("there were %d multipart uploads", n)
		}
		for what, err := range map[string]error{
			"the upload": p.finish(t.Context()), "PATCH": p.patch(t.Context()), "HEAD": p.look(t.Context()),
		} {
			if !errors.Is(err, errGone) {
				t.Errorf("%s: got %v, want 410", what, err)
			}
		}
		u, err := w.catalog.FindUpload(t.Context(), w.owner, p.id())
		if err != nil {
			t.Fatal(err)
		}
		if u.State != recording.UploadFailed {
			t.Errorf("the upload is %s", u.State)
		}
		w.wantNothingElse(nil)
	})
}
