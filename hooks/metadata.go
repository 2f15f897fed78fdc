package hooks

import (
	"encoding/base64"
	"strings"
	"unicode"
	"unicode/utf8"

	"reprise/recording"
)

// maxMetadataBytes bounds the Upload-Metadata header.
const maxMetadataBytes = 4 << 10

// ParseMetadata reads an Upload-Metadata header strictly by tus 1.0 (creation
// extension, https://tus.io/protocols/resumable-upload#upload-metadata): pairs
// separated by commas, in each a key and, after one space, its value in Base64.
// What tusd's own parser passes over in silence is an error here: bad Base64, a
// key twice. Values must be UTF-8 without control characters, and the header at
// most 4 KiB. The error is a recording.Error with CodeInvalidMetadata that names
// the key, never the value. An empty header is an empty map.
func ParseMetadata(header string) (map[string]string, error) {
	meta := make(map[string]string)
	if header == "" {
		return meta, nil
	}
	if len(header) > maxMetadataBytes {
		return nil, metadataError("the header has %d bytes; at most %d are accepted", len(header), maxMetadataBytes)
	}
	for pair := range strings.SplitSeq(header, ",") {
		// Clients in the field put spaces behind the comma, and one behind a key without value.
		key, encoded, _ := strings.Cut(strings.TrimSpace(pair), " ")
		if key == "" {
			return nil, metadataError("a key is empty")
		}
		if !validKey(key) {
			return nil, metadataError("a key has characters other than printable ASCII")
		}
		if _, twice := meta[key]; twice {
			return nil, metadataError("the key %s is there twice", key)
		}
		value, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if err != nil {
			return nil, metadataError("the value of %s is not Base64", key)
		}
		if err := checkValue(key, string(value)); err != nil {
			return nil, err
		}
		meta[key] = string(value)
	}
	return meta, nil
}

func checkValue(key, value string) error {
	if !utf8.ValidString(value) {
		return metadataError("the value of %s is not UTF-8", key)
	}
	if strings.ContainsFunc(value, unicode.IsControl) {
		return metadataError("the value of %s has control characters", key)
	}
	return nil
}

func validKey(key string) bool {
	for _, c := range []byte(key) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

func metadataError(format string, args ...any) error {
	e := recording.Errorf(recording.CodeInvalidMetadata, format, args...)
	e.Message = "Upload-Metadata: " + e.Message + "."
	return e
}
