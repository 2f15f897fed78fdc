package upload

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"net/http"
	"strings"

	"reprise/recording"
)

// checksumAlgorithms is what OPTIONS says in Tus-Checksum-Algorithm. They find
// what a network has damaged; none of them is for security.
const checksumAlgorithms = "sha1,sha256,md5,crc32c"

func newChecksumHash(algorithm string) hash.Hash {
	switch algorithm {
	case "sha1":
		return sha1.New()
	case "sha256":
		return sha256.New()
	case "md5":
		return md5.New()
	case "crc32c":
		return crc32.New(crc32.MakeTable(crc32.Castagnoli)) // its Sum is big-endian
	}
	return nil
}

// checksum is what a client says the bytes of one request add up to (tus 1.0,
// checksum extension). While it is pending none of them may be committed.
type checksum struct {
	hash hash.Hash
	want []byte
}

// errChecksum is the answer for a chunk that was damaged on its way.
var errChecksum = &recording.Error{Code: recording.CodeChecksum,
	Message: "The bytes that came don't have the checksum of Upload-Checksum. None of them counts; send them again."}

// maxCheckedBytes bounds a request with a checksum: a storage can hold as much
// without a commit between.
const maxCheckedBytes = 64 << 20

var errTooLargeToCheck = recording.Errorf(recording.CodeTooLarge,
	"A request with Upload-Checksum can have %d bytes at the most; send the file in several.", maxCheckedBytes)

// checksumOf reads the Upload-Checksum header, which is an algorithm and, after
// one space, the checksum in Base64. Without the header it returns nil.
func checksumOf(h http.Header) (*checksum, error) {
	values := h.Values("Upload-Checksum")
	if len(values) == 0 {
		return nil, nil
	}
	algorithm, encoded, _ := strings.Cut(values[0], " ")
	c := &checksum{hash: newChecksumHash(algorithm)}
	if c.hash == nil {
		return nil, recording.Errorf(recording.CodeInvalidRequest, "Upload-Checksum: the algorithm is none of %s.", checksumAlgorithms)
	}
	var err error
	if c.want, err = base64.StdEncoding.Strict().DecodeString(encoded); err != nil || len(c.want) != c.hash.Size() {
		return nil, recording.Errorf(recording.CodeInvalidRequest,
			"Upload-Checksum: what follows %s and a space is not %d bytes in Base64.", algorithm, c.hash.Size())
	}
	return c, nil
}

// matches reports whether the bytes hashed so far are those that were sent.
func (c *checksum) matches() bool { return bytes.Equal(c.hash.Sum(nil), c.want) }
