package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// childEnv, if set, makes the test binary a client that uploads a file: see
// TestGoesOnAfterKill.
const childEnv = "REPRISE_TEST_UPLOAD"

func TestMain(m *testing.M) {
	if job := os.Getenv(childEnv); job != "" {
		server, path, _ := strings.Cut(job, " ")
		o := Options{Files: []string{path}, Server: server, Token: testToken, Stdout: os.Stdout, Stderr: os.Stderr}
		os.Exit(ExitCode(Upload(context.Background(), o)))
	}
	// tusd keeps one for 10 seconds after each request.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/tus/tusd/v2/pkg/handler.newDelayedContext.func1"))
}

// quick is a pace for tests.
func quick() pace {
	return pace{
		firstContact: 300 * time.Millisecond, backoff: 5 * time.Millisecond, backoffMax: 40 * time.Millisecond,
		stall: 300 * time.Millisecond, request: 10 * time.Second, poll: 10 * time.Millisecond, quiet: 5 * time.Second,
	}
}

// said is what a run wrote and returned.
type said struct {
	stdout, stderr string
	err            error
}

// upload runs Upload with the test's token and pace.
func upload(t *testing.T, ctx context.Context, server string, o Options) said {
	t.Helper()
	var stdout, stderr bytes.Buffer
	o.Server, o.Stdout, o.Stderr, o.pace = server, &stdout, &stderr, quick()
	if o.Token == "" {
		o.Token = testToken
	}
	err := Upload(ctx, o)
	t.Logf("stdout:\n%sstderr:\n%s", &stdout, &stderr)
	return said{stdout.String(), stderr.String(), err}
}

// newFile writes a file of so many random bytes.
func newFile(t *testing.T, name string, size int) (path string, content []byte) {
	t.Helper()
	content = make([]byte, size)
	random := rand.NewChaCha8([32]byte{byte(size)})
	_, _ = random.Read(content)
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, content
}

func wantCode(t *testing.T, s said, code int) {
	t.Helper()
	if got := ExitCode(s.err); got != code {
		t.Fatalf("exit code %d, want %d; error: %v", got, code, s.err)
	}
}

func wantText(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
}

func wantArrived(t *testing.T, s *fakeServer, name string, content []byte) {
	t.Helper()
	info, stored := s.upload(name)
	if info.Offset != int64(len(content)) || !bytes.Equal(stored, content) {
		t.Fatalf("the server has %d bytes (offset %d) that are not the %d of %s", len(stored), info.Offset, len(content), name)
	}
}

func TestUpload(t *testing.T) {
	t.Parallel()
	for _, chunk := range []int64{0, 1 << 20, 100_000} {
		t.Run(fmt.Sprint(chunk), func(t *testing.T) {
			t.Parallel()
			s := newFakeServer(t)
			path, content := newFile(t, "talk.wav", 1<<20)
			got := upload(t, t.Context(), s.http.URL, Options{Files: []string{path}, ChunkBytes: chunk, Title: "A talk", Language: "en"})
			wantCode(t, got, ExitDone)
			wantArrived(t, s, "talk.wav", content)
			info, _ := s.upload("talk.wav")
			if info.MetaData["filetype"] != "audio/wav" || info.MetaData["title"] != "A talk" || info.MetaData["language"] != "en" || len(info.MetaData["sha256"]) != 64 {
				t.Errorf("metadata: %v", info.MetaData)
			}
			wantText(t, got.stdout, "talk.wav", "recording", "-17.3 LUFS, range 3.3 LU, true peak -3.0 dBTP", "1:01.2", "/audio?format=aac")
		})
	}
}

func TestGoesOnAfterBrokenConnections(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	path, content := newFile(t, "talk.flac", 2<<20)
	url := newProxy(t, &proxy{limit: func(n int) int64 {
		if n%3 == 2 { // also requests that don't get far
			return 100
		}
		return 400_000
	}}, s.http.URL)
	got := upload(t, t.Context(), url, Options{Files: []string{path}})
	wantCode(t, got, ExitDone)
	wantArrived(t, s, "talk.flac", content)
	wantText(t, got.stderr, "trying again in", "resuming at")
	if n := s.count(http.MethodPatch); n < 5 {
		t.Errorf("%d PATCH requests, want some more", n)
	}
	if n := len(s.byUpload); n != 1 {
		t.Errorf("%d uploads, want 1", n)
	}
}

func TestNoticesAStall(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	path, content := newFile(t, "talk.flac", 8<<20)
	url := newProxy(t, &proxy{stall: true, limit: func(n int) int64 {
		if n == 0 {
			return 500_000
		}
		return -1
	}}, s.http.URL)
	got := upload(t, t.Context(), url, Options{Files: []string{path}})
	wantCode(t, got, ExitDone)
	wantArrived(t, s, "talk.flac", content)
	wantText(t, got.stderr, "the connection stalled; trying again")
}

func TestGoesOnAfterKill(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	path, content := newFile(t, "talk.wav", 4<<20)
	slow := newProxy(t, &proxy{pause: 10 * time.Millisecond, limit: func(int) int64 { return -1 }}, s.http.URL)

	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+slow+" "+path)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	received := func() int64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		for id := range s.byUpload {
			if stat, err := os.Stat(filepath.Join(s.dir, id)); err == nil {
				return stat.Size()
			}
		}
		return 0
	}
	for received() < 1<<20 {
		time.Sleep(5 * time.Millisecond)
	}
	if err := child.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the client ended before it was killed")
	}

	got := upload(t, t.Context(), s.http.URL, Options{Files: []string{path}, JSON: true})
	wantCode(t, got, ExitDone)
	wantArrived(t, s, "talk.wav", content)
	var result jsonResult
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil {
		t.Fatal(err)
	}
	if result.ResumedFrom < 1<<20 || result.ResumedFrom >= 4<<20 || result.AlreadyComplete {
		t.Errorf("resumed from %d, already complete: %v", result.ResumedFrom, result.AlreadyComplete)
	}
}

func TestAgain(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	path, content := newFile(t, "talk.wav", 100_000)
	wantCode(t, upload(t, t.Context(), s.http.URL, Options{Files: []string{path, path}}), ExitDone)
	got := upload(t, t.Context(), s.http.URL, Options{Files: []string{path}})
	wantCode(t, got, ExitDone)
	wantText(t, got.stderr, "the server has it already")
	wantText(t, got.stdout, "recording")
	if n := s.count(http.MethodPatch); n != 1 || len(s.byUpload) != 1 {
		t.Errorf("%d PATCH requests, %d uploads; want 1, 1", n, len(s.byUpload))
	}
	wantCode(t, upload(t, t.Context(), s.http.URL, Options{Files: []string{path}, Again: true}), ExitDone)
	if len(s.byUpload) != 2 {
		t.Errorf("%d uploads after --again, want 2", len(s.byUpload))
	}
	wantArrived(t, s, "talk.wav", content)
}

func TestRateIsBounded(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	first, content := newFile(t, "first.wav", 300_000)
	second, _ := newFile(t, "second.wav", 300_001)
	begin := time.Now()
	got := upload(t, t.Context(), s.http.URL, Options{Files: []string{first, second}, Parallel: 2, MaxBytesPerSecond: 1_000_000})
	wantCode(t, got, ExitDone)
	wantArrived(t, s, "first.wav", content)
	if took := time.Since(begin); took < 500*time.Millisecond {
		t.Errorf("600 kB at 1 MB/s took %v", took)
	}
}

func TestCutAt(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	path, content := newFile(t, "talk.wav", 1<<20)
	got := upload(t, t.Context(), s.http.URL, Options{Files: []string{path}, CutAt: 0.4})
	wantCode(t, got, ExitDone)
	wantArrived(t, s, "talk.wav", content)
	wantText(t, got.stderr, "connection cut on purpose", "resuming at ")
	// One more when the server answers the HEAD before it has noticed the cut: the
	// PATCH that follows is at an old offset then.
	if n := s.count(http.MethodPatch); n < 2 || n > 3 {
		t.Errorf("%d PATCH requests, want 2 or 3", n)
	}
}

func TestFilesThatCannotBeUploaded(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	empty, _ := newFile(t, "empty.wav", 0)
	good, content := newFile(t, "good.wav", 1000)
	got := upload(t, t.Context(), s.http.URL, Options{Files: []string{empty, dir, filepath.Join(dir, "missing.wav"), pipe, good}})
	wantCode(t, got, ExitFailed)
	wantText(t, got.stderr, "empty.wav: it is empty", ": it is a folder", "missing.wav: it can't be read: no such file or directory", "pipe: it is not a regular file")
	wantArrived(t, s, "good.wav", content)
}

func TestFileThatChanges(t *testing.T) {
	t.Parallel()
	for _, middle := range []bool{false, true} {
		t.Run(fmt.Sprint("middle ", middle), func(t *testing.T) {
			t.Parallel()
			path, _ := newFile(t, "talk.wav", 1<<20)
			other, content := newFile(t, "other.wav", 1000)
			var once sync.Once
			s := newFakeServer(t, func(s *fakeServer) {
				s.refuse = func(r *http.Request) *Problem {
					if r.Method == http.MethodPatch == middle {
						once.Do(func() { appendTo(t, path) })
					}
					return nil
				}
			})
			got := upload(t, t.Context(), s.http.URL, Options{Files: []string{path, other}, ChunkBytes: 100_000})
			wantCode(t, got, ExitFailed)
			wantText(t, got.stderr, "talk.wav: it changed while it was being uploaded")
			wantArrived(t, s, "other.wav", content)
			if n := s.count(http.MethodDelete); n != 1 {
				t.Errorf("%d DELETE requests, want 1: the upload is of no use", n)
			}
		})
	}
}

func appendTo(t *testing.T, path string) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("more")
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Error(err)
	}
}

func TestParallel(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	var files []string
	contents := make(map[string][]byte)
	for i := range 7 {
		name := fmt.Sprintf("talk-%d.wav", i)
		path, content := newFile(t, name, 50_000+i)
		files, contents[name] = append(files, path), content
	}
	got := upload(t, t.Context(), s.http.URL, Options{Files: files, Parallel: 3, JSON: true})
	wantCode(t, got, ExitDone)
	for name, content := range contents {
		wantArrived(t, s, name, content)
	}
	if n := strings.Count(got.stdout, "\n"); n != 7 {
		t.Errorf("%d lines of JSON, want 7", n)
	}
	if got.stderr != "" {
		t.Errorf("a script's stderr: %s", got.stderr)
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	s := newFakeServer(t, func(s *fakeServer) {
		s.refuse = func(r *http.Request) *Problem {
			if r.Method == http.MethodPatch {
				interrupt()
			}
			return nil
		}
	})
	first, _ := newFile(t, "first.wav", 4<<20)
	second, _ := newFile(t, "second.wav", 10)
	got := upload(t, ctx, s.http.URL, Options{Files: []string{first, second}})
	wantCode(t, got, ExitInterrupted)
	wantText(t, got.stderr, "Interrupted. Run the same command again to resume.")
	if n := s.count(http.MethodPost); n != 1 {
		t.Errorf("%d uploads were created, want 1", n)
	}
}
