package upload

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/iotest"
	"time"
)

// someBody is a request's body whose deadlines lead nowhere.
func someBody() *interruptibleBody {
	return &interruptibleBody{ReadCloser: http.NoBody, control: http.NewResponseController(httptest.NewRecorder())}
}

// TestIntakeBytes: every byte comes once and in order, however the body is read.
func TestIntakeBytes(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // 3.2 MB, so large buffers are used
	for name, src := range map[string]io.Reader{
		"whole":           bytes.NewReader(data),
		"halves":          iotest.HalfReader(bytes.NewReader(data)),
		"error with data": iotest.DataErrReader(bytes.NewReader(data)),
	} {
		b := newBuffers()
		in := newIntake(b, src)
		var got []byte
		for {
			p, ok := in.next(time.Minute)
			if !ok {
				t.Fatal("nothing came")
			}
			got = append(got, p.bytes...)
			if p.err != nil {
				break
			}
		}
		in.close(someBody())
		if !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes came of %d", name, len(got), len(data))
		}
		if n := len(b.taken); n != 0 {
			t.Errorf("%s: %d large buffers are still in use", name, n)
		}
	}
}

// TestIntakeMemory: however many phones stall after a burst, they hold a bounded
// number of large buffers, and those that send little give theirs back.
func TestIntakeMemory(t *testing.T) {
	t.Parallel()
	b := newBuffers()
	var phones []*io.PipeWriter
	var intakes []*intake
	for range maxLargeBuffers + 50 {
		src, phone := io.Pipe()
		in := newIntake(b, src)
		phones, intakes = append(phones, phone), append(intakes, in)
		go func() { _, _ = phone.Write(make([]byte, 10*smallBufferBytes)) }()
		for n := 0; n < 10*smallBufferBytes; {
			p, ok := in.next(time.Minute)
			if !ok {
				t.Fatal("nothing came")
			}
			n += len(p.bytes)
		}
	}
	if n := len(b.taken); n > maxLargeBuffers || n == 0 {
		t.Errorf("%d large buffers are in use, at most %d may be", n, maxLargeBuffers)
	}
	for i, in := range intakes { // now they trickle: the first pieces may still be read into large ones
		for range 4 {
			go func() { _, _ = phones[i].Write([]byte{1}) }()
			if _, ok := in.next(time.Minute); !ok {
				t.Fatal("nothing came")
			}
		}
		in.release()
	}
	if n := len(b.taken); n != 0 {
		t.Errorf("trickling phones hold %d large buffers", n)
	}
	for i, in := range intakes {
		phones[i].Close()
		in.close(someBody())
	}
}

// TestIntakeClosedEarly: whoever stops reading waits for the Read that is under
// way, and leaves nothing behind.
func TestIntakeClosedEarly(t *testing.T) {
	t.Parallel()
	for pieces := range 4 {
		b := newBuffers()
		src, phone := io.Pipe()
		in := newIntake(b, src)
		go func() {
			for range pieces + 1 {
				if _, err := phone.Write(make([]byte, smallBufferBytes)); err != nil {
					return
				}
			}
			<-time.After(20 * time.Millisecond) // close waits by now
			phone.CloseWithError(io.ErrUnexpectedEOF)
		}()
		for range pieces {
			if _, ok := in.next(time.Minute); !ok {
				t.Fatal("nothing came")
			}
		}
		in.close(someBody())
		if n := len(b.taken); n != 0 {
			t.Errorf("after %d pieces %d large buffers are still in use", pieces, n)
		}
		if _, ok := <-in.pieces; ok {
			t.Error("it still reads")
		}
	}
}
