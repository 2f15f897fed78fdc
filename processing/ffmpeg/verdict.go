package ffmpeg

import (
	"fmt"
	"time"

	"reprise/recording"
)

// The rule for headers and samples that disagree:
//
//   - More samples than the header claims are no fault; what decodes counts.
//   - Less than a tenth of what is claimed: the header lies (duration_mismatch).
//     A recorder that dies does not lose nine tenths of what it has announced.
//   - Otherwise, more than 200 ms and 0.05% of the claim missing at the end: the
//     file is cut off (truncated). Encoders pad, and announce their padding, by
//     less than that. A gap in the middle, as recorders leave when they pause,
//     is not missing at the end.
//   - A file that ends inside one of its own elements is cut off however little
//     is missing, and however little is left.
//   - A claim above the limit is believed before anything is decoded, which could
//     take hours of work for nothing: the recording is too long by its own header.
//     Only a claim that a file of this size can't hold in any codec is a lie.
const (
	lieFactor      = 10
	slack          = 200 * time.Millisecond
	slackPerSecond = 500 * time.Microsecond
	// leastBytesPerSecond is below what the longest FLAC blocks of digital silence
	// take at the lowest sample rate, which are the smallest sound there is.
	leastBytesPerSecond = 1
)

// tolerance is how much of a claimed duration may be missing.
func tolerance(claimed time.Duration) time.Duration {
	return slack + time.Duration(claimed.Seconds()*float64(slackPerSecond))
}

// checkClaim rejects a file of this size for the duration that its header claims.
func (l Limits) checkClaim(claimed time.Duration, size int64) error {
	switch {
	case claimed <= l.MaxDuration+tolerance(claimed):
		return nil
	case float64(size) < claimed.Seconds()*leastBytesPerSecond:
		return errMismatch()
	}
	return reject(recording.ReasonTooLong, "The recording lasts %s by its own header; at most %s are accepted.", claimed.Round(time.Second), l.MaxDuration)
}

func isLie(claimed, found float64) bool { return found*lieFactor < claimed }

// outcome is what is known of a file once it has been decoded.
type outcome struct {
	claimed  time.Duration // what the header says; 0 if it says nothing reliable
	decoded  time.Duration // of the samples
	timeline time.Duration // the end of the last sample by its time stamp
	cut      bool
	damaged  bool // too much of it does not decode
}

// reject returns the rejection that the outcome asks for, or nil.
func (o outcome) reject(l Limits) *recording.Rejection {
	allowed := tolerance(o.claimed)
	switch {
	case o.cut:
		return errTruncated()
	case o.damaged:
		return errDamaged()
	case o.claimed-o.decoded > allowed && isLie(o.claimed.Seconds(), o.decoded.Seconds()):
		return errMismatch()
	case o.decoded == 0:
		return errDamaged()
	case o.claimed-max(o.decoded, o.timeline) > allowed:
		return errTruncated()
	case o.decoded < l.MinDuration:
		return reject(recording.ReasonTooShort, "The recording is shorter than %s.", l.MinDuration)
	}
	return nil
}

func reject(reason recording.Reason, format string, args ...any) *recording.Rejection {
	return &recording.Rejection{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

func errTruncated() *recording.Rejection {
	return reject(recording.ReasonTruncated, "The file ends before its own header says it should.")
}

func errMismatch() *recording.Rejection {
	return reject(recording.ReasonDurationMismatch, "The file's header claims far more sound than there is in it.")
}

func errDamaged() *recording.Rejection {
	return reject(recording.ReasonDamaged, "The file's sound can't be decoded.")
}

func errCodec() *recording.Rejection {
	return reject(recording.ReasonDamaged, "The file's sound is in a codec that is not known here.")
}

func errTooLong(l Limits) *recording.Rejection {
	return reject(recording.ReasonTooLong, "The recording is longer than %s.", l.MaxDuration)
}
