package s3test_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"reprise/internal/s3test"
)

// impatient returns the context of a client that gives up a while after the server
// has the object key, or right away where it never will.
func impatient(t *testing.T, server *s3test.Server, bucket, key string, comes bool) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		defer cancel()
		for t.Context().Err() == nil {
			time.Sleep(100 * time.Millisecond)
			if !comes || slices.Contains(server.Keys(t, bucket), key) {
				return
			}
		}
	})
	t.Cleanup(watching.Wait)
	return ctx
}

// onBoth runs a test against each server, with a proxy and a bucket of its own.
func onBoth(t *testing.T, test func(t *testing.T, server *s3test.Server, proxy *s3test.Proxy, bucket string)) {
	t.Helper()
	for _, server := range s3test.Servers(t) {
		t.Run(server.Name, func(t *testing.T) {
			t.Parallel()
			test(t, server, server.Proxy(t), server.Bucket(t))
		})
	}
}

func begin(t *testing.T, client *s3.Client, bucket, key string) string {
	t.Helper()
	out, err := client.CreateMultipartUpload(context.Background(), &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	return *out.UploadId
}

func partInput(bucket, key, id string, number int32, body io.Reader) *s3.UploadPartInput {
	return &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: &id, PartNumber: &number, Body: body}
}

func completeInput(bucket, key, id string, etags ...*string) *s3.CompleteMultipartUploadInput {
	var parts []types.CompletedPart
	for i, etag := range etags {
		parts = append(parts, types.CompletedPart{ETag: etag, PartNumber: aws.Int32(int32(i + 1))})
	}
	return &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: &id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}
}

func wantCode(t *testing.T, err error, want string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestProxyCountsEveryOperation(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, _ *s3test.Server, proxy *s3test.Proxy, bucket string) {
		ctx, client, key := context.Background(), proxy.Client(), aws.String("a/b")
		body := bytes.Repeat([]byte("x"), 5<<20) // S3's least size of a part but the last
		must := func(_ any, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket}))
		must(client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: key, Body: strings.NewReader("12345")}))
		must(client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: key}))
		object, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		must(io.Copy(io.Discard, object.Body))
		object.Body.Close()
		must(client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &bucket, Key: aws.String("copy"), CopySource: aws.String(bucket + "/a/b")}))
		aborted := begin(t, client, bucket, "m")
		must(client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: aws.String("m"), UploadId: &aborted}))
		id := begin(t, client, bucket, "m")
		first, err := client.UploadPart(ctx, partInput(bucket, "m", id, 1, bytes.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		must(client.ListParts(ctx, &s3.ListPartsInput{Bucket: &bucket, Key: aws.String("m"), UploadId: &id}))
		must(client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &bucket}))
		must(client.CompleteMultipartUpload(ctx, completeInput(bucket, "m", id, first.ETag)))
		must(client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &bucket}))
		must(client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: key}))
		must(client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: key}}}}))

		counts := proxy.Counts()
		want := map[string]int{
			"HeadBucket": 1, "PutObject": 1, "HeadObject": 1, "GetObject": 1, "CopyObject": 1, "CreateMultipartUpload": 2,
			"AbortMultipartUpload": 1, "UploadPart": 1, "ListParts": 1, "ListMultipartUploads": 1, "CompleteMultipartUpload": 1,
			"ListObjectsV2": 1, "DeleteObject": 1, "DeleteObjects": 1,
		}
		if diff := cmp.Diff(want, counts.Requests); diff != "" {
			t.Error(diff)
		}
		if counts.Total() != 15 {
			t.Errorf("got %d requests in all, want 15", counts.Total())
		}
		// What is more are the bodies of XML.
		if over := counts.SentBytes - int64(len(body)) - 5; over < 0 || over > 4096 {
			t.Errorf("got %d bytes more than the objects have", over)
		}
		if counts.ReceivedBytes < 5 || counts.Faults != 0 {
			t.Errorf("got %d bytes back and %d faults", counts.ReceivedBytes, counts.Faults)
		}
		proxy.ResetCounts()
		if diff := cmp.Diff(s3test.Counts{Requests: map[string]int{}}, proxy.Counts()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestProxyFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fault s3test.Fault
		code  string // "" for an error of the connection
	}{
		{s3test.InternalError(), "InternalError"},
		{s3test.SlowDown(), "SlowDown"},
		{s3test.NoSuchUpload(), "NoSuchUpload"},
		{s3test.Reset(), ""},
		{s3test.Hang(), ""},
	}
	onBoth(t, func(t *testing.T, server *s3test.Server, proxy *s3test.Proxy, bucket string) {
		var want []string
		for _, tt := range tests {
			for _, fault := range []s3test.Fault{tt.fault, tt.fault.After()} {
				key := strings.ReplaceAll(fault.String(), " ", "-")
				if fault == tt.fault.After() {
					want = append(want, key)
				}
				proxy.Fail(s3test.Every("PutObject", fault))
				ctx := context.Background()
				if tt.fault == s3test.Hang() {
					ctx = impatient(t, server, bucket, key, fault != tt.fault)
				}
				_, err := proxy.Client().PutObject(ctx, &s3.PutObjectInput{
					Bucket: &bucket, Key: &key, Body: bytes.NewReader(make([]byte, 3<<20)),
				})
				if err == nil {
					t.Errorf("%v: no error", fault)
				} else if tt.code != "" {
					wantCode(t, err, tt.code)
				} else if network := net.Error(nil); !errors.As(err, &network) && !errors.Is(err, context.Canceled) {
					t.Errorf("%v: got %v, want an error of the connection", fault, err)
				}
			}
		}
		proxy.Fail(nil)
		slices.Sort(want)
		if diff := cmp.Diff(want, server.Keys(t, bucket)); diff != "" {
			t.Errorf("not those that took effect: %s", diff)
		}
		if got := proxy.Counts().Faults; got != 2*len(tests) {
			t.Errorf("counted %d faults", got)
		}
	})
}

func TestProxyResetsInTheMiddleOfAnObject(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, server *s3test.Server, proxy *s3test.Proxy, bucket string) {
		server.Put(t, bucket, "a", make([]byte, 1<<20))
		proxy.Fail(s3test.Nth("GetObject", 1, s3test.Reset().After()))
		object, err := proxy.Client().GetObject(context.Background(), &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("a")})
		if err != nil {
			t.Fatal(err)
		}
		defer object.Body.Close()
		if n, err := io.Copy(io.Discard, object.Body); err == nil || n >= 1<<20 {
			t.Errorf("read %d bytes and then %v", n, err)
		}
	})
}

func TestProxyCompletesWithAnError(t *testing.T) {
	t.Parallel()
	for _, fault := range []s3test.Fault{s3test.ErrorBody(), s3test.ErrorBody().After()} {
		t.Run(fault.String(), func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, server *s3test.Server, proxy *s3test.Proxy, bucket string) {
				ctx, client := context.Background(), proxy.Client()
				id := begin(t, client, bucket, "a")
				part, err := client.UploadPart(ctx, partInput(bucket, "a", id, 1, strings.NewReader("the last part may be small")))
				if err != nil {
					t.Fatal(err)
				}
				proxy.Fail(s3test.Every("CompleteMultipartUpload", fault))
				_, err = client.CompleteMultipartUpload(ctx, completeInput(bucket, "a", id, part.ETag))
				wantCode(t, err, "InternalError")
				keys := server.Keys(t, bucket)
				if took := len(keys) == 1; took != (fault == s3test.ErrorBody().After()) {
					t.Errorf("%v: the bucket holds %q", fault, keys)
				}
			})
		})
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	part := func(n int) s3test.Request { return s3test.Request{Op: "UploadPart", N: n} }
	none := s3test.Fault{}
	second := s3test.Nth("UploadPart", 2, s3test.Reset())
	for n, want := range map[int]s3test.Fault{1: none, 2: s3test.Reset(), 3: none} {
		if got := second(part(n)); got != want {
			t.Errorf("request %d: got %v", n, got)
		}
	}
	if got := second(s3test.Request{Op: "PutObject", N: 2}); got != none {
		t.Errorf("another operation: got %v", got)
	}

	count := func(seed uint64) (failed int, which []s3test.Fault) {
		rule := s3test.Sometimes(seed, 0.1, s3test.Faults()...)
		for n := range 10_000 {
			fault := rule(part(n))
			which = append(which, fault)
			if fault != none {
				failed++
			}
		}
		return failed, which
	}
	failed, first := count(7)
	if failed < 800 || failed > 1200 {
		t.Errorf("%d of 10,000 fail, want about 1,000", failed)
	}
	for _, fault := range s3test.Faults() {
		if !slices.Contains(first, fault) {
			t.Errorf("%v never comes", fault)
		}
	}
	if _, again := count(7); !slices.Equal(first, again) {
		t.Error("the same seed gives other faults")
	}
	if _, other := count(8); slices.Equal(first, other) {
		t.Error("another seed gives the same faults")
	}
}

func TestProxyDelays(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, _ *s3test.Server, proxy *s3test.Proxy, bucket string) {
		const delay = 50 * time.Millisecond
		proxy.Delay(delay)
		began := time.Now()
		if _, err := proxy.Client().HeadBucket(context.Background(), &s3.HeadBucketInput{Bucket: &bucket}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < delay {
			t.Errorf("took %v, want at least %v", took, delay)
		}
	})
}
