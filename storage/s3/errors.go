package s3

import (
	"errors"
	"fmt"

	"github.com/aws/smithy-go"

	"reprise/storage"
)

// codes maps what servers call their errors to those that callers tell apart.
func codes() map[string]error {
	return map[string]error{
		"NoSuchKey": storage.ErrNotFound,
		"NotFound":  storage.ErrNotFound, // the SDK's name for a 404 without a body
	}
}

// failed wraps err with what was tried, and as the error of package storage that
// says the same.
func failed(what string, err error) error {
	if known := codes()[errorCode(err)]; known != nil && !errors.Is(err, known) {
		return fmt.Errorf("s3: %s: %w: %w", what, known, err)
	}
	return fmt.Errorf("s3: %s: %w", what, err)
}

// errorCode is the server's name for what went wrong, "" if it said none.
func errorCode(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// noSuchUpload reports whether the server says that it has no such multipart
// upload: it was completed or aborted, by us or by a rule of the bucket.
func noSuchUpload(err error) bool { return errorCode(err) == "NoSuchUpload" }
