package disk_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"reprise/recording"
	"reprise/storage/disk"
)

const (
	benchBytes = 200 << 20
	benchChunk = 512 << 10
	benchFlush = 16 << 20
)

// BenchmarkWriter writes 200 MiB with a Flush every 16 MiB, as an upload does.
func BenchmarkWriter(b *testing.B) {
	store, err := disk.New(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	chunk := bytes.Repeat([]byte("sound"), benchChunk/5+1)[:benchChunk]
	b.SetBytes(benchBytes)
	for b.Loop() {
		id := recording.NewID()
		w, err := store.NewWriter(b.Context(), recording.Upload{ID: id, Epoch: 1})
		if err != nil {
			b.Fatal(err)
		}
		for n := 0; n < benchBytes; n += benchChunk {
			if _, err := w.Write(chunk); err != nil {
				b.Fatal(err)
			}
			if (n+benchChunk)%benchFlush == 0 || n+benchChunk == benchBytes {
				if _, err := w.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := store.DiscardParts(b.Context(), recording.Upload{ID: id}); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkFileWithoutSync is what a store does that never waits for the disk.
func BenchmarkFileWithoutSync(b *testing.B) {
	chunk := bytes.Repeat([]byte("sound"), benchChunk/5+1)[:benchChunk]
	name := filepath.Join(b.TempDir(), "file")
	b.SetBytes(benchBytes)
	for b.Loop() {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			b.Fatal(err)
		}
		for n := 0; n < benchBytes; n += benchChunk {
			if _, err := f.Write(chunk); err != nil {
				b.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := os.Remove(name); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
