package catalog_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/catalog"
	"reprise/recording"
)

// limit gives the rig another catalog on the same database, as another replica is.
func (r *rig) limit(limits recording.UserLimits) *catalog.Catalog {
	r.t.Helper()
	c, err := catalog.New(catalog.Options{Pool: r.pool, Now: func() time.Time { return r.clock }, Limits: limits})
	must(r.t, err)
	r.Catalog = c
	return c
}

// begin creates an upload; length is nil if it is not known.
func (r *rig) begin(length *int64) (recording.Upload, error) {
	id := recording.NewID()
	u, _, err := r.CreateUpload(r.t.Context(), recording.NewUpload{
		UploadID: recording.NewID(), RecordingID: id, OwnerID: r.alice, Length: length, Metadata: map[string]string{},
		ObjectKey: "recordings/" + id.String() + "/original", ExpiresAt: r.clock.Add(time.Hour),
	})
	return u, err
}

// send commits bytes of an upload; one whose length is not known is growing.
func (r *rig) append(u *recording.Upload, n int64) error {
	r.t.Helper()
	now, ok, err := r.AcquireUpload(r.t.Context(), u.ID, recording.Claim{Write: true, Offset: u.Offset})
	must(r.t, err)
	if !ok {
		r.t.Fatal("not acquired")
	}
	err = r.CommitChunk(r.t.Context(), recording.Chunk{
		UploadID: u.ID, OwnerID: u.OwnerID, Epoch: now.Epoch, From: u.Offset, To: u.Offset + n, Growing: now.Length == nil,
		Parts: []recording.Part{{Number: 1, Size: u.Offset + n, Ref: "1-1"}}, CloseWrite: true, ExpiresAt: r.clock.Add(time.Hour),
	})
	now.Offset = u.Offset
	if *u = now; err == nil {
		u.Offset += n
	}
	return err
}

// used is what alice has: open uploads, stored bytes, bytes of the day.
func (r *rig) used() [3]int64 {
	r.t.Helper()
	u, err := r.Usage(r.t.Context(), r.alice)
	must(r.t, err)
	return [3]int64{u.OpenUploads, u.StoredBytes, u.DayBytes}
}

func (r *rig) wantUsed(what string, open, stored, day int64) {
	r.t.Helper()
	if diff := cmp.Diff([3]int64{open, stored, day}, r.used()); diff != "" {
		r.t.Errorf("%s: open, stored, of the day: (-want +got)\n%s", what, diff)
	}
	if n, err := r.RecountUsage(r.t.Context()); n != 0 || err != nil {
		r.t.Errorf("%s: %d users are counted wrong, %v", what, n, err)
	}
}

func of(n int64) *int64 { return &n }

// TestUsageIsCounted: what an upload counts, on all the ways that it can take.
func TestUsageIsCounted(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, tt := range map[string]struct {
		do                func(*rig, recording.Upload) error // with 4 of 10 bytes sent
		open, stored, day int64
	}{
		"unfinished":  {func(*rig, recording.Upload) error { return nil }, 1, 10, 10},
		"terminated":  {func(r *rig, u recording.Upload) error { return r.TerminateUpload(ctx, r.alice, u.ID) }, 0, 0, 4},
		"refused":     {func(r *rig, u recording.Upload) error { return r.RefuseUpload(ctx, u.ID, u.Epoch, "x", "y") }, 0, 0, 4},
		"failed":      {func(r *rig, u recording.Upload) error { return r.FailUpload(ctx, u.ID, u.Epoch, "x", "y") }, 0, 0, 4},
		"deleted":     {func(r *rig, u recording.Upload) error { return r.DeleteRecording(ctx, r.alice, u.RecordingID) }, 0, 0, 4},
		"taken over":  {func(r *rig, u recording.Upload) error { return r.append(&u, 1) }, 1, 10, 10},
		"at once two": {func(r *rig, u recording.Upload) error { _, err := r.begin(of(5)); return err }, 2, 15, 15},
		"expired": {func(r *rig, u recording.Upload) error {
			r.clock = r.clock.Add(2 * time.Hour)
			_, err := r.ExpireUploads(ctx, r.clock)
			return err
		}, 0, 0, 4},
		"terminated tomorrow": {func(r *rig, u recording.Upload) error {
			r.clock = r.clock.Add(24 * time.Hour)
			_, err := r.begin(of(3))
			return errors.Join(err, r.TerminateUpload(ctx, r.alice, u.ID))
		}, 1, 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			u, err := r.begin(of(10))
			must(t, err)
			must(t, r.append(&u, 4))
			must(t, tt.do(r, u))
			r.wantUsed(name, tt.open, tt.stored, tt.day)
		})
	}
}

// TestUsageOfComplete: what is complete stays counted until it is deleted or lost.
func TestUsageOfComplete(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	u := r.receive(r.alice)
	r.wantUsed("received", 0, 10, 10)
	must(t, r.CompleteStage(ctx, u.RecordingID, recording.StageStore, recording.StageResult{Next: recording.StageVerify}))
	r.wantUsed("stored", 0, 10, 10)
	must(t, r.FailRecording(ctx, u.RecordingID, recording.StageVerify, recording.ReasonStorage, "lost"))
	r.wantUsed("lost", 0, 0, 10)
	_, err := r.RetryRecording(ctx, r.alice, u.RecordingID)
	must(t, err)
	r.wantUsed("found again", 0, 10, 10)
	must(t, r.DeleteRecording(ctx, r.alice, u.RecordingID))
	r.wantUsed("deleted", 0, 0, 10)

	one, other := r.partial(r.alice, true), r.partial(r.alice, true)
	before := r.used()
	r.wantUsed("partial uploads, not joined", 2, before[1], before[2])
	final, _, err := r.join(ctx, r.alice, one, other)
	must(t, err)
	r.wantUsed("joined: nothing counts twice", 0, before[1], before[2])
	must(t, r.CompleteStage(ctx, final.RecordingID, recording.StageStore, recording.StageResult{Next: recording.StageVerify, SHA256: make([]byte, 32)}))
	r.wantUsed("stored as one", 0, before[1], before[2])
	must(t, r.DeleteRecording(ctx, r.alice, final.RecordingID))
	r.wantUsed("deleted with its parts", 0, 0, before[2])
}

// TestUnknownLengthCountsAsItGrows, and the declared one from then on.
func TestUnknownLengthCountsAsItGrows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	u, err := r.begin(nil)
	must(t, err)
	r.wantUsed("created", 1, 0, 0)
	must(t, r.append(&u, 4))
	r.wantUsed("4 bytes", 1, 4, 4)
	must(t, r.DeclareLength(t.Context(), u.ID, u.Epoch, 10, nil))
	r.wantUsed("declared", 1, 10, 10)
	must(t, r.append(&u, 3))
	r.wantUsed("3 more", 1, 10, 10)
}

// TestLimitsAnswer: each limit of what a user has refuses with its own error, which
// says what is allowed and used; and nothing of what was refused is left.
func TestLimitsAnswer(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	midnight := time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC)
	grow := func(r *rig) error {
		u, err := r.begin(nil)
		must(r.t, err)
		return r.append(&u, 30)
	}
	declare := func(r *rig) error {
		u, err := r.begin(nil)
		must(r.t, err)
		return r.DeclareLength(ctx, u.ID, 0, 30, nil)
	}
	create := func(r *rig) error { _, err := r.begin(of(30)); return err }
	for name, tt := range map[string]struct {
		limits recording.UserLimits
		do     func(*rig) error
		code   recording.Code
		want   recording.Exceeded
	}{
		"open":              {recording.UserLimits{OpenUploads: 1}, create, recording.CodeTooManyUploads, recording.Exceeded{Name: "open_uploads", Limit: 1, Used: 1, RetryAfter: time.Minute}},
		"stored, create":    {recording.UserLimits{StoredBytes: 49}, create, recording.CodeStorageQuota, recording.Exceeded{Name: "stored_bytes", Limit: 49, Used: 20}},
		"stored, grow":      {recording.UserLimits{StoredBytes: 49}, grow, recording.CodeStorageQuota, recording.Exceeded{Name: "stored_bytes", Limit: 49, Used: 20}},
		"stored, declare":   {recording.UserLimits{StoredBytes: 49}, declare, recording.CodeStorageQuota, recording.Exceeded{Name: "stored_bytes", Limit: 49, Used: 20}},
		"day, create":       {recording.UserLimits{BytesPerDay: 49}, create, recording.CodeDailyQuota, recording.Exceeded{Name: "daily_bytes", Limit: 49, Used: 20, RetryAfter: 12 * time.Hour, ResetAt: midnight}},
		"day, grow":         {recording.UserLimits{BytesPerDay: 49}, grow, recording.CodeDailyQuota, recording.Exceeded{Name: "daily_bytes", Limit: 49, Used: 20, RetryAfter: 12 * time.Hour, ResetAt: midnight}},
		"more than any day": {recording.UserLimits{BytesPerDay: 29}, create, recording.CodeTooLarge, recording.Exceeded{Name: "daily_bytes", Limit: 29}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			_, err := r.begin(of(20))
			must(t, err)
			r.limit(tt.limits)
			uploads, used := r.count(`SELECT count(*) FROM uploads WHERE length IS NOT NULL`), r.used()
			err = tt.do(r)
			var refusal *recording.Error
			if !errors.As(err, &refusal) || refusal.Code != tt.code || refusal.Exceeded == nil {
				t.Fatalf("got %v, want %s", err, tt.code)
			}
			if diff := cmp.Diff(tt.want, *refusal.Exceeded); diff != "" {
				t.Error(diff)
			}
			if n := r.count(`SELECT count(*) FROM uploads WHERE length IS NOT NULL OR committed_offset > 0`); n != uploads {
				t.Errorf("%d uploads are left, want %d", n, uploads)
			}
			if got := r.used(); got[1] != used[1] || got[2] != used[2] {
				t.Errorf("%v is counted after the refusal, %v before", got, used)
			}
		})
	}
}

// TestDayTurns: what a day's limit refuses is let in on the next, and an upload that
// began goes on over midnight.
func TestDayTurns(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.limit(recording.UserLimits{BytesPerDay: 20})
	u, err := r.begin(of(15))
	must(t, err)
	growing, err := r.begin(nil)
	must(t, err)
	must(t, r.append(&growing, 5))
	if err := r.append(&growing, 1); recording.CodeOf(err) != recording.CodeDailyQuota {
		t.Errorf("a byte too many: %v", err)
	}
	if bytes, beyond, err := r.Room(t.Context(), r.alice); bytes != 0 || recording.CodeOf(beyond) != recording.CodeDailyQuota || err != nil {
		t.Errorf("there is room for %d bytes, then %v, %v", bytes, beyond, err)
	}
	must(t, r.append(&u, 5)) // its length has been counted
	r.clock = time.Date(2026, 5, 1, 23, 59, 59, 999_999_999, time.UTC)
	if _, err := r.begin(of(1)); recording.CodeOf(err) != recording.CodeDailyQuota {
		t.Errorf("before midnight: %v", err)
	}
	r.pool.Exec(t.Context(), `UPDATE uploads SET expires_at = expires_at + interval '1 day'`)
	r.clock = r.clock.Add(1)
	must(t, r.append(&growing, 6))
	must(t, r.append(&u, 5))
	r.wantUsed("a new day", 2, 26, 6)
	r.clock = r.clock.Add(-time.Hour) // another replica's clock is behind
	_, err = r.begin(of(10))
	must(t, err)
	r.wantUsed("a clock that is behind", 3, 36, 16)
}

// TestLimitsHoldAcrossReplicas: many at once, on two replicas, get exactly as much
// as there is.
func TestLimitsHoldAcrossReplicas(t *testing.T) {
	t.Parallel()
	const many = 40
	for name, tt := range map[string]struct {
		limits recording.UserLimits
		length *int64
		want   int64
	}{
		"open":                  {recording.UserLimits{OpenUploads: 7}, of(10), 7},
		"stored":                {recording.UserLimits{StoredBytes: 109}, of(10), 10},
		"day":                   {recording.UserLimits{BytesPerDay: 119}, of(10), 11},
		"stored, as they grow":  {recording.UserLimits{StoredBytes: 109}, nil, 10},
		"the day, as they grow": {recording.UserLimits{BytesPerDay: 119}, nil, 11},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			replicas := []*rig{r, {Catalog: r.limit(tt.limits), t: t, pool: r.pool, alice: r.alice, clock: r.clock}}
			r.limit(tt.limits)
			var done atomic.Int64
			var all sync.WaitGroup
			for i := range many {
				all.Go(func() {
					r := replicas[i%2]
					u, err := r.begin(tt.length)
					if err == nil && tt.length == nil {
						err = r.append(&u, 10)
					}
					var refusal *recording.Error
					switch {
					case err == nil:
						done.Add(1)
					case !errors.As(err, &refusal) || refusal.Exceeded == nil:
						t.Error(err)
					}
				})
			}
			all.Wait()
			if got := done.Load(); got != tt.want {
				t.Errorf("%d of %d were let in, want %d", got, many, tt.want)
			}
		})
	}
}

// TestDecoded: what is decoded counts once with the stage, also for a rejection, and
// the day's limit delays and tells so once.
func TestDecoded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.limit(recording.UserLimits{DecodedPerDay: 90 * time.Minute})
	ctx := t.Context()
	decoded := func() time.Duration {
		u, err := r.Usage(ctx, r.alice)
		must(t, err)
		return u.DayDecoded
	}
	first, second := r.receive(r.alice), r.receive(r.alice)
	for range 2 { // the second time it isn't the current stage any more
		must(t, r.CompleteStage(ctx, first.RecordingID, recording.StageStore, recording.StageResult{Next: recording.StageVerify, Decoded: time.Hour}))
	}
	if from, err := r.MayDecode(ctx, r.alice); from != nil || err != nil || decoded() != time.Hour {
		t.Errorf("with %v decoded: wait until %v, %v", decoded(), from, err)
	}
	must(t, r.CountDecoded(ctx, second.RecordingID, recording.StageStore, 30*time.Minute))
	must(t, r.CountDecoded(ctx, second.RecordingID, recording.StageProbe, 30*time.Minute)) // not the current one
	from, err := r.MayDecode(ctx, r.alice)
	must(t, err)
	if midnight := time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC); from == nil || !from.Equal(midnight) || decoded() != 90*time.Minute {
		t.Fatalf("with %v decoded: wait until %v", decoded(), from)
	}
	events := func() int { return r.count(`SELECT count(*) FROM events WHERE type = 'processing.delayed'`) }
	for range 2 {
		must(t, r.DelayStage(ctx, second.RecordingID, recording.StageStore, *from))
	}
	w, err := r.Work(ctx, second.RecordingID)
	must(t, err)
	if events() != 1 || w.Recording.Detail != "As much of your audio as may be was processed today; this goes on at 2026-05-02T00:00:00Z." {
		t.Errorf("%d events, detail %q", events(), w.Recording.Detail)
	}
	must(t, r.DelayStage(ctx, second.RecordingID, recording.StageStore, from.AddDate(0, 0, 1)))
	if events() != 2 {
		t.Errorf("%d events after another day", events())
	}
	r.clock = *from
	if from, err := r.MayDecode(ctx, r.alice); from != nil || err != nil {
		t.Errorf("on the next day: wait until %v, %v", from, err)
	}
	must(t, r.CompleteStage(ctx, second.RecordingID, recording.StageStore, recording.StageResult{Next: recording.StageVerify}))
	if w, err = r.Work(ctx, second.RecordingID); err != nil || w.Recording.Detail != "" {
		t.Errorf("detail %q when it goes on, %v", w.Recording.Detail, err)
	}
}

// TestRecount corrects what somebody's hand has done.
func TestRecount(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	r.create(r.alice)
	bob, err := r.EnsureUser(ctx, "dev:bob")
	must(t, err)
	r.create(bob)
	for _, sql := range []string{
		`UPDATE usage SET stored_bytes = 7 WHERE owner_id = $1`,
		`DELETE FROM usage WHERE owner_id <> $1`,
	} {
		_, err := r.pool.Exec(ctx, sql, r.alice)
		must(t, err)
	}
	if n, err := r.RecountUsage(ctx); n != 2 || err != nil {
		t.Errorf("corrected %d users, %v", n, err)
	}
	r.wantUsed("corrected", 1, 10, 10)
}

// TestUsageLockOrder: an upload's last commit and its recording's deletion, a stage
// that counts, and new uploads of the same user never wait for each other in a circle.
func TestUsageLockOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var received []recording.Upload
	for range 8 {
		received = append(received, r.receive(r.alice))
	}
	var all sync.WaitGroup
	for _, u := range received {
		for _, f := range []func(uuid.UUID) error{
			func(id uuid.UUID) error { return r.DeleteRecording(ctx, r.alice, id) },
			func(id uuid.UUID) error {
				return r.CompleteStage(ctx, id, recording.StageStore, recording.StageResult{Next: recording.StageVerify, Decoded: time.Second})
			},
			func(id uuid.UUID) error { _, err := r.LoseOriginal(ctx, id, "lost"); return err },
			func(uuid.UUID) error { _, err := r.begin(of(1)); return err },
			func(uuid.UUID) error { _, err := r.ExpireUploads(ctx, r.clock.Add(2*time.Hour)); return err },
		} {
			all.Go(func() {
				if err := f(u.RecordingID); err != nil && recording.CodeOf(err) != recording.CodeNotFound {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	if n, err := r.RecountUsage(ctx); n != 0 || err != nil {
		t.Errorf("%d users are counted wrong, %v", n, err)
	}
}
