package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"reprise/internal/s3test"
	"reprise/storage"
	"reprise/storage/storagetest"
)

const (
	testPart = 5 << 20 // the smallest that S3 takes
	// testTimeout is for tests in which servers hang. A request that is slow for another
	// reason is tried again, as they all are.
	testTimeout = 500 * time.Millisecond
)

func TestPutRequests(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		for _, checksum := range []string{"checksum=crc32c", "checksum=none"} {
			proxy := server.Proxy(t)
			s := newStore(t, proxy.URL(server.Bucket(t), "part-size=5MiB", checksum))
			for n, parts := range map[int]int{0: 0, 1: 0, 64 << 10: 0, 1 << 20: 0, testPart: 0, testPart + 1: 2, 2 * testPart: 2, 2*testPart + 1: 3} {
				proxy.ResetCounts()
				// A reader whose length can't be asked for.
				info, err := s.Put(t.Context(), "object", iotest.HalfReader(bytes.NewReader(storagetest.Pattern(1, n))))
				if err != nil || info.SizeBytes != int64(n) {
					t.Fatalf("Put of %d bytes = %+v, %v", n, info, err)
				}
				if sent := proxy.Counts().SentBytes; sent > int64(n)+2000 {
					t.Errorf("%d bytes are sent for %d", sent, n)
				}
				want := map[string]int{"PutObject": 1}
				if parts > 0 {
					want = map[string]int{"CreateMultipartUpload": 1, "UploadPart": parts, "CompleteMultipartUpload": 1}
				}
				wantCounts(t, "Put", proxy, want)
				got, err := readAll(t.Context(), s, "object")
				if err != nil {
					t.Error(err)
				}
				wantBytes(t, "Put", got, storagetest.Pattern(1, n))
			}
		}
	})
}

func TestPutLeavesNothing(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	tests := map[string]struct {
		rule s3test.Rule
		tail func(cancel context.CancelFunc) io.Reader // behind more than a part
		want error
	}{
		"reader": {tail: func(context.CancelFunc) io.Reader { return iotest.ErrReader(broken) }, want: broken},
		"context": {
			tail: func(cancel context.CancelFunc) io.Reader {
				return readerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
			},
			want: context.Canceled,
		},
		"part":     {rule: s3test.Every("UploadPart", s3test.InternalError())},
		"complete": {rule: s3test.Every("CompleteMultipartUpload", s3test.ErrorBody())},
	}
	onServers(t, func(t *testing.T, server *s3test.Server) {
		for name, test := range tests {
			proxy, bucket := server.Proxy(t), server.Bucket(t)
			proxy.Fail(test.rule)
			s := newStore(t, proxy.URL(bucket, "part-size=5MiB"))
			ctx, cancel := context.WithCancel(t.Context())
			r := io.Reader(bytes.NewReader(storagetest.Pattern(1, testPart+1000)))
			if test.tail != nil {
				r = io.MultiReader(r, test.tail(cancel))
			}
			_, err := s.Put(ctx, "object", r)
			cancel()
			if err == nil || !errors.Is(err, test.want) && test.want != nil {
				t.Errorf("%s: Put = %v, want %v", name, err, test.want)
			}
			if keys, uploads := server.Keys(t, bucket), server.Multiparts(t, bucket); len(keys)+len(uploads) > 0 {
				t.Errorf("%s: left are %v and %v", name, keys, uploads)
			}
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Whatever happens to one request, the object is there in the end.
func TestPutThroughFaults(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		faults := append(s3test.Faults(), s3test.ErrorBody(), s3test.ErrorBody().After())
		for i, fault := range faults {
			for _, op := range []string{"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"} {
				t.Run(op+"/"+fault.String(), func(t *testing.T) {
					t.Parallel()
					proxy, bucket := server.Proxy(t), server.Bucket(t)
					s := newStore(t, proxy.URL(bucket, "part-size=5MiB"))
					s.timeout = testTimeout
					n := testPart + 1
					if op == "PutObject" {
						n = 1000
					}
					// An older object of the same size is not taken for the new one.
					put(t, s, "object", storagetest.Pattern(byte(i+1), n))
					proxy.ResetCounts()
					proxy.Fail(s3test.Nth(op, 1, fault))
					put(t, s, "object", storagetest.Pattern(0, n))
					proxy.Fail(nil)
					wantBytes(t, "object", server.Object(t, bucket, "objects/object"), storagetest.Pattern(0, n))
				})
			}
		}
	})
}

// A rule of the bucket has aborted the upload.
func TestCompleteLost(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		bucket := server.Bucket(t)
		s := newStore(t, server.URL(bucket))
		s.timeout = testTimeout
		name := s.objectName("object")
		id, err := s.begin(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		m := multipart{name: name, id: id}
		part, err := s.uploadPart(t.Context(), m, 1, newBody(storagetest.Pattern(1, 1000)))
		if err != nil {
			t.Fatal(err)
		}
		server.AbortAll(t, bucket)
		if err := s.complete(t.Context(), m, []uploaded{part}, 1000); !errors.Is(err, storage.ErrLost) {
			t.Errorf("complete = %v, want ErrLost", err)
		}
		if _, err := s.uploadPart(t.Context(), m, 2, newBody(storagetest.Pattern(1, 1000))); !errors.Is(err, storage.ErrLost) {
			t.Errorf("uploadPart = %v, want ErrLost", err)
		}
		put(t, s, "object", storagetest.Pattern(1, 1000))
		if err := s.complete(t.Context(), m, []uploaded{part}, 1000); err != nil {
			t.Errorf("complete beside the object: %v", err)
		}
		if err := s.abort(t.Context(), m); err != nil {
			t.Errorf("abort: %v", err)
		}
	})
}

// The ETag of a part is another than the ledger's: the part was written once more, by a
// request that had been given up, and the server makes a new one for each write.
func TestRenewedETag(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		l, bucket := newLedger(), server.Bucket(t)
		s := newStore(t, server.URL(bucket, "part-size=5MiB"), func(o *Options) { o.Ledger = l })
		s.timeout = testTimeout
		u := newUpload(t, l, 2*testPart, false)
		u.patches(2*testPart, s)
		first, ok := parsePartRef(u.row.Parts[0].Ref)
		if !ok {
			t.Fatalf("the first part is %s", u.row.Parts[0].Ref)
		}
		first.etag = `"00000000000000000000000000000000"`
		u.row.Parts[0].Ref = formatPartRef(first)
		if err := s.CheckParts(t.Context(), u.row); err != nil {
			t.Errorf("CheckParts: %v", err)
		}
		u.assemble(s)
	})
}

// Somebody else completes the upload at the same time.
func TestCompleteTwice(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		bucket := server.Bucket(t)
		s := newStore(t, server.URL(bucket))
		name := s.objectName("object")
		id, err := s.begin(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		m := multipart{name: name, id: id}
		part, err := s.uploadPart(t.Context(), m, 1, newBody(storagetest.Pattern(1, 6<<20)))
		if err != nil {
			t.Fatal(err)
		}
		errs := make(chan error)
		for range 4 {
			go func() { errs <- s.complete(t.Context(), m, []uploaded{part}, 6<<20) }()
		}
		for range 4 {
			if err := <-errs; err != nil {
				t.Errorf("complete: %v", err)
			}
		}
		wantBytes(t, "object", server.Object(t, bucket, "objects/object"), storagetest.Pattern(1, 6<<20))
	})
}
