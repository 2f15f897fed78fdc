package config

import (
	"strings"
	"testing"
)

func FuzzParseFile(f *testing.F) {
	for _, seed := range []string{"", "\n\n", "#x", "REPRISE_WORKERS=2\r\nX=1", "REPRISE_WORKERS", "=", "REPRISE_=\x00", "REPRISE_WORKER=2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, _ := parseFile(text)
		for key, value := range values {
			if !strings.Contains(text, key+"="+value) || strings.ContainsAny(value, "\n\"'$\\") {
				t.Fatalf("%q gives %q=%q", text, key, value)
			}
		}
	})
}

// A size is read as it is written.
func FuzzBytes(f *testing.F) {
	for _, seed := range []string{"0", "1KiB", "8 MiB", "9223372036854775807", "8388608TiB", "-1", "1kib", "+1", "1e3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var b, again Bytes
		if b.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(b.String())); b < 0 || err != nil || again != b {
			t.Fatalf("%q is %d, written %s, and read again %d (%v)", text, int64(b), b, int64(again), err)
		}
	})
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"abc", ""}: 3, {"", "abc"}: 3, {"abc", "abc"}: 0, {"abc", "axc"}: 1, {"abc", "bc"}: 1, {"kitten", "sitting"}: 3,
	} {
		if got := distance(pair[0], pair[1]); got != want {
			t.Errorf("distance(%q, %q) = %d, want %d", pair[0], pair[1], got, want)
		}
	}
}
