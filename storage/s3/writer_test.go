package s3

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"reprise/internal/s3test"
	"reprise/recording"
)

// kinds says what the committed parts are, one letter each: p for a part of a
// multipart upload, i for inline, s for a segment, o for the object.
func (u *upload) kinds() string {
	var b strings.Builder
	for _, part := range u.row.Parts {
		b.WriteByte(part.Ref[0])
	}
	return b.String()
}

func (u *upload) wantKinds(want string) {
	u.t.Helper()
	if got := u.kinds(); got != want {
		u.t.Errorf("the parts are %q, want %q: %+v", got, want, u.row.Parts)
	}
}

// must fails the test for an error of the request.
func (r *request) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("request at %d: %v", r.at, err)
	}
}

// A slow phone's bytes are committed whenever FlushSome is called; a fast upload
// pays nothing for it, and a part that is done is committed without waiting.
func TestFlushSome(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		proxy, l := server.Proxy(t), newLedger()
		s := newStore(t, proxy.URL(server.Bucket(t), "part-size=5MiB"), func(o *Options) { o.Ledger = l })
		u := newUpload(t, l, 4*testPart, true)
		r := u.begin(s)
		for range 3 { // slow
			r.must(r.write(10_000))
			r.must(r.some())
			if len(u.content) != int(r.at) {
				t.Errorf("%d bytes are committed of %d", len(u.content), r.at)
			}
		}
		u.wantKinds("iii")
		for range 3 { // fast
			r.must(r.write(testPart / 4))
			r.must(r.some())
		}
		u.wantKinds("iii")
		if n := proxy.Counts().Total(); n != 0 {
			t.Errorf("%d requests before a part is full", n)
		}
		r.must(r.write(testPart)) // seals the first
		for deadline := time.Now().Add(20 * time.Second); u.kinds() != "p"; time.Sleep(time.Millisecond) {
			r.must(r.write(testPart / 8 / 20_000)) // a stall would be no stall
			r.w.(*writer).paced = 0                // it is as fast as ever
			r.must(r.some())
			if time.Now().After(deadline) {
				t.Fatalf("the parts are %q", u.kinds())
			}
		}
		if len(u.content) != testPart {
			t.Errorf("%d bytes are committed, want a part", len(u.content))
		}
		r.must(r.some()) // it has stopped: what it left is committed
		u.wantKinds("ps")
		if len(u.content) != int(r.at) {
			t.Errorf("%d bytes are committed of %d", len(u.content), r.at)
		}
		r.must(r.end())
		u.patches(testPart, s)
		u.declare()
		u.assemble(s)
	})
}

// The ledger takes a tail if it is small, and no more of them than its rate allows.
func TestInlineAndSegments(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		now := time.Now()
		l := newLedger()
		url := server.URL(server.Bucket(t), "part-size=5MiB")
		s := newStore(t, url, func(o *Options) {
			o.Ledger, o.InlineBytes, o.InlineRate = l, 100_000, 250_000
			o.Now = func() time.Time { return now }
		})
		u := newUpload(t, l, 2*testPart, false)
		steps := []struct {
			bytes int
			wait  time.Duration
			want  string
		}{
			{100_000, 0, "i"}, {100_000, 0, "ii"}, {100_000, 0, "iis"}, // the burst is used up
			{100_000, time.Second, "iisi"}, {100_001, time.Hour, "iisis"}, // too large
			{testPart - 500_002, 0, "iisiss"}, {1, time.Hour, "p"}, {1, 0, "pi"},
		}
		for _, step := range steps {
			now = now.Add(step.wait)
			u.patch(s, step.bytes)
			u.wantKinds(step.want)
		}
		u.patches(len(u.file), s)
		u.wantKinds("pp")
		u.assemble(newStore(t, url, func(o *Options) { o.Ledger = l }))
	})
}

// Lengths that end at a part's border or are said late.
func TestLengths(t *testing.T) {
	t.Parallel()
	tests := []struct {
		size, patch int
		deferred    bool
		want        string
	}{
		{0, 1, false, ""}, {0, 1, true, ""}, {1, 1, true, "i"},
		{2_000_000, 2_000_000, false, "o"}, {2_000_000, 2_000_000, true, "s"},
		{testPart, testPart, false, "o"}, {testPart, testPart, true, "p"}, {testPart, testPart - 1, false, "si"},
		{2 * testPart, 2 * testPart, false, "pp"}, {2 * testPart, testPart + 1, true, "pp"},
		{2*testPart + 1, 2*testPart + 1, false, "ppi"}, {2*testPart + 2_000_000, 20 << 20, false, "ppp"},
		{2*testPart + 2_000_000, 20 << 20, true, "pps"},
	}
	onServers(t, func(t *testing.T, server *s3test.Server) {
		for _, tt := range tests {
			t.Run(fmt.Sprint(tt.size, "-", tt.patch, "-", tt.deferred), func(t *testing.T) {
				t.Parallel()
				l := newLedger()
				s := newStore(t, server.URL(server.Bucket(t), "part-size=5MiB"), func(o *Options) { o.Ledger = l })
				u := newUpload(t, l, tt.size, tt.deferred)
				u.patches(tt.patch, s)
				u.wantKinds(tt.want)
				u.declare()
				u.assemble(s)
				wantNoMemory(t, s)
			})
		}
	})
}

// Whoever commits a byte at a time makes few rows, and each byte is rewritten a few
// times only.
func TestManySmallCommits(t *testing.T) {
	t.Parallel()
	server := s3test.Servers(t)[0]
	proxy, l := server.Proxy(t), newLedger()
	s := newStore(t, proxy.URL(server.Bucket(t)), func(o *Options) { o.Ledger = l })
	u := newUpload(t, l, 5000, false)
	most := 0
	for len(u.content) < len(u.file) {
		u.patch(s, 1)
		most = max(most, len(u.row.Parts))
	}
	if most > mergeParts+16 {
		t.Errorf("the upload had %d parts at once", most)
	}
	if total := u.row.Parts[len(u.row.Parts)-1].Number; total != len(u.file) {
		t.Errorf("%d parts were made of %d commits", total, len(u.file))
	}
	u.assemble(s)
	if n := proxy.Counts().Requests["PutObject"]; n != 1 {
		t.Errorf("%d requests to write it", n)
	}
}

// A thousand phones trickle through less memory than a block for each; beside them, and
// beside one that has gone silent, others go on.
func TestSlowPhones(t *testing.T) {
	t.Parallel()
	server := s3test.Servers(t)[1]
	l := newLedger()
	const budget = 16 << 20
	s := newStore(t, server.URL(server.Bucket(t), "part-size=5MiB"), func(o *Options) { o.Ledger, o.MemoryBytes = l, budget })
	s.memory.patience = 20 * time.Millisecond
	silent := newUpload(t, l, 2*testPart, false).begin(s)
	silent.must(silent.write(testPart - 1))

	var group sync.WaitGroup
	for range 1000 {
		u := newUpload(t, l, 9000, false)
		group.Go(func() {
			r := &request{upload: u}
			w, err := s.NewWriter(t.Context(), u.acquire())
			r.w = w
			for range 3 {
				if err = errors.Join(err, r.write(3000), r.some()); err != nil {
					t.Error(err)
					return
				}
				if used, _ := s.memory.inUse(); used > budget {
					t.Errorf("%d bytes are in use of %d", used, budget)
				}
			}
			if err := r.end(); err != nil {
				t.Error(err)
			}
		})
	}
	for range 4 {
		u := newUpload(t, l, 3*testPart+100, false)
		group.Go(func() {
			w, err := s.NewWriter(t.Context(), u.acquire())
			r := &request{upload: u, w: w}
			if err := errors.Join(err, r.write(len(u.file)), r.end(), s.Assemble(t.Context(), u.row), u.compare(s)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	silent.must(errors.Join(silent.write(100), silent.end()))
	silent.patches(testPart, s)
	silent.assemble(s)
	wantNoMemory(t, s)
}

// No number of a part is used before the ledger has settled whose it is. What has the
// epoch in its name waits for nothing.
func TestSettle(t *testing.T) {
	t.Parallel()
	server := s3test.Servers(t)[0]
	proxy, l := server.Proxy(t), newLedger()
	s := newStore(t, proxy.URL(server.Bucket(t), "part-size=5MiB"), func(o *Options) { o.Ledger = l })
	object, segment := newUpload(t, l, testPart, false), newUpload(t, l, testPart, true)
	object.patch(s, testPart)
	segment.patch(s, 100)
	segment.patch(s, 2_000_000)
	object.wantKinds("o")
	segment.wantKinds("is")
	if l.settled != 0 {
		t.Errorf("settled %d times for an object, an inline tail and a segment", l.settled)
	}
	parts := newUpload(t, l, 3*testPart, false)
	parts.patch(s, 3*testPart)
	parts.wantKinds("ppp")
	if l.settled != 1 {
		t.Errorf("settled %d times for one writer's parts", l.settled)
	}
	l.down = recording.Errorf(recording.CodeUnavailable, "The database is away.")
	sent := proxy.Counts().Total()
	r := newUpload(t, l, 2*testPart, false).begin(s)
	_ = r.write(testPart) // or the flush says it
	if _, err := r.w.Flush(t.Context()); recording.CodeOf(err) != recording.CodeUnavailable {
		t.Errorf("a part of an unsettled epoch: %v", err)
	}
	if n := proxy.Counts().Total() - sent; n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	if err := r.w.Close(); err != nil {
		t.Error(err)
	}
}

// A part that a stale holder writes late has a number that nobody after him has.
func TestStaleNumbers(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		l := newLedger()
		s := newStore(t, server.URL(server.Bucket(t), "part-size=5MiB"), func(o *Options) { o.Ledger = l })
		u := newUpload(t, l, 6*testPart, false)
		u.patch(s, testPart)
		stale := u.begin(s)
		stale.must(stale.write(10)) // it hangs here
		next := u.begin(s)
		next.must(next.write(2 * testPart))
		next.must(next.flush(recording.PartWriter.Flush, false))
		// It comes back, with other bytes.
		if _, err := stale.w.Write(noise(2*testPart + 3)); err != nil {
			t.Fatal(err)
		}
		if _, err := stale.w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		next.must(next.write(testPart))
		next.must(next.end())
		if err := stale.w.Close(); err != nil {
			t.Error(err)
		}
		u.patches(testPart, s)
		u.assemble(s)
	})
}
