package s3_test

import (
	"slices"
	"testing"

	"reprise/internal/s3test"
)

// Whatever CompleteMultipartUpload answers, a phone that was told success has its
// recording: one object of its bytes, one recording, one chain of jobs.
func TestCompleteFails(t *testing.T) {
	t.Parallel()
	const op = "CompleteMultipartUpload"
	tests := []struct {
		name string
		rule s3test.Rule
	}{
		{"200 with an error", s3test.Nth(op, 1, s3test.ErrorBody())},
		{"500", s3test.Nth(op, 1, s3test.InternalError())},
		{"timeout before it took effect", s3test.Nth(op, 1, s3test.Hang())},
		{"timeout after it took effect", s3test.Nth(op, 1, s3test.Hang().After())},
		{"took effect, and the retry finds no upload", firstThen(s3test.Nth(op, 1, s3test.InternalError().After()), s3test.Nth(op, 2, s3test.NoSuchUpload()))},
		// As bad as it gets: nobody can be asked what became of the first try.
		{"200 with an error after it took effect, and no answer to HEAD", firstThen(s3test.Nth(op, 1, s3test.ErrorBody().After()), s3test.Nth("HeadObject", 1, s3test.SlowDown()))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, w *world) {
				w.addReplica(keptInLedger, smallParts)
				w.startWorkers()
				var want []string
				for round := range rounds(1, 100) {
					w.proxy.ResetCounts()
					w.proxy.Fail(tt.rule)
					data := audio(uint64(round), partSize+mib/2)
					p := w.phone(data, len(data))
					if err := p.upload(t.Context()); err != nil || p.retries > 0 {
						t.Fatalf("after %d retries: %v", p.retries, err)
					}
					if err := p.look(t.Context()); err != nil || p.offset != int64(len(data)) {
						t.Errorf("HEAD says %d: %v", p.offset, err)
					}
					u := w.wantStored(p.recording, data)
					want = append(want, "objects/"+u.ObjectKey)
					if w.proxy.Counts().Faults == 0 {
						t.Error("nothing failed")
					}
				}
				w.proxy.Fail(nil)
				var recordings int
				if err := w.pool.QueryRow(t.Context(), "SELECT count(*) FROM recordings").Scan(&recordings); err != nil {
					t.Fatal(err)
				}
				if recordings != len(want) {
					t.Errorf("there are %d recordings of %d uploads", recordings, len(want))
				}
				slices.Sort(want)
				w.wantNothingElse(want)
			})
		})
	}
}

// firstThen is the first fault that one of the rules says.
func firstThen(rules ...s3test.Rule) s3test.Rule {
	return func(r s3test.Request) s3test.Fault {
		for _, rule := range rules {
			if fault := rule(r); fault != (s3test.Fault{}) {
				return fault
			}
		}
		return s3test.Fault{}
	}
}
