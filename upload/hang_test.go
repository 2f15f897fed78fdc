package upload_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reprise/internal/pgtest"
	"reprise/recording"
	"reprise/storage/disk"
	"reprise/upload"
)

// TestIdlePhone: a phone sends nothing in the middle of a body. What it has sent is
// committed while its request hangs on, and so is what comes later.
func TestIdlePhone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := audio(90_000)
	url := r.create(len(data))
	phone, hung := r.hang(url, "0", data[:30_000])
	for _, at := range []int64{30_000, 60_000} {
		waitFor(t, func() bool { return r.row(url).Offset == at })
		if !r.row(url).Writing() {
			t.Errorf("at %d the ledger takes the request for ended", at)
		}
		if at < 60_000 {
			_, err := phone.Write(data[30_000:60_000])
			must(t, err)
		}
	}
	_, err := phone.Write(data[60_000:])
	must(t, err)
	// Every byte is there, and the body has no end yet.
	waitFor(t, func() bool { return r.row(url).State == recording.UploadReceived })
	phone.Close()
	if a := <-hung; a.status != http.StatusNoContent || a.header.Get("Upload-Offset") != strconv.Itoa(len(data)) {
		t.Errorf("got %d %v %s", a.status, a.header, a.body)
	}
	r.wantReceived(url, data)
}

// TestStorageFailsBehindIdlePhone: the phone learns it at once, not when it sends
// more or its connection times out.
func TestStorageFailsBehindIdlePhone(t *testing.T) {
	t.Parallel()
	store, err := disk.New(t.TempDir())
	must(t, err)
	var broken atomic.Bool
	r := newRigOn(t, pgtest.New(t), store, failingStorage{store, func(at string) error {
		if broken.Load() && at == "flush" {
			return io.ErrShortWrite
		}
		return nil
	}}, func(o *upload.Options) { o.ReadTimeout = time.Hour })
	data := audio(90_000)
	url := r.create(len(data))
	broken.Store(true)
	_, hung := r.hang(url, "0", data[:30_000])
	select {
	case a := <-hung:
		if a.status != http.StatusInternalServerError || a.header.Get("Connection") == "keep-alive" {
			t.Errorf("got %d %v", a.status, a.header)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("no answer within 30 seconds")
	}
	broken.Store(false)
	if got := r.offset(url); got != 0 {
		t.Errorf("offset %d", got)
	}
	if a := r.patch(url, 0, data); a.status != http.StatusNoContent {
		t.Errorf("patch: %d %s", a.status, a.body)
	}
	r.wantReceived(url, data)
}

// TestRefusedWhileItSends: a request is answered before its body has come. Its
// upload is nobody's at once, and the connection serves the next request or closes.
func TestRefusedWhileItSends(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := audio(50_000)
	url := r.create(len(data))
	path := url[strings.Index(url, "/files/"):]
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	must(t, err)
	defer conn.Close()
	// One byte too many, which the header says already.
	_, err = fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nTest-User: alice\r\nTus-Resumable: 1.0.0\r\n"+
		"Content-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\nContent-Length: %d\r\n\r\n%s", path, len(data)+1, data[:1000])
	must(t, err)
	sent := make(chan struct{})
	go func() { // or the server would wait for the body, as it does for small ones
		defer close(sent)
		_, _ = conn.Write(append(bytes.Clone(data[1000:]), 0))
	}()
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	must(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d", resp.StatusCode)
	}
	if u := r.row(url); u.Writing() || u.WriterOpen {
		t.Errorf("the upload is still being written: %+v", u)
	}
	<-sent
	if resp.Close {
		return
	}
	_, err = fmt.Fprintf(conn, "HEAD %s HTTP/1.1\r\nHost: x\r\nTest-User: alice\r\n\r\n", path)
	must(t, err)
	resp, err = http.ReadResponse(in, &http.Request{Method: http.MethodHead})
	must(t, err)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Upload-Offset") != "0" {
		t.Errorf("the next request got %d %v", resp.StatusCode, resp.Header)
	}
}
