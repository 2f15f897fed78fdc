package bench_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"reprise/internal/s3test"
)

const (
	slowPhones = 1000
	// fastPatience is how long the fast client waits for one upload.
	fastPatience = 20 * time.Second
)

// BenchmarkSlowPhones measures what 1,000 phones that trickle at once cost a
// server in memory, and a fast client beside them in time. The server is a
// process of its own, so that its memory is no one else's.
func BenchmarkSlowPhones(b *testing.B) {
	server := s3test.Servers(b)[0]
	for _, peer := range []string{"reprise", "tusd"} {
		b.Run(peer, func(b *testing.B) {
			for b.Loop() {
				base, pid := serveAlone(b, peer, server.URL(server.Bucket(b)))
				fast := make([]byte, 2e6)
				copy(fast, "fLaC")
				lone := fastUpload(b, base, fast)
				idle := residentBytes(b, pid)
				stop := trickle(b, base)
				time.Sleep(6 * time.Second) // several commits of each
				beside := fastUpload(b, base, fast)
				peak := residentBytes(b, pid)
				stop()
				b.ReportMetric(float64(peak)/(1<<20), "MiB-RSS")
				b.ReportMetric(float64(peak-idle)/slowPhones/1024, "KiB/phone")
				b.ReportMetric(ms(lone), "alone-ms")
				b.ReportMetric(ms(beside), "beside-ms")
				b.ReportMetric(float64(beside)/float64(lone), "beside/alone")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// BenchmarkServe is the server process of BenchmarkSlowPhones: it serves the peer
// that the environment names until its standard input ends.
func BenchmarkServe(b *testing.B) {
	storageURL := os.Getenv("BENCH_STORAGE_URL")
	var peer s3Peer
	switch os.Getenv("BENCH_PEER") {
	case "reprise":
		peer = repriseS3(b, storageURL)
	case "tusd":
		peer = tusdS3(b, storageURL)
	default:
		return // `make bench` runs every benchmark
	}
	fmt.Println("serving", peer.url)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// serveAlone starts a process that serves a peer.
func serveAlone(b *testing.B, peer, storageURL string) (base string, pid int) {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$", "-test.bench=^BenchmarkServe$", "-test.benchtime=1x")
	cmd.Env = append(os.Environ(), "BENCH_PEER="+peer, "BENCH_STORAGE_URL="+storageURL)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(b, err)
	out, err := cmd.StdoutPipe()
	must(b, err)
	must(b, cmd.Start())
	b.Cleanup(func() {
		in.Close()
		late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() }) // the phones of stock tusd hold it up
		defer late.Stop()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, after, ok := strings.Cut(lines.Text(), "serving "); ok {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return strings.TrimSpace(after), cmd.Process.Pid
		}
	}
	b.Fatalf("%s did not start", peer)
	return "", 0
}

// residentBytes is the memory that a process has in use, as Linux counts it.
func residentBytes(b *testing.B, pid int) int64 {
	b.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	must(b, err)
	for line := range strings.Lines(string(text)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	b.Fatal("the process has no VmRSS")
	return 0
}

// fastUpload returns the median time of some uploads in one PATCH. One that does
// not come through counts with the time that was waited for it.
func fastUpload(b *testing.B, base string, data []byte) time.Duration {
	b.Helper()
	var m measure
	for range 7 {
		ctx, cancel := context.WithTimeout(b.Context(), fastPatience)
		began := time.Now()
		err := tryUpload(ctx, base, data)
		cancel()
		m.latencies = append(m.latencies, time.Since(began))
		if errors.Is(err, context.DeadlineExceeded) {
			break // nor would the next
		}
		must(b, err)
	}
	return m.percentile(50)
}

func tryUpload(ctx context.Context, base string, data []byte) error {
	location, err := create(ctx, base, len(data))
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, location, strings.NewReader(string(data)))
	if err != nil {
		return err
	}
	for name, value := range map[string]string{"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"} {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("PATCH: %s", resp.Status)
	}
	return nil
}

func create(ctx context.Context, base string, size int) (location string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	req.Header.Set("Upload-Length", strconv.Itoa(size))
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("POST: %s", resp.Status)
	}
	return resp.Header.Get("Location"), nil
}

// trickle lets phones send 4 KiB/s each, in one PATCH that they don't finish.
func trickle(b *testing.B, base string) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var phones sync.WaitGroup
	for range slowPhones {
		phones.Go(func() {
			if err := phone(ctx, base); err != nil && ctx.Err() == nil {
				b.Log(err)
			}
		})
	}
	return func() { cancel(); phones.Wait() }
}

func phone(ctx context.Context, base string) error {
	location, err := create(ctx, base, 50e6)
	if err != nil {
		return err
	}
	at, err := url.Parse(location)
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", at.Host)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: %s\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"+
		"Content-Type: application/offset+octet-stream\r\nContent-Length: 50000000\r\n\r\nfLaC", at.Path, at.Host)
	for tick := time.NewTicker(250 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return nil
		case <-tick.C:
		}
		if _, err := conn.Write(make([]byte, 1024)); err != nil {
			return err
		}
	}
}
