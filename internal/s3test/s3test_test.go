package s3test_test

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"reprise/internal/s3test"
)

func TestMain(m *testing.M) { s3test.Main(m) }

func TestServersAreTwo(t *testing.T) {
	t.Parallel()
	var names []string
	for _, server := range s3test.Servers(t) {
		names = append(names, server.Name)
	}
	if diff := cmp.Diff([]string{"versitygw", "minio"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestBucketsAreIsolated(t *testing.T) {
	t.Parallel()
	for _, server := range s3test.Servers(t) {
		t.Run(server.Name, func(t *testing.T) {
			t.Parallel()
			one, other := server.Bucket(t), server.Bucket(t)
			server.Put(t, one, "a/b", []byte("bytes"))
			server.Put(t, one, "a/a", nil)
			if diff := cmp.Diff([]string{"a/a", "a/b"}, server.Keys(t, one)); diff != "" {
				t.Error(diff)
			}
			if keys := server.Keys(t, other); len(keys) != 0 {
				t.Errorf("the other bucket holds %q", keys)
			}
			if got := server.Object(t, one, "a/b"); string(got) != "bytes" {
				t.Errorf("got %q", got)
			}
			server.Delete(t, one, "a/b")
			server.Delete(t, one, "a/b")
			if diff := cmp.Diff([]string{"a/a"}, server.Keys(t, one)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBucketGoesWithItsTest(t *testing.T) {
	t.Parallel()
	for _, server := range s3test.Servers(t) {
		var bucket string
		t.Run(server.Name, func(t *testing.T) {
			bucket = server.Bucket(t)
			server.Put(t, bucket, "a", []byte("bytes"))
			begin(t, server.Client(), bucket, "b")
		})
		if _, err := server.Client().HeadBucket(context.Background(), &s3.HeadBucketInput{Bucket: &bucket}); err == nil {
			t.Errorf("%s: the bucket is still there", server.Name)
		}
	}
}

func TestMultipartsCanBeAborted(t *testing.T) {
	t.Parallel()
	for _, server := range s3test.Servers(t) {
		t.Run(server.Name, func(t *testing.T) {
			t.Parallel()
			bucket := server.Bucket(t)
			want := []s3test.Multipart{
				{Key: "a", ID: begin(t, server.Client(), bucket, "a")},
				{Key: "a/b", ID: begin(t, server.Client(), bucket, "a/b")},
			}
			if diff := cmp.Diff(want, server.Multiparts(t, bucket)); diff != "" {
				t.Error(diff)
			}
			server.Abort(t, bucket, want[0])
			server.Abort(t, bucket, want[0])
			if n := server.AbortAll(t, bucket); n != 1 {
				t.Errorf("%d were left, want 1", n)
			}
			if left := server.Multiparts(t, bucket); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
			// What the product meets after a bucket's rule has aborted its upload.
			_, err := server.Client().UploadPart(context.Background(), partInput(bucket, "a", want[0].ID, 1, bytes.NewReader([]byte("late"))))
			wantCode(t, err, "NoSuchUpload")
		})
	}
}

func TestURLNamesServerAndBucket(t *testing.T) {
	t.Parallel()
	server := s3test.Servers(t)[0]
	got, err := url.Parse(server.URL("bucket", "checksum=none"))
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{"endpoint": {server.Endpoint}, "region": {"us-east-1"}, "path-style": {"true"}, "checksum": {"none"}}
	if got.Scheme != "s3" || got.Host != "bucket" || got.Path != "" {
		t.Errorf("got %s", got)
	}
	if diff := cmp.Diff(want, got.Query()); diff != "" {
		t.Error(diff)
	}
	if res, err := http.Get(server.Endpoint); err != nil {
		t.Error(err)
	} else {
		res.Body.Close()
		http.DefaultClient.CloseIdleConnections()
	}
}
