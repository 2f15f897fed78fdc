package s3

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"reprise/storage"
)

// Sizes of multipart parts, in bytes. S3 takes none under 5 MiB but the last, and
// a part is in memory until it is stored.
const (
	DefaultPartSize = 8 << 20
	minPartSize     = 5 << 20
	maxPartSize     = 64 << 20
)

// maxPrefixBytes leaves room in the 1,024 bytes of a name for the longest key.
const maxPrefixBytes = 256

// Location says where a store lies, and how to speak to its server. It holds no
// credentials.
type Location struct {
	Bucket   string
	Prefix   string // of every name; "" or without slashes at its ends
	Endpoint string // the server's URL; "" means AWS
	// PublicEndpoint is the server's URL in signed URLs; "" means Endpoint.
	PublicEndpoint string
	Region         string // "" means the one of the AWS SDK's configuration
	PathStyle      bool   // the bucket is in the path, not in the host's name

	// Checksum says that the server is to check what it gets: a CRC32C goes with every
	// object that is put; for parts see signsBodies.
	Checksum bool
	SSE      string // server-side encryption: "" for the bucket's own, "AES256" or "aws:kms"
	KMSKeyID string // for "aws:kms"; "" means the account's default key

	PartSize int64 // bytes of a multipart part; 0 means DefaultPartSize
}

// signsBodies says that the signature of a request covers the SHA-256 of its body,
// which the server compares. It is left to TLS where there is TLS: on a busy machine it
// costs a tenth of the throughput.
func (l Location) signsBodies() bool {
	return l.Checksum && strings.HasPrefix(l.Endpoint, "http://")
}

// ParseURL reads a storage URL:
//
//	s3://bucket/prefix?endpoint=…&public-endpoint=…&region=…&path-style=true|false&checksum=crc32c|none&sse=AES256|aws:kms&kms-key-id=…&part-size=8MiB
//
// Everything but the bucket may be left out. Path-style is true by default for an
// endpoint and false for AWS; the checksum is crc32c. The error is for people: it
// names every parameter that is wrong, and quotes nothing that may be a secret.
func ParseURL(text string) (Location, error) {
	u, err := url.Parse(text)
	if err != nil { // its error quotes the URL
		return Location{}, errors.New("s3: the storage URL is not a URL")
	}
	l := Location{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/"), PartSize: DefaultPartSize}
	problems := l.checkPlace(u)
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Location{}, errors.New("s3: the parameters of the storage URL are malformed")
	}
	l.PathStyle, l.Checksum = query.Has("endpoint"), true
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if err := l.set(name, query[name]); err != nil {
			problems = append(problems, err)
		}
	}
	if l.KMSKeyID != "" && l.SSE != sseKMS {
		problems = append(problems, errors.New("s3: kms-key-id needs sse=aws:kms"))
	}
	if len(problems) > 0 {
		return Location{}, errors.Join(problems...)
	}
	return l, nil
}

// checkPlace looks at what comes before the parameters.
func (l *Location) checkPlace(u *url.URL) []error {
	var problems []error
	wrong := func(text string) { problems = append(problems, errors.New("s3: "+text)) }
	if u.Scheme != "s3" || u.Opaque != "" {
		wrong("the storage URL must begin with s3://")
	}
	if u.User != nil {
		wrong("credentials don't belong into the storage URL: they come from where the AWS SDK looks")
	}
	if !isBucket(u.Host) {
		wrong("the storage URL must name a bucket after s3://, of 3 to 63 lower-case letters, digits, '-' and '.'")
	}
	if u.Fragment != "" {
		wrong("the storage URL must not have a fragment (#)")
	}
	if l.Prefix != "" && (storage.CheckKey(l.Prefix) != nil || len(l.Prefix) > maxPrefixBytes) {
		wrong(fmt.Sprintf("the prefix may have names of letters, digits, '-', '_' and '.', joined by slashes, and %d bytes in all", maxPrefixBytes))
	}
	return problems
}

// isBucket is a little more generous than AWS: servers differ.
func isBucket(name string) bool {
	return 3 <= len(name) && len(name) <= 63 && !strings.HasPrefix(name, ".") && !strings.ContainsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '.')
	})
}

const sseKMS = "aws:kms"

// set sets a parameter.
func (l *Location) set(name string, values []string) error {
	if len(values) != 1 {
		return fmt.Errorf("s3: %s is there %d times", printable(name), len(values))
	}
	value := values[0]
	var err error
	switch name {
	case "endpoint":
		l.Endpoint, err = parseEndpoint(value)
	case "public-endpoint":
		l.PublicEndpoint, err = parseEndpoint(value)
	case "region":
		l.Region, err = value, mustBe(value != "" && isWord(value), "the name of a region, such as eu-central-1")
	case "path-style":
		l.PathStyle, err = value == "true", mustBe(value == "true" || value == "false", "true or false")
	case "checksum":
		l.Checksum, err = value == "crc32c", mustBe(value == "crc32c" || value == "none", "crc32c or none")
	case "sse":
		l.SSE, err = value, mustBe(value == "AES256" || value == sseKMS, "AES256 or aws:kms")
	case "kms-key-id":
		l.KMSKeyID, err = value, mustBe(value != "" && isWord(value), "the id or ARN of a key")
	case "part-size":
		l.PartSize, err = parsePartSize(value)
	default:
		return fmt.Errorf("s3: the storage URL has no parameter %s", printable(name))
	}
	if err != nil {
		return fmt.Errorf("s3: %s %w", name, err)
	}
	return nil
}

func mustBe(ok bool, what string) error {
	if ok {
		return nil
	}
	return errors.New("must be " + what)
}

// isWord reports whether s can stand in a header or a host's name.
func isWord(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// printable quotes what is short enough to be a slip of the pen.
func printable(name string) string {
	const most = 40
	if len(name) > most {
		name = name[:most] + "…"
	}
	return strconv.Quote(name)
}

func parseEndpoint(value string) (string, error) {
	u, err := url.Parse(value)
	ok := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && isWord(u.Host) &&
		u.User == nil && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == ""
	if !ok {
		return "", errors.New("must be http:// or https:// with a host, and nothing after it")
	}
	return u.Scheme + "://" + u.Host, nil
}

// parsePartSize takes whole bytes, KiB or MiB.
func parsePartSize(value string) (int64, error) {
	number, unit := value, int64(1)
	for name, size := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20} {
		if n, ok := strings.CutSuffix(value, name); ok {
			number, unit = n, size
		}
	}
	n, err := strconv.ParseUint(number, 10, 32)
	if size := int64(n) * unit; err == nil && minPartSize <= size && size <= maxPartSize {
		return size, nil
	}
	return 0, fmt.Errorf("must be a size from %dMiB to %dMiB, such as 8MiB", minPartSize>>20, maxPartSize>>20)
}

// below returns a name below the prefix.
func (l Location) below(name string) string {
	if l.Prefix == "" {
		return name
	}
	return l.Prefix + "/" + name
}
