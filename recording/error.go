package recording

import (
	"errors"
	"fmt"
)

// Code is a stable name for what went wrong, part of the public contract.
type Code string

// The error codes. The map from code to HTTP status is in package api.
const (
	CodeInvalidRequest   Code = "invalid_request"        // malformed parameters or body
	CodeInvalidMetadata  Code = "invalid_metadata"       // Upload-Metadata is malformed
	CodeUnauthenticated  Code = "unauthenticated"        // no token, or one that is not valid (any more)
	CodeForbidden        Code = "forbidden"              // known, but not allowed
	CodeAccountDisabled  Code = "account_disabled"       // known, and shut out until an operator or the identity provider says otherwise
	CodeNotFound         Code = "not_found"              // does not exist, or belongs to somebody else
	CodeMethodNotAllowed Code = "method_not_allowed"     // the resource has no such method
	CodeConflict         Code = "conflict"               // the state it is in does not allow this
	CodeOffsetMismatch   Code = "offset_mismatch"        // Upload-Offset is not the upload's offset
	CodeTakenOver        Code = "upload_taken_over"      // another request has taken the upload over
	CodeChecksum         Code = "checksum_mismatch"      // a request's bytes are not those that its checksum is of
	CodeClientIDConflict Code = "client_id_conflict"     // this clientId names an upload of another length
	CodeUploadGone       Code = "upload_gone"            // terminated or expired
	CodeProtocolVersion  Code = "unsupported_version"    // Tus-Resumable is missing or not 1.0.0
	CodeTooLarge         Code = "too_large"              // more bytes than allowed or declared
	CodeContentType      Code = "invalid_content_type"   // not the Content-Type this request needs
	CodeUnsupportedType  Code = "unsupported_type"       // the declared filetype is not audio
	CodeNotAudio         Code = "not_audio"              // the bytes are not audio
	CodeRangeInvalid     Code = "invalid_range"          // the Range can't be satisfied
	CodeTimeout          Code = "timeout"                // the client sent nothing for too long
	CodeRateLimited      Code = "rate_limited"           // too many requests in a short time
	CodeTooManyUploads   Code = "too_many_uploads"       // as many uploads at once, or unfinished ones, as a user may have
	CodeDailyQuota       Code = "daily_quota_exceeded"   // as much as a user may send in a day
	CodeStorageQuota     Code = "storage_quota_exceeded" // as much as a user may store
	CodeInternal         Code = "internal"               // our fault
	CodeUnavailable      Code = "unavailable"            // a part of the server can't be reached now; try again
	CodeGraphUnavailable Code = "graph_unavailable"      // there is no graph, or it can't be reached now
	CodeGraphTimeout     Code = "graph_timeout"          // the graph has not found the answer in the time that there is
	CodeStorageFull      Code = "storage_full"           // no room left
)

// Error is an error that a client may see: Message is for people and holds no
// internals. Err, if set, is for the log only. Exceeded is set if a limit is why.
type Error struct {
	Code     Code
	Message  string
	Err      error
	Exceeded *Exceeded
}

// Errorf makes an Error; format and args become Message.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an Error with a cause for the log.
func Wrap(code Code, err error, message string) *Error {
	return &Error{Code: code, Message: message, Err: err}
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first Error in err's chain, and CodeInternal
// if there is none. For nil it returns "".
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// ErrNotFound is the answer for what does not exist and for what belongs to
// somebody else: the two can't be told apart.
var ErrNotFound = &Error{Code: CodeNotFound, Message: "There is nothing here, or it is not yours."}

// ErrTakenOver says that a writer's epoch is over: another request holds the
// upload now.
var ErrTakenOver = &Error{Code: CodeTakenOver, Message: "Another request has taken this upload over; ask for its offset and resume."}
