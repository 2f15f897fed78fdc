package s3

import (
	"hash/crc32"
	"io"
	"testing"
	"testing/iotest"
)

func TestBody(t *testing.T) {
	t.Parallel()
	b := newBody([]byte("so"), nil, []byte("u"), []byte("nd"))
	if want := crc32.Checksum([]byte("sound"), crc32.MakeTable(crc32.Castagnoli)); b.size != 5 || b.sum != want {
		t.Errorf("size %d, sum %x, want 5 and %x", b.size, b.sum, want)
	}
	if err := iotest.TestReader(b, []byte("sound")); err != nil {
		t.Error(err)
	}
	if _, err := b.Seek(-1, io.SeekStart); err == nil {
		t.Error("Seek before the beginning succeeds")
	}
	if _, err := b.Seek(0, io.SeekStart); err != nil {
		t.Error(err)
	}
	b.release()
	if n, err := b.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("Read after release = %d, %v", n, err)
	}
	if err := iotest.TestReader(newBody(), nil); err != nil {
		t.Error(err)
	}
}
