package upload_test

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
	"reprise/upload"
)

func sha1Of(p []byte) string {
	sum := sha1.Sum(p)
	return "sha1 " + base64.StdEncoding.EncodeToString(sum[:])
}

// row is the ledger's view of alice's upload.
func (r *rig) row(url string) recording.Upload {
	r.t.Helper()
	u, err := r.catalog.FindUpload(r.t.Context(), r.alice, uuid.MustParse(url[strings.LastIndex(url, "/")+1:]))
	must(r.t, err)
	return u
}

// TestChecksum: a damaged chunk is discarded as a whole, in the middle and at the
// end of an upload, and the upload goes on as if it had never come.
func TestChecksum(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := audio(90_000)
	damaged := bytes.Clone(data)
	for i := 0; i < len(damaged); i += 10_000 {
		damaged[i] ^= 1
	}
	url := r.create(len(data))
	for at := 0; at < len(data); at += 30_000 {
		chunk := data[at : at+30_000]
		before := r.row(url)
		a := r.patch(url, at, damaged[at:at+30_000], "Upload-Checksum", sha1Of(chunk))
		if a.status != 460 || a.code != "checksum_mismatch" {
			t.Fatalf("damaged chunk at %d: %d %s", at, a.status, a.body)
		}
		if got := r.offset(url); got != at {
			t.Fatalf("offset %d after a damaged chunk at %d", got, at)
		}
		if after := r.row(url); after.State != recording.UploadReceiving || after.PartNumber < before.PartNumber || !bytes.Equal(after.HashState, before.HashState) {
			t.Errorf("the damaged chunk left %+v of %+v", after, before)
		}
		if a := r.patch(url, at, chunk, "Upload-Checksum", sha1Of(chunk)); a.status != http.StatusNoContent {
			t.Fatalf("chunk at %d: %d %s", at, a.status, a.body)
		}
	}
	r.wantReceived(url, data)
}

// TestChecksumOfFirstBytes: damaged bytes are no reason to refuse an upload, and
// undamaged ones that are not audio still are.
func TestChecksumOfFirstBytes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := audio(1000)
	url := r.create(len(data))
	text := bytes.Repeat([]byte("<html>"), 20)
	if a := r.patch(url, 0, text, "Upload-Checksum", sha1Of(data[:len(text)])); a.status != 460 {
		t.Errorf("damaged: %d %s", a.status, a.body)
	}
	if a := r.patch(url, 0, data, "Upload-Checksum", sha1Of(data)); a.status != http.StatusNoContent {
		t.Errorf("sent again: %d %s", a.status, a.body)
	}
	r.wantReceived(url, data)
	url = r.create(len(data))
	if a := r.patch(url, 0, text, "Upload-Checksum", sha1Of(text)); a.status != http.StatusUnsupportedMediaType {
		t.Errorf("text: %d %s", a.status, a.body)
	}
}

func TestChecksumOfCreation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := audio(1000)
	post := func(p []byte) answer {
		return r.do(http.MethodPost, r.url+"/files/", bytes.NewReader(p), "Upload-Length", "1000",
			"Content-Type", "application/offset+octet-stream", "Upload-Checksum", sha1Of(data))
	}
	if a := post(data); a.status != http.StatusCreated || a.header.Get("Upload-Offset") != "1000" {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	a := post(append([]byte("fLaC?"), data[5:]...))
	if a.status != 460 {
		t.Fatalf("damaged: %d %s", a.status, a.body)
	}
	// A client that reads the answer finds the upload there, empty.
	if url := a.header.Get("Location"); url != "" && r.offset(url) != 0 {
		t.Errorf("offset %d", r.offset(url))
	}
}

func TestChecksumHeader(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := audio(100)
	url := r.create(len(data))
	for _, header := range []string{"sha1", "sha512 " + strings.Repeat("A", 88), "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "sha1 Kq5s", "md5 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "sha1 ????"} {
		if a := r.patch(url, 0, data, "Upload-Checksum", header); a.status != http.StatusBadRequest || a.code != "invalid_request" {
			t.Errorf("%s: %d %s", header, a.status, a.body)
		}
	}
	if got := r.offset(url); got != 0 {
		t.Errorf("offset %d", got)
	}
	if got := r.do(http.MethodOptions, url, nil).header.Get("Tus-Checksum-Algorithm"); got != "sha1,sha256,md5,crc32c" {
		t.Errorf("Tus-Checksum-Algorithm is %q", got)
	}
}

// TestChecksumWaits: a slow phone's chunk is not committed before its checksum
// can be compared, however long it takes, and not at all if the rest never comes:
// not even the last byte of the file.
func TestChecksumWaits(t *testing.T) {
	t.Parallel()
	start := time.Now()
	r := newRig(t, func(o *upload.Options) {
		o.Now = func() time.Time { return start.Add(time.Since(start) * 60) } // the interval between commits is over soon
	})
	data := audio(30_000)
	t.Run("interrupted", func(t *testing.T) {
		url := r.create(len(data))
		body, phone := io.Pipe()
		hung := make(chan answer)
		go func() {
			hung <- r.do(http.MethodPatch, url, body, "Upload-Offset", "0", "Upload-Checksum", sha1Of(data))
		}()
		for at := 0; at < len(data); at += 1000 { // every byte, but no end
			_, err := phone.Write(data[at : at+1000])
			must(t, err)
			time.Sleep(5 * time.Millisecond)
		}
		if u := r.row(url); u.Offset != 0 {
			t.Errorf("offset %d while the checksum is pending", u.Offset)
		}
		if got := r.offset(url); got != 0 {
			t.Errorf("offset %d after the request was interrupted", got)
		}
		if a := <-hung; a.status != http.StatusConflict {
			t.Errorf("the hung request got %d %s", a.status, a.body)
		}
		phone.Close()
		if a := r.patch(url, 0, data, "Upload-Checksum", sha1Of(data)); a.status != http.StatusNoContent {
			t.Errorf("sent again: %d %s", a.status, a.body)
		}
		r.wantReceived(url, data)
	})
	t.Run("cut off", func(t *testing.T) {
		url := r.create(len(data))
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		must(t, err)
		defer conn.Close()
		// The checksum is that of what comes, so only the missing end tells.
		_, err = fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nTest-User: alice\r\nTus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\n"+
			"Upload-Offset: 0\r\nUpload-Checksum: %s\r\nContent-Length: 30000\r\n\r\n%s", url[strings.Index(url, "/files/"):], sha1Of(data[:20_000]), data[:20_000])
		must(t, err)
		must(t, conn.(*net.TCPConn).CloseWrite())
		got, err := io.ReadAll(conn)
		must(t, err)
		if !bytes.Contains(got, []byte("400 Bad Request")) {
			t.Errorf("got %s", got)
		}
		if got := r.offset(url); got != 0 {
			t.Errorf("offset %d", got)
		}
	})
}

// TestChecksumOfTooMuch: more than can be kept without a commit is refused at once.
func TestChecksumOfTooMuch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	must(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nTest-User: alice\r\nTus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\n"+
		"Upload-Offset: 0\r\nUpload-Checksum: %s\r\nContent-Length: %d\r\n\r\n", "/files/"+uuid.NewString(), sha1Of(nil), 64<<20+1)
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d", resp.StatusCode)
	}
}
