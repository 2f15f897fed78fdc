package s3

import (
	"context"
	"fmt"
	"net/http"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"reprise/recording"
	"reprise/storage"
)

// SignedURL implements storage.Store. Nothing is asked of the server. The URL is not
// valid longer than the credentials.
func (s *Store) SignedURL(ctx context.Context, key string, read recording.SignedRead) (string, error) {
	if err := storage.CheckKey(key); err != nil {
		return "", err
	}
	name := s.objectName(key)
	client := s3.NewPresignClient(s.client, s3.WithPresignExpires(read.Lifetime), s3.WithPresignClientFromClientOptions(func(o *s3.Options) {
		o.APIOptions = nil // they are about requests that are sent
		if s.o.Location.PublicEndpoint != "" {
			o.BaseEndpoint = &s.o.Location.PublicEndpoint
		}
	}))
	contentType, disposition := notEmpty(read.ContentType), notEmpty(read.Disposition)
	var signed *v4.PresignedHTTPRequest
	var err error
	switch read.Method {
	case http.MethodGet:
		signed, err = client.PresignGetObject(ctx, &s3.GetObjectInput{
			Bucket: &s.o.Location.Bucket, Key: &name,
			ResponseContentType: contentType, ResponseContentDisposition: disposition,
		})
	case http.MethodHead:
		signed, err = client.PresignHeadObject(ctx, &s3.HeadObjectInput{
			Bucket: &s.o.Location.Bucket, Key: &name,
			ResponseContentType: contentType, ResponseContentDisposition: disposition,
		})
	default:
		return "", fmt.Errorf("s3: no URL is signed for the method %q", read.Method)
	}
	if err != nil {
		return "", failed("sign a URL", err)
	}
	return signed.URL, nil
}
