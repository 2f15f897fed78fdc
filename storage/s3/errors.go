package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"

	"github.com/aws/smithy-go"

	"reprise/recording"
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

// failed wraps err with what was tried, and as the error that says to callers what
// it means.
func failed(what string, err error) error {
	if known := meaning(err); known != nil && !errors.Is(err, known) {
		return fmt.Errorf("s3: %s: %w: %w", what, known, err)
	}
	err = fmt.Errorf("s3: %s: %w", what, err)
	var coded *recording.Error
	if away(err) && !errors.As(err, &coded) {
		return recording.Wrap(recording.CodeUnavailable, err, "The server's storage can't be reached right now; try again.")
	}
	return err
}

// away reports whether the server could not be reached or had no time, so that the
// same may work later.
func away(err error) bool {
	var timeout *timeoutError
	var network net.Error
	switch status := statusOf(err); {
	case status >= http.StatusInternalServerError, status == http.StatusTooManyRequests, errors.As(err, &timeout):
		return true
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded): // the caller's own
		return false
	case errors.As(err, &network), errors.Is(err, io.ErrUnexpectedEOF):
		return true
	}
	// InternalError comes with status 200 too, RequestTimeout with 400.
	return slices.Contains([]string{"InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout"}, errorCode(err))
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
