package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
)

const (
	maxAttempts = 4
	// Backoff is what the first retry waits for at most; it doubles. A PATCH waits
	// meanwhile, so it is shorter than the SDK's.
	backoff     = 50 * time.Millisecond
	slowBackoff = 500 * time.Millisecond // the same, if the server asked for patience
	maxBackoff  = 4 * time.Second
)

// maxIdleConns is enough for the parts of many uploads at once. Of the SDK's 10
// most would be made anew for each request.
const maxIdleConns = 256

// newClient makes the SDK's client. Credentials come from its own chain:
// environment, shared files, and what the machine or the cluster provides.
func (s *Store) newClient(ctx context.Context) (*s3.Client, error) {
	location := s.o.Location
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("s3: load the configuration of the AWS SDK: %w", err)
	}
	region := cmp.Or(location.Region, cfg.Region)
	if region == "" && location.Endpoint == "" {
		return nil, errors.New("s3: no region is set: neither in the storage URL nor in the configuration of the AWS SDK")
	}
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		if location.Endpoint != "" {
			o.BaseEndpoint = &location.Endpoint
		}
		o.Region = cmp.Or(region, "us-east-1") // goes into signatures; servers that have no regions expect this one
		o.UsePathStyle = location.PathStyle
		o.HTTPClient = s.http
		o.Retryer = newRetryer()
		// Checksums are made here, once, as the bytes flow by; the SDK's own way would
		// read a body twice, or send it in chunks that some servers don't know.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.APIOptions = append(o.APIOptions, leaveEncoding, s.addAttempts)
		if !location.signsBodies() {
			o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
		}
	}), nil
}

// newHTTPClient makes a client with connections of its own. The SDK's own can't
// close those that are idle.
func newHTTPClient() *http.Client {
	t := awshttp.NewBuildableClient().GetTransport()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = maxIdleConns, maxIdleConns
	t.DisableCompression = true // see leaveEncoding
	// One connection for everything would be slower, and hang as a whole.
	t.ForceAttemptHTTP2 = false
	return &http.Client{
		Transport: t,
		// To follow one would break the signature, which covers the host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// leaveEncoding leaves the header Accept-Encoding out. The SDK would sign it, and
// Google's front changes it on the way
// (https://github.com/aws/aws-sdk-go-v2/issues/1816).
func leaveEncoding(stack *middleware.Stack) error {
	_, _ = stack.Finalize.Remove("DisableAcceptEncodingGzip") // an error says that it isn't there
	return nil
}

// newRetryer is the SDK's standard one: it gives up early while most requests fail.
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, err error) (time.Duration, error) {
			return delay(attempt, err), nil
		})
		o.Retryables = append(o.Retryables,
			retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{http.StatusTooManyRequests: {}}},
			// The bytes were damaged or cut off on the way.
			retry.RetryableErrorCode{Codes: map[string]struct{}{
				"BadDigest": {}, "XAmzContentChecksumMismatch": {}, "XAmzContentSHA256Mismatch": {}, "IncompleteBody": {},
			}})
	})
}

// delay is how long to wait before the next attempt after this many.
func delay(attempts int, err error) time.Duration {
	most := backoff
	if status := statusOf(err); status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		most = slowBackoff
	}
	return rand.N(min(most<<min(attempts-1, 10), maxBackoff))
}
