package clients

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"testing"
)

// TestDraft uploads as iOS does by itself, by the IETF's draft: the file in one
// request, whose connection breaks, and the rest once the offset is known. Unlike in
// the tests of the upload server, the 104 passes through every layer of the real one.
func TestDraft(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	u := s.user(t, "alice")
	path := makeBigWAV(t)
	data := readFile(t, path)
	begun := make(chan textproto.MIMEHeader, 1)
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if code == 104 {
			begun <- h
		}
		return nil
	}})
	body, phone := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/files/", body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = int64(len(data))
	for name, value := range map[string]string{
		"Authorization": "Bearer " + u.token, "Upload-Draft-Interop-Version": "6", "Upload-Complete": "?1",
		"Content-Type": "audio/wav", "Content-Disposition": `attachment; filename="big.wav"`,
	} {
		req.Header.Set(name, value)
	}
	ended := make(chan error, 1)
	go func() {
		resp, err := s.http.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		ended <- err
	}()
	told := <-begun
	if _, err := io.Copy(phone, bytes.NewReader(data[:len(data)/2])); err != nil {
		t.Fatal(err)
	}
	phone.CloseWithError(errors.New("no network"))
	if err := <-ended; err == nil {
		t.Error("the request that broke off has an answer")
	}

	url := told.Get("Location")
	draft := []string{"Upload-Draft-Interop-Version", "6", "Upload-Complete", "?1", "Content-Type", "application/partial-upload"}
	var last answer
	for range 5 {
		asked := u.do(http.MethodHead, url, nil, draft[:2]...)
		offset, err := strconv.Atoi(asked.header.Get("Upload-Offset"))
		if err != nil || offset > len(data)/2 || asked.header.Get("Upload-Complete") != "?0" {
			t.Fatal(asked)
		}
		last = u.do(http.MethodPatch, url, data[offset:], append(draft, "Upload-Offset", strconv.Itoa(offset))...)
		// The broken request may have got its turn only behind the HEAD: then what it had
		// brought counts now, and a client asks again.
		if last.status != http.StatusConflict {
			break
		}
	}
	if last.status != http.StatusNoContent || last.header.Get("Upload-Complete") != "?1" {
		t.Fatal(last)
	}
	id := told.Get("Reprise-Recording")
	u.checkStored(id, path)
	if r := u.recording(id); r.Filename != "big.wav" {
		t.Errorf("filename %q", r.Filename)
	}
}
