package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	one := []string{"a.wav"}
	tests := map[string]Options{
		"name at least one file":            {},
		"a title is for one file":           {Files: []string{"a.wav", "b.wav"}, Title: "x"},
		"parallel is 1 to 16":               {Files: one, Parallel: 17},
		"at least 1 byte":                   {Files: one, ChunkBytes: -1},
		"trying can't be negative":          {Files: one, RetryFor: -1},
		"rate can't be negative":            {Files: one, MaxBytesPerSecond: -1},
		"between 0% and 100%":               {Files: one, CutAt: 1},
		"not both":                          {Files: one, Token: "a", TokenFile: "b"},
		"the token has characters":          {Files: one, Token: "a\nb"},
		"the token file can't be read":      {Files: one, TokenFile: "/missing"},
		"the server must be a URL":          {Files: one, Server: "localhost:8080"},
		"no user, query or fragment":        {Files: one, Server: "http://me@host"},
		"a URL such as http://127.0.0.1:80": {Files: one, Server: "ftp://host"},
	}
	for text, o := range tests {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			var stderr bytes.Buffer
			o.Stdout, o.Stderr = &stderr, &stderr
			err := Upload(t.Context(), o)
			wantCode(t, said{err: err}, ExitUsage)
			wantText(t, stderr.String(), "reprise: ", text)
			if strings.Contains(stderr.String(), "a\nb") {
				t.Error("the token is told")
			}
		})
	}
}

func TestShare(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Share{"40%": 0.4, "0.25": 0.25, "12.5%": 0.125, "0": 0, "100%": 0, "-1%": 0, "": 0, "%": 0, "x": 0, "NaN": 0, "40 %": 0} {
		var got Share
		err := got.UnmarshalText([]byte(text))
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
}

// TestFindToken is not parallel: it changes the working folder.
func TestFindToken(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(path, content string) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(".reprise/token", "of-dev\n")
	write("file", " of-file\n")
	tests := []struct {
		o    Options
		want string
	}{
		{Options{Token: " given "}, "given"},
		{Options{TokenFile: "file"}, "of-file"},
		{Options{}, "of-dev"},
		{Options{Server: "http://localhost:99"}, "of-dev"},
		{Options{Server: "http://[::1]:99"}, "of-dev"},
		{Options{Server: "https://audio.example.com"}, ""},
		{Options{Server: "http://127.0.0.1.example.com"}, ""},
	}
	for _, test := range tests {
		test.o.Files = []string{"a"}
		if err := test.o.complete(); err != nil || test.o.Token != test.want {
			t.Errorf("%+v: token %q, %v; want %q", test.o.Server, test.o.Token, err, test.want)
		}
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	file, away := &FileError{"empty"}, &UnreachableError{Err: errors.New("refused")}
	token := &Problem{Status: 401}
	tests := []struct {
		err  error
		want int
	}{
		{nil, 0},
		{usagef("x"), 1},
		{errors.Join(fmt.Errorf("a: %w", file)), 2},
		{errors.Join(file, context.Canceled), 130},
		{errors.Join(away, context.Canceled), 3},
		{errors.Join(file, away, token), 4},
		{&UnreachableError{Err: &Problem{Status: 503}}, 3},
		{errors.New("x"), 2},
	}
	for _, test := range tests {
		if got := ExitCode(test.err); got != test.want {
			t.Errorf("%v: %d, want %d", test.err, got, test.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "99999999": maxWait, "soon": 0,
		now.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second,
		now.Add(-time.Hour).Format(http.TimeFormat):       0,
		now.Add(time.Hour).Format(http.TimeFormat):        maxWait,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	p := pace{backoff: time.Second, backoffMax: 10 * time.Second}
	var low, high []time.Duration
	for n := range 6 {
		low, high = append(low, p.backoffFor(n, 0)), append(high, p.backoffFor(n, 1))
	}
	s := time.Second
	if diff := cmp.Diff([]time.Duration{s / 2, s, 2 * s, 4 * s, 5 * s, 5 * s}, low); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]time.Duration{s, 2 * s, 4 * s, 8 * s, 10 * s, 10 * s}, high); diff != "" {
		t.Error(diff)
	}
	if got := p.backoffFor(1000, 1); got != 10*s {
		t.Errorf("after 1000 failures: %v", got)
	}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	tests := []struct{ server, location, want string }{
		{"http://a:1", "/files/x", "http://a:1/files/x"},
		{"http://a:1", "x", "http://a:1/files/x"},
		{"http://a:1/audio", "x", "http://a:1/audio/files/x"},
		{"http://a:1", "http://b/files/x", "http://b/files/x"},
		{"http://a:1", "https://b/files/x", "https://b/files/x"},
		{"https://a", "http://a/files/x", ""},
		{"http://a", "file:///x", ""},
		{"http://a", "", ""},
	}
	for _, test := range tests {
		s, err := newServer(Options{Server: test.server})
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.locate(test.location)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s, %s: %q, %v; want %q", test.server, test.location, got, err, test.want)
		}
	}
}

func changeMiddle(t *testing.T, path string, modified time.Time) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte("changed"), 100_000)
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Chtimes(path, modified, modified)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestFileNames(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/a/talk.WAV": "talk.WAV audio/wav", "/a/b\x1b[31m.m4a": "b_[31m.m4a audio/mp4", "/a/x\xff.opus": "x_.opus audio/ogg",
		"/a/noext": "noext audio/wave", "/a/" + strings.Repeat("ä", 127) + ".x": strings.Repeat("ä", 127) + ". audio/wave",
	} {
		s := &source{path: path, head: []byte("RIFF\x00\x00\x00\x00WAVEfmt ")}
		if got := s.filename() + " " + s.filetype(); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
	if got := (&source{path: "/a/notes.txt", head: []byte("plain words")}).filetype(); got != "" {
		t.Errorf("a text is declared as %q", got)
	}
}
