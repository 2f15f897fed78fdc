package upload_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestShutdownBehindAStalledPhone: a phone has lost its network in the middle of
// a body. The server ends its request and doesn't wait for the rest of the body.
func TestShutdownBehindAStalledPhone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	srv := &http.Server{Handler: r.handler}
	go func() { _ = srv.Serve(l) }()
	data := audio(50_000)
	url := r.create(len(data))
	phone, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer phone.Close()
	path := url[strings.Index(url, "/files/"):]
	_, err = fmt.Fprintf(phone, "PATCH %s HTTP/1.1\r\nHost: x\r\nTest-User: alice\r\nTus-Resumable: 1.0.0\r\n"+
		"Content-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\nContent-Length: %d\r\n\r\n%s", path, len(data), data[:20_000])
	must(t, err)
	waitFor(t, func() bool { return r.received() >= 20_000 })
	r.server.Interrupt()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("the server can't stop: %v", err)
		srv.Close()
	}
	if got := r.offset(url); got != 20_000 {
		t.Errorf("offset %d", got)
	}
}
