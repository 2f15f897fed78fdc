package s3

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reprise/storage"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	tests := []struct {
		url  string
		want Location
	}{
		{"s3://recordings", Location{Bucket: "recordings", Checksum: true, PartSize: 8 << 20}},
		{"s3://recordings/", Location{Bucket: "recordings", Checksum: true, PartSize: 8 << 20}},
		{
			"s3://my.bucket-1/a/b_c/?region=eu-central-1",
			Location{Bucket: "my.bucket-1", Prefix: "a/b_c", Region: "eu-central-1", Checksum: true, PartSize: 8 << 20},
		},
		{
			"s3://recordings?endpoint=http://127.0.0.1:9000/&checksum=none&part-size=5242880",
			Location{Bucket: "recordings", Endpoint: "http://127.0.0.1:9000", PathStyle: true, PartSize: 5 << 20},
		},
		{
			"s3://recordings?endpoint=https%3A%2F%2Fs3.example.com&path-style=false&public-endpoint=https://files.example.com&sse=aws:kms&kms-key-id=arn:aws:kms:eu-central-1:1:key/2&part-size=16MiB",
			Location{
				Bucket: "recordings", Endpoint: "https://s3.example.com", PublicEndpoint: "https://files.example.com",
				Checksum: true, SSE: "aws:kms", KMSKeyID: "arn:aws:kms:eu-central-1:1:key/2", PartSize: 16 << 20,
			},
		},
		{
			"s3://recordings?sse=AES256&path-style=true&checksum=crc32c&part-size=8192KiB",
			Location{Bucket: "recordings", PathStyle: true, Checksum: true, SSE: "AES256", PartSize: 8 << 20},
		},
	}
	for _, test := range tests {
		got, err := ParseURL(test.url)
		if err != nil {
			t.Errorf("ParseURL(%q): %v", test.url, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("ParseURL(%q) (-want +got):\n%s", test.url, diff)
		}
	}
}

func TestParseURLErrors(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"":                                                  "must begin with s3://",
		"https://recordings":                                "must begin with s3://",
		"s3:recordings":                                     "must begin with s3://",
		"s3://":                                             "must name a bucket",
		"s3:///prefix":                                      "must name a bucket",
		"s3://Recordings":                                   "must name a bucket",
		"s3://recordings:9000":                              "must name a bucket",
		"s3://r":                                            "must name a bucket",
		"s3://key:secret@recordings":                        "credentials don't belong",
		"s3://recordings#fragment":                          "fragment",
		"s3://recordings/a//b":                              "prefix",
		"s3://recordings/a/../b":                            "prefix",
		"s3://recordings/ä":                                 "prefix",
		"s3://recordings/" + long(257):                      "prefix",
		"s3://recordings/%zz":                               "not a URL",
		"s3://recordings?a=%zz":                             "malformed",
		"s3://recordings?a=b;c":                             "malformed",
		"s3://recordings?regoin=eu":                         `no parameter "regoin"`,
		"s3://recordings?Region=eu":                         `no parameter "Region"`,
		"s3://recordings?region=a&region=b":                 `"region" is there 2 times`,
		"s3://recordings?region=":                           "region must be",
		"s3://recordings?region=a%20b":                      "region must be",
		"s3://recordings?endpoint=":                         "endpoint must be",
		"s3://recordings?endpoint=host:9000":                "endpoint must be",
		"s3://recordings?endpoint=ftp://host":               "endpoint must be",
		"s3://recordings?endpoint=http://key:secret@host":   "endpoint must be",
		"s3://recordings?endpoint=http://host/path":         "endpoint must be",
		"s3://recordings?endpoint=http://host?secret":       "endpoint must be",
		"s3://recordings?public-endpoint=host":              "public-endpoint must be",
		"s3://recordings?path-style=yes":                    "path-style must be true or false",
		"s3://recordings?checksum=md5":                      "checksum must be crc32c or none",
		"s3://recordings?sse=aes256":                        "sse must be AES256 or aws:kms",
		"s3://recordings?kms-key-id=1":                      "kms-key-id needs sse=aws:kms",
		"s3://recordings?sse=AES256&kms-key-id=1":           "kms-key-id needs sse=aws:kms",
		"s3://recordings?sse=aws:kms&kms-key-id=":           "kms-key-id must be",
		"s3://recordings?part-size=8MB":                     "part-size must be a size from 5MiB to 64MiB",
		"s3://recordings?part-size=4MiB":                    "part-size must be",
		"s3://recordings?part-size=65MiB":                   "part-size must be",
		"s3://recordings?part-size=-8MiB":                   "part-size must be",
		"s3://recordings?part-size=18446744073709551615MiB": "part-size must be",
		"s3://recordings?part-size=":                        "part-size must be",
	}
	for text, want := range tests {
		_, err := ParseURL(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseURL(%q) = %v, want %q in it", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("ParseURL(%q) gives a secret away: %v", text, err)
		}
	}
	// All that is wrong is said at once.
	_, err := ParseURL("s3://r?sse=x&checksum=x")
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("ParseURL = %v, want three problems", err)
	}
}

func long(n int) string { return strings.Repeat("n", n) }

func FuzzParseURL(f *testing.F) {
	f.Add("s3://recordings/a/b?endpoint=http://127.0.0.1:9000&region=r&path-style=true&part-size=8MiB")
	f.Add("s3://recordings?checksum=none&sse=aws:kms&kms-key-id=1&public-endpoint=https://host")
	f.Add("s3://key:secret@recordings#x")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseURL(text)
		if err != nil {
			if diff := cmp.Diff(Location{}, l); diff != "" {
				t.Errorf("a Location comes with the error %v: %s", err, diff)
			}
			return
		}
		if !isBucket(l.Bucket) || l.Prefix != "" && storage.CheckKey(l.Prefix) != nil {
			t.Errorf("bucket %q, prefix %q", l.Bucket, l.Prefix)
		}
		if l.PartSize < minPartSize || l.PartSize > maxPartSize || l.KMSKeyID != "" && l.SSE != sseKMS {
			t.Errorf("got %+v", l)
		}
		for _, endpoint := range []string{l.Endpoint, l.PublicEndpoint} {
			if u, err := url.Parse(endpoint); endpoint != "" && (err != nil || u.Host == "" || u.User != nil || u.Path != "") {
				t.Errorf("endpoint %q: %v", endpoint, err)
			}
		}
	})
}
