package speech

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"
)

// The one kind of WAV file that engines are given.
const (
	sampleRateHz = 16000
	sampleBytes  = 2 // one channel of 16 bit
	sampleTime   = time.Second / sampleRateHz
)

const (
	riffHeaderBytes  = 12
	chunkHeaderBytes = 8
	fmtBytes         = 16 // that are looked at: newer versions add more
	formatPCM        = 1
	maxChunks        = 64 // before the samples; ffmpeg writes two
	maxSamplesBytes  = math.MaxUint32 - 64
)

// WriteSpan writes a span of a WAV file to another one, to the sample. The source has
// one channel, 16 kHz and 16 bit. What the span has beyond the end of the source is
// left out; a span that is wholly beyond it is an error.
func WriteSpan(src, dst string, s Span) (err error) {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	samples, err := findSamples(in, info.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", src, err)
	}
	from := min(int64(s.Start/sampleTime)*sampleBytes, samples.Size())
	length := min(int64(s.End/sampleTime)*sampleBytes, samples.Size()) - from
	if s.Start < 0 || length <= 0 || length > maxSamplesBytes {
		return fmt.Errorf("%s: no file can be made of the sound from %s to %s", src, s.Start, s.End)
	}
	out, err := os.Create(dst)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := out.Write(wavHeader(length)); err != nil {
		return err
	}
	_, err = io.Copy(out, io.NewSectionReader(samples, from, length))
	return err
}

// findSamples returns where in a WAV file of the given size the samples are.
func findSamples(r io.ReaderAt, size int64) (*io.SectionReader, error) {
	var riff [riffHeaderBytes]byte
	if _, err := r.ReadAt(riff[:], 0); err != nil {
		return nil, fmt.Errorf("no WAV file: %w", err)
	}
	if string(riff[:4]) != "RIFF" || string(riff[8:]) != "WAVE" {
		return nil, errors.New("no WAV file")
	}
	known := false
	at := int64(riffHeaderBytes)
	for range maxChunks {
		var head [chunkHeaderBytes]byte
		if _, err := r.ReadAt(head[:], at); err != nil {
			return nil, fmt.Errorf("the WAV file ends before its samples: %w", err)
		}
		at += chunkHeaderBytes
		length := int64(binary.LittleEndian.Uint32(head[4:]))
		switch string(head[:4]) {
		case "fmt ":
			if err := checkFormat(r, at, length); err != nil {
				return nil, err
			}
			known = true
		case "data":
			if !known {
				return nil, errors.New("the WAV file does not say what its samples are")
			}
			// Whoever writes to a pipe can't know the length, and says the largest.
			length = min(length, size-at)
			return io.NewSectionReader(r, at, length-length%sampleBytes), nil
		}
		at += length + length%2 // chunks begin at even offsets
	}
	return nil, fmt.Errorf("there are no samples in the first %d chunks of the WAV file", maxChunks)
}

// checkFormat checks that a format chunk is that of the one kind.
func checkFormat(r io.ReaderAt, at, length int64) error {
	var f [fmtBytes]byte
	if length < fmtBytes {
		return fmt.Errorf("the WAV file's format has %d bytes", length)
	}
	if _, err := r.ReadAt(f[:], at); err != nil {
		return fmt.Errorf("the WAV file ends in its format: %w", err)
	}
	format, channels, bits := binary.LittleEndian.Uint16(f[0:]), binary.LittleEndian.Uint16(f[2:]), binary.LittleEndian.Uint16(f[14:])
	rateHz := binary.LittleEndian.Uint32(f[4:])
	if format != formatPCM || channels != 1 || rateHz != sampleRateHz || bits != 8*sampleBytes {
		return fmt.Errorf("the WAV file has format %d, %d channels, %d Hz and %d bit", format, channels, rateHz, bits)
	}
	return nil
}

// wavHeader is what comes before so many bytes of samples.
func wavHeader(length int64) []byte {
	h := append([]byte(nil), "RIFF\x00\x00\x00\x00WAVEfmt "...)
	binary.LittleEndian.PutUint32(h[4:], uint32(riffHeaderBytes-8+chunkHeaderBytes+fmtBytes+chunkHeaderBytes+length))
	h = binary.LittleEndian.AppendUint32(h, fmtBytes)
	h = binary.LittleEndian.AppendUint16(h, formatPCM)
	h = binary.LittleEndian.AppendUint16(h, 1)
	h = binary.LittleEndian.AppendUint32(h, sampleRateHz)
	h = binary.LittleEndian.AppendUint32(h, sampleRateHz*sampleBytes)
	h = binary.LittleEndian.AppendUint16(h, sampleBytes)
	h = binary.LittleEndian.AppendUint16(h, 8*sampleBytes)
	h = append(h, "data"...)
	return binary.LittleEndian.AppendUint32(h, uint32(length))
}
