package client

import (
	"net/http"
	"net/url"
	"testing"
	"time"
)

// What a server answers is not to be trusted either: waits are bounded, and the token goes
// to nowhere that is less protected than where it came from.
func FuzzAnswer(f *testing.F) {
	f.Add("/files/1", "5", "120", []byte(`{"code":"not_found"}`))
	f.Add("http://evil.example/x", "-1", "99999999999999999999", []byte(`<html>`))
	f.Add("//evil.example/\x00", "+5", "Mon, 04 May 2099 09:30:00 GMT", []byte(`null`))
	f.Fuzz(func(t *testing.T, location, offset, wait string, body []byte) {
		base, err := url.Parse("https://audio.example.com")
		if err != nil {
			t.Fatal(err)
		}
		s := &server{base: base}
		if at, err := s.locate(location); err == nil {
			if u, err := url.Parse(at); err != nil || u.Scheme != "https" {
				t.Fatalf("%q leads to %q", location, at)
			}
		}
		if n, err := offsetOf(http.Header{"Upload-Offset": {offset}}, 10); err == nil && (n < 0 || n > 10) {
			t.Fatalf("%q is the offset %d", offset, n)
		}
		if d := retryAfter(wait, time.Unix(0, 0)); d < 0 || d > maxWait {
			t.Fatalf("%q is a wait of %v", wait, d)
		}
		if p := problemOf(&http.Response{StatusCode: 500, Header: http.Header{"Retry-After": {wait}}}, body); p.Status != 500 {
			t.Fatalf("the status is %d", p.Status)
		}
	})
}
