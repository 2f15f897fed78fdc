package s3

import (
	"io"
	"testing"
	"testing/iotest"
)

func TestBody(t *testing.T) {
	t.Parallel()
	b := newBody([]byte("so"), nil, []byte("u"), []byte("nd"))
	// The sums of "sound", as other tools make them.
	if crc := *b.crc32c(); b.size != 5 || crc != "glpreQ==" {
		t.Errorf("size %d, CRC32C %s", b.size, crc)
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
