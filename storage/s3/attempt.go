package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// How long servers may take for an attempt. A hanging one must not hang an
// upload, whose client could have tried again.
const (
	attemptTimeout = 15 * time.Second // and as much again for each attemptBytes it sends
	attemptBytes   = 4 << 20
	// Putting parts together takes servers longer.
	completeFactor = 4
)

// The operations that are treated apart, as the SDK calls them.
const (
	opGet      = "GetObject"
	opPut      = "PutObject"
	opComplete = "CompleteMultipartUpload"
)

// timeoutError says that an attempt took too long. It doesn't wrap the context's
// error: the caller's own is not over, and trying again makes sense.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string { return fmt.Sprintf("no answer within %v", e.after) }

// Timeout tells the SDK to try again.
func (e *timeoutError) Timeout() bool { return true }

// hollowError says that an answer of success lacks what only S3 itself can say: it
// is perhaps of a proxy, or an error that the SDK doesn't look for in a body.
type hollowError struct{}

func (hollowError) Error() string { return "the answer is not one of an S3 server" }

// RetryableError tells the SDK to try again.
func (hollowError) RetryableError() bool { return true }

func hollow(result any) bool {
	switch out := result.(type) {
	case *s3.PutObjectOutput:
		return out.ETag == nil
	case *s3.UploadPartOutput:
		return out.ETag == nil
	case *s3.CreateMultipartUploadOutput:
		return aws.ToString(out.UploadId) == ""
	}
	return false
}

// folderError is one of servers that keep objects as files: while one object is put,
// the last other one of its folder is deleted, and the folder with it.
type folderError struct{ error }

func (e folderError) Unwrap() error { return e.error }

// RetryableError tells the SDK to try again.
func (folderError) RetryableError() bool { return true }

// isFolderError reports whether versitygw or MinIO answer so. MinIO calls it as it
// calls a lack of rights, which a few attempts more tell apart.
func isFolderError(operation string, err error) bool {
	code := errorCode(err)
	return operation == opPut && (code == "ExistingObjectIsDirectory" || code == "AccessDenied")
}

// addAttempts gives every single request a time limit, and counts it.
func (s *Store) addAttempts(stack *middleware.Stack) error {
	return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("Reprise:Attempt", s.attempt), "Retry", middleware.After)
}

func (s *Store) attempt(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
	middleware.FinalizeOutput, middleware.Metadata, error,
) {
	operation := awsmiddleware.GetOperationName(ctx)
	limit := s.limit(operation, in.Request)
	limited, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(limit, cancel)
	begin := time.Now()
	out, metadata, err := next.HandleFinalize(limited, in)
	if !timer.Stop() && ctx.Err() == nil && err != nil {
		err = &timeoutError{limit}
	}
	if err == nil && hollow(out.Result) {
		err = hollowError{}
	}
	// The body of an object is still to be read; its reader cancels ctx.
	if err != nil || operation != opGet {
		cancel()
	}
	s.metrics.request(operation, outcome(err), time.Since(begin))
	if isFolderError(operation, err) {
		err = folderError{err}
	}
	return out, metadata, err
}

func (s *Store) limit(operation string, request any) time.Duration {
	limit := s.timeout
	if operation == opComplete {
		limit *= completeFactor
	}
	if r, ok := request.(*smithyhttp.Request); ok {
		if n, known, err := r.StreamLength(); known && err == nil {
			limit += time.Duration(float64(s.timeout) * float64(n) / attemptBytes)
		}
	}
	return limit
}

// outcome is how an attempt ended, as the metrics say it.
func outcome(err error) string {
	var timeout *timeoutError
	switch status := statusOf(err); {
	case err == nil:
		return "ok"
	case errors.As(err, &timeout):
		return "timeout"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "canceled"
	case status == http.StatusServiceUnavailable, status == http.StatusTooManyRequests:
		return "slow_down"
	case 400 <= status && status < 500:
		return "refused"
	case status == 0:
		return "unreachable"
	}
	return "error"
}

// statusOf is the HTTP status of the answer that err came of, 0 if there was none.
func statusOf(err error) int {
	var response *smithyhttp.ResponseError
	if !errors.As(err, &response) {
		return 0
	}
	return response.HTTPStatusCode()
}
