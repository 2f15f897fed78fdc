package s3test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"reprise/internal/s3server"
)

// Server is one S3 server, as one test sees it.
type Server struct {
	Name     string // "versitygw" or "minio"
	Endpoint string // an URL without a path

	client *s3.Client
}

// Multipart is a multipart upload in progress.
type Multipart struct {
	Key, ID string
}

func newServer(t testing.TB, s s3server.Server) *Server {
	return &Server{Name: s.Name, Endpoint: s.Endpoint, client: newClient(t, s.Endpoint)}
}

// newClient returns a client that tries nothing twice, for until the test ends.
func newClient(t testing.TB, endpoint string) *s3.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 4
	t.Cleanup(transport.CloseIdleConnections)
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(endpoint),
		UsePathStyle: true,
		Region:       s3server.Region,
		Credentials:  credentials.NewStaticCredentialsProvider(s3server.AccessKey, s3server.SecretKey, ""),
		HTTPClient:   &http.Client{Transport: transport},
		Retryer:      aws.NopRetryer{},

		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
}

// Client returns an SDK client of the server, which tries nothing twice.
func (s *Server) Client() *s3.Client { return s.client }

// Bucket makes a bucket, which is emptied and deleted when the test ends.
func (s *Server) Bucket(t testing.TB) string {
	t.Helper()
	bucket := "test-" + strings.ToLower(rand.Text()[:16])
	if _, err := s.client.CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatalf("s3test: make a bucket on %s: %v", s.Name, err)
	}
	t.Cleanup(func() {
		// What a test has left running may still write. The folders of the servers go
		// at the end anyhow.
		if err := s.drop(bucket); err != nil {
			t.Logf("s3test: %s's bucket can't be deleted: %v", s.Name, err)
		}
	})
	return bucket
}

func (s *Server) drop(bucket string) error {
	ctx := context.Background()
	multiparts, err := s.multiparts(ctx, bucket)
	if err != nil {
		return err
	}
	for _, m := range multiparts {
		if err := s.abort(ctx, bucket, m); err != nil {
			return err
		}
	}
	keys, err := s.keys(ctx, bucket)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if _, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: aws.String(key)}); err != nil {
			return err
		}
	}
	_, err = s.client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket})
	return err
}

// URL returns the storage URL of a bucket, for REPRISE_STORAGE_URL. Each of extra is
// another parameter, for example "checksum=none".
func (s *Server) URL(bucket string, extra ...string) string {
	return storageURL(s.Endpoint, bucket, extra)
}

func storageURL(endpoint, bucket string, extra []string) string {
	query := "endpoint=" + url.QueryEscape(endpoint) + "&region=" + s3server.Region + "&path-style=true"
	return "s3://" + bucket + "?" + strings.Join(append([]string{query}, extra...), "&")
}

// Keys returns the keys of a bucket's objects, sorted.
func (s *Server) Keys(t testing.TB, bucket string) []string {
	t.Helper()
	keys, err := s.keys(context.Background(), bucket)
	if err != nil {
		t.Fatalf("s3test: list the objects: %v", err)
	}
	return keys
}

func (s *Server) keys(ctx context.Context, bucket string) ([]string, error) {
	var keys []string
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, object := range page.Contents {
			keys = append(keys, aws.ToString(object.Key))
		}
	}
	slices.Sort(keys)
	return keys, nil
}

// Object returns the bytes of an object.
func (s *Server) Object(t testing.TB, bucket, key string) []byte {
	t.Helper()
	object, err := s.client.GetObject(context.Background(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatalf("s3test: get %s: %v", key, err)
	}
	defer object.Body.Close()
	body, err := io.ReadAll(object.Body)
	if err != nil {
		t.Fatalf("s3test: read %s: %v", key, err)
	}
	return body
}

// Put makes an object.
func (s *Server) Put(t testing.TB, bucket, key string, body []byte) {
	t.Helper()
	_, err := s.client.PutObject(context.Background(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)})
	if err != nil {
		t.Fatalf("s3test: put %s: %v", key, err)
	}
}

// Delete deletes an object. None there is no error.
func (s *Server) Delete(t testing.TB, bucket, key string) {
	t.Helper()
	if _, err := s.client.DeleteObject(context.Background(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
		t.Fatalf("s3test: delete %s: %v", key, err)
	}
}

// Multiparts returns a bucket's multipart uploads in progress.
func (s *Server) Multiparts(t testing.TB, bucket string) []Multipart {
	t.Helper()
	multiparts, err := s.multiparts(context.Background(), bucket)
	if err != nil {
		t.Fatalf("s3test: list the multipart uploads: %v", err)
	}
	return multiparts
}

func (s *Server) multiparts(ctx context.Context, bucket string) ([]Multipart, error) {
	var found []Multipart
	// Without a prefix: to MinIO a prefix is the key of one object.
	pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, upload := range page.Uploads {
			found = append(found, Multipart{Key: aws.ToString(upload.Key), ID: aws.ToString(upload.UploadId)})
		}
	}
	return found, nil
}

// Abort aborts a multipart upload. None there is no error.
func (s *Server) Abort(t testing.TB, bucket string, m Multipart) {
	t.Helper()
	if err := s.abort(context.Background(), bucket, m); err != nil {
		t.Fatalf("s3test: abort the multipart upload of %s: %v", m.Key, err)
	}
}

// AbortAll aborts every multipart upload of a bucket, as a bucket's lifecycle rule
// AbortIncompleteMultipartUpload does, and returns how many there were.
func (s *Server) AbortAll(t testing.TB, bucket string) int {
	t.Helper()
	multiparts := s.Multiparts(t, bucket)
	for _, m := range multiparts {
		s.Abort(t, bucket, m)
	}
	return len(multiparts)
}

func (s *Server) abort(ctx context.Context, bucket string, m Multipart) error {
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: &m.Key, UploadId: &m.ID})
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == (&types.NoSuchUpload{}).ErrorCode() {
		return nil
	}
	return err
}
