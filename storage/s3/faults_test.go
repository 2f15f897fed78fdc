package s3

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reprise/internal/s3test"
	"reprise/recording"
	"reprise/storage"
)

// fault tests have parts of the smallest size.
func newFaultyStore(t *testing.T, server *s3test.Server) (*Store, *s3test.Proxy, *ledger, string) {
	t.Helper()
	proxy, l, bucket := server.Proxy(t), newLedger(), server.Bucket(t)
	s := newStore(t, proxy.URL(bucket, "part-size=5MiB"), func(o *Options) { o.Ledger = l })
	return s, proxy, l, bucket
}

// Any part of a big PATCH fails while the others go through. Nothing of what lies
// behind it counts, and the next request takes other numbers.
func TestPartFails(t *testing.T) {
	t.Parallel()
	const parts = 5
	onServers(t, func(t *testing.T, server *s3test.Server) {
		for failing := 1; failing <= parts; failing++ {
			t.Run(fmt.Sprint(failing), func(t *testing.T) {
				t.Parallel()
				s, proxy, l, _ := newFaultyStore(t, server)
				u := newUpload(t, l, parts*testPart+100, false)
				var tried [2]map[int]bool
				request := 0
				proxy.Fail(func(r s3test.Request) s3test.Fault {
					if r.Op != "UploadPart" {
						return s3test.Fault{}
					}
					if tried[request] == nil {
						tried[request] = map[int]bool{}
					}
					tried[request][r.Part] = true
					if request == 0 && r.Part == failing {
						return s3test.InternalError()
					}
					return s3test.Fault{}
				})
				q := u.begin(s)
				err := errors.Join(q.write(parts*testPart+50), q.end())
				if err == nil {
					t.Fatal("the request succeeds without a part")
				}
				if committed := len(u.content); committed > (failing-1)*testPart {
					t.Errorf("%d bytes are committed", committed)
				}
				wantNoMemory(t, s)
				request = 1
				u.patches(len(u.file), s)
				u.assemble(s)
				for number := range tried[1] {
					if tried[0][number] {
						t.Errorf("part %d was written by both requests", number)
					}
				}
			})
		}
	})
}

// Whatever becomes of a request of Assemble, once or for as long as the SDK tries,
// the object is there in the end, and nobody is told that it is lost.
func TestAssembleThroughFaults(t *testing.T) {
	t.Parallel()
	faults := append(s3test.Faults(), s3test.ErrorBody(), s3test.ErrorBody().After())
	ops := map[string]int{"PutObject": 1000, "UploadPart": testPart + 1000, "CompleteMultipartUpload": testPart + 1000}
	onServers(t, func(t *testing.T, server *s3test.Server) {
		for op, size := range ops {
			for _, fault := range faults {
				for name, rule := range map[string]s3test.Rule{"once": s3test.Nth(op, 1, fault), "for long": s3test.Every(op, fault)} {
					t.Run(fmt.Sprint(op, "/", fault, "/", name), func(t *testing.T) {
						t.Parallel()
						s, proxy, l, _ := newFaultyStore(t, server)
						u := newUpload(t, l, size, false)
						u.patches(testPart+500, s) // the last bytes are inline
						proxy.ResetCounts()
						proxy.Fail(rule)
						s.timeout = testTimeout
						err := s.Assemble(t.Context(), u.row)
						if errors.Is(err, storage.ErrLost) || err != nil && name == "once" {
							t.Errorf("Assemble = %v", err)
						}
						proxy.Fail(nil)
						s.timeout = attemptTimeout
						u.assemble(s)
						if err := s.DiscardParts(t.Context(), u.row); err != nil {
							t.Error(err)
						}
						u.assemble(s)
						wantNoMemory(t, s)
					})
				}
			}
		}
	})
}

// The server refuses what was damaged on the way, and it is sent again.
func TestDamagedOnTheWay(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		for op, size := range map[string]int{"UploadPart": 2*testPart + 10, "PutObject": testPart} {
			s, proxy, l, _ := newFaultyStore(t, server)
			proxy.Fail(s3test.Nth(op, 1, s3test.Damage()))
			u := newUpload(t, l, size, false)
			u.patch(s, size)
			u.assemble(s)
			if n := proxy.Counts().Faults; n != 1 {
				t.Errorf("%d requests of %s were damaged, want 1", n, op)
			}
		}
	})
}

// A rule of the bucket has aborted the multipart upload.
func TestMultipartLost(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		s, _, l, bucket := newFaultyStore(t, server)
		s.timeout = 3 * time.Second // Assemble asks for four times as long before it calls bytes lost
		u := newUpload(t, l, 3*testPart, false)
		u.patch(s, testPart+10)
		complete := newUpload(t, l, testPart+10, false)
		complete.patches(testPart+10, s)
		server.AbortAll(t, bucket)

		q := u.begin(s)
		err := errors.Join(q.write(testPart), q.end())
		if !errors.Is(err, storage.ErrLost) || recording.CodeOf(err) != recording.CodeUploadGone {
			t.Errorf("PATCH = %v, want ErrLost", err)
		}
		if err := s.Assemble(t.Context(), complete.row); !errors.Is(err, storage.ErrLost) {
			t.Errorf("Assemble = %v, want ErrLost", err)
		}
		wantNoMemory(t, s)
	})
}

// The server knows from the head of a request that there is no such multipart upload,
// and closes the connection while the part is still on its way.
func TestMultipartLostBehindBrokenConnection(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		for _, fault := range []s3test.Fault{s3test.Reset(), s3test.BadGateway()} {
			t.Run(fault.String(), func(t *testing.T) {
				t.Parallel()
				s, proxy, l, bucket := newFaultyStore(t, server)
				u := newUpload(t, l, 3*testPart, false)
				u.patch(s, testPart+10)
				proxy.Fail(s3test.Every("UploadPart", fault))
				q := u.begin(s)
				if err := errors.Join(q.write(testPart), q.end()); recording.CodeOf(err) != recording.CodeUnavailable {
					t.Errorf("PATCH beside the upload = %v, want code unavailable", err)
				}
				server.AbortAll(t, bucket)
				q = u.begin(s)
				if err := errors.Join(q.write(testPart), q.end()); !errors.Is(err, storage.ErrLost) || recording.CodeOf(err) != recording.CodeUploadGone {
					t.Errorf("PATCH = %v, want ErrLost", err)
				}
				if err := s.Assemble(t.Context(), u.row); !errors.Is(err, storage.ErrLost) {
					t.Errorf("Assemble = %v, want ErrLost", err)
				}
				wantNoMemory(t, s)
			})
		}
	})
}

// Segments that were lost are noticed by whoever reads them, which is not the one
// who has them cached.
func TestSegmentsLost(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		l, bucket := newLedger(), server.Bucket(t)
		stores := make([]*Store, 2)
		for i := range stores {
			stores[i] = newStore(t, server.URL(bucket, "part-size=5MiB"), func(o *Options) { o.Ledger, o.InlineBytes = l, 0 })
		}
		u := newUpload(t, l, 2*testPart, false)
		u.patch(stores[0], 1000)
		for _, key := range server.Keys(t, bucket) {
			server.Delete(t, bucket, key)
		}
		q := u.begin(stores[1])
		if err := errors.Join(q.write(testPart), q.end()); !errors.Is(err, storage.ErrLost) || recording.CodeOf(err) != recording.CodeUploadGone {
			t.Errorf("PATCH = %v, want ErrLost", err)
		}
		if err := stores[1].Assemble(t.Context(), u.row); !errors.Is(err, storage.ErrLost) {
			t.Errorf("Assemble = %v, want ErrLost", err)
		}
		u.patches(testPart, stores[0])
		u.assemble(stores[1])
	})
}

// Neither Close nor a Flush whose context ends waits for a server that hangs.
func TestStorageHangs(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		for _, op := range []string{"UploadPart", "CreateMultipartUpload"} {
			s, proxy, l, _ := newFaultyStore(t, server)
			s.timeout = time.Hour
			proxy.Fail(s3test.Every(op, s3test.Hang()))
			u := newUpload(t, l, 10*testPart, false)
			q := u.begin(s)
			if err := q.write(3 * testPart); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if _, err := q.w.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Flush = %v, want context.DeadlineExceeded", err)
			}
			cancel()
			if _, err := q.w.Flush(t.Context()); err == nil {
				t.Error("a writer goes on although a request of it may still take effect")
			}
			if err := q.w.Close(); err != nil {
				t.Error(err)
			}
			wantNoMemory(t, s)

			q = u.begin(s)
			if err := q.write(4*testPart + 1); err != nil {
				t.Fatal(err)
			}
			if err := q.w.Close(); err != nil {
				t.Error(err)
			}
			wantNoMemory(t, s)
			proxy.Fail(nil)
			u.patches(len(u.file), s)
			u.assemble(s)
		}
	})
}

// What a writer leaves that never commits is found by List.
func TestLeftoversAreFound(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		l := newLedger()
		s := newStore(t, server.URL(server.Bucket(t), "part-size=5MiB"), func(o *Options) { o.Ledger, o.InlineBytes = l, 0 })
		whole, big := newUpload(t, l, 1000, false), newUpload(t, l, 3*testPart, false)
		for _, u := range []*upload{whole, big} {
			q := u.begin(s)
			if err := q.write(min(len(u.file), testPart+1)); err != nil {
				t.Fatal(err)
			}
			if _, err := q.w.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := q.w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		got := map[recording.StoredKind]string{}
		err := s.List(t.Context(), func(e storage.Entry) error {
			got[e.Kind] += e.Key
			if e.Kind == recording.StoredParts {
				got[e.Kind] += e.UploadID.String()
			}
			return s.Remove(t.Context(), e)
		})
		want := map[recording.StoredKind]string{
			recording.StoredObject:    whole.row.ObjectKey + "-1",
			recording.StoredMultipart: big.row.ObjectKey,
			recording.StoredParts:     big.row.ID.String(),
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("List: %v (-want +got):\n%s", err, diff)
		}
	})
}
