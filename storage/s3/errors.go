package s3

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/aws/smithy-go"

	"reprise/storage"
)

// meaning returns the error of package storage that says what the server does,
// nil if there is none.
func meaning(err error) error {
	switch code := errorCode(err); {
	// NotFound is the SDK's name for a 404 without a body.
	case code == "NoSuchKey", code == "NotFound":
		return storage.ErrNotFound
	case slices.Contains([]string{"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"}, code),
		statusOf(err) == http.StatusInsufficientStorage:
		return storage.ErrFull
	}
	return nil
}

// failed wraps err with what was tried, and as the error of package storage that
// says the same.
func failed(what string, err error) error {
	if known := meaning(err); known != nil && !errors.Is(err, known) {
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
