package upload

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"reprise/recording"
)

// TestChecksumVectors: the digests of "123456789" that the algorithms are known
// by; the first is the example of tus 1.0, of "hello world".
func TestChecksumVectors(t *testing.T) {
	t.Parallel()
	for header, text := range map[string]string{
		"sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=":                   "hello world",
		"sha1 98O8HYCOBHMq2e5dxDWTDm6MRYI=":                   "",
		"sha256 FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=": "123456789",
		"md5 JfnnlDI7RTiF9RgfG2JNCw==":                        "123456789",
		"crc32c 4waSgw==":                                     "123456789", // 0xE3069283 (RFC 3720, B.4)
	} {
		c, err := checksumOf(http.Header{"Upload-Checksum": {header}})
		if err != nil {
			t.Errorf("%s: %v", header, err)
			continue
		}
		c.hash.Write([]byte(text))
		if header == "sha1 98O8HYCOBHMq2e5dxDWTDm6MRYI=" {
			if c.matches() {
				t.Error("a wrong checksum matches")
			}
			continue
		}
		if !c.matches() {
			t.Errorf("%s does not match %q: it is %s", header, text, base64.StdEncoding.EncodeToString(c.hash.Sum(nil)))
		}
	}
}

func FuzzChecksum(f *testing.F) {
	for _, seed := range []string{"", "sha1", "sha1 ", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "sha1  Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
		"SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "crc32c 4waSgw==", "crc32c 4waSgx==", "crc32c 4waSgw", "md5 4waSgw==", "crc32 4waSgw==", "crc32c 4waSgw== x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		c, err := checksumOf(http.Header{"Upload-Checksum": {header}})
		if err != nil {
			if recording.CodeOf(err) != recording.CodeInvalidRequest || c != nil && c.hash != nil && strings.Contains(err.Error(), header) && len(header) > 8 {
				t.Fatalf("%q: %v", header, err)
			}
			return
		}
		// What was accepted has one spelling.
		algorithm, _, _ := strings.Cut(header, " ")
		if again := algorithm + " " + base64.StdEncoding.EncodeToString(c.want); again != header {
			t.Fatalf("%q is taken for %q", header, again)
		}
		if bytes.Equal(c.hash.Sum(nil), c.want) != c.matches() {
			t.Fatal("matches is wrong")
		}
	})
}
