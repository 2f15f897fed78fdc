package s3

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"reprise/recording"
)

// The forms of a part's Ref:
//
//	inline-<epoch>                     the ledger has its bytes
//	segment-<epoch>                    an object below parts/
//	part-<number>-<etag>               a part of the multipart upload
//	object                             the finished object, which is the whole upload
//
// The first two are tails. They lie behind the real parts and are folded into the
// next one.
const (
	inlineRef  = "inline-"
	segmentRef = "segment-"
	partRef    = "part-"
	objectRef  = "object"
)

func formatTailRef(kind string, epoch int64) string { return kind + strconv.FormatInt(epoch, 10) }

// parseTailRef returns the epoch of a ref of this kind.
func parseTailRef(kind, ref string) (epoch int64, ok bool) {
	text, ok := strings.CutPrefix(ref, kind)
	if !ok {
		return 0, false
	}
	epoch, err := strconv.ParseInt(text, 10, 64)
	return epoch, err == nil && ref == formatTailRef(kind, epoch)
}

func formatPartRef(p uploaded) string { return fmt.Sprintf("%s%d-%s", partRef, p.number, p.etag) }

// parsePartRef is the inverse of formatPartRef. An ETag may have any characters.
func parsePartRef(ref string) (uploaded, bool) {
	text, isPart := strings.CutPrefix(ref, partRef)
	digits, etag, _ := strings.Cut(text, "-")
	number, err := strconv.ParseInt(digits, 10, 32)
	p := uploaded{number: int32(number), etag: etag}
	return p, isPart && err == nil && formatPartRef(p) == ref
}

// layout is how the committed bytes of an upload lie in storage.
type layout struct {
	object bool             // the whole upload is the object already
	parts  []uploaded       // the real parts, from the first byte on
	base   int64            // bytes in them
	part   int64            // size of the first of them, which all but the last have; 0 without
	tail   []recording.Part // what follows
	size   int64            // bytes in all
}

// layoutOf reads the committed parts of an upload.
func layoutOf(parts []recording.Part) (layout, error) {
	var l layout
	for _, part := range parts {
		real, isReal := parsePartRef(part.Ref)
		_, isSegment := parseTailRef(segmentRef, part.Ref)
		_, isInline := parseTailRef(inlineRef, part.Ref)
		switch {
		case isReal && len(l.tail) == 0:
			if len(l.parts) == 0 {
				l.part = part.Size
			}
			l.parts = append(l.parts, real)
			l.base += part.Size
		case isSegment, isInline:
			l.tail = append(l.tail, part)
		case part.Ref == objectRef && len(parts) == 1:
			l.object = true
		case isReal:
			return layout{}, errors.New("s3: a part lies behind a tail")
		default:
			return layout{}, fmt.Errorf("s3: part %d is of another storage", part.Number)
		}
		l.size += part.Size
	}
	return l, nil
}

// tailBytes is the size of the tail.
func (l layout) tailBytes() int64 { return l.size - l.base }
