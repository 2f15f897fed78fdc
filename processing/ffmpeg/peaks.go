package ffmpeg

import (
	"encoding/binary"
	"encoding/json"
)

const (
	firstSamplesPerPixel = 256 // what waveform viewers commonly start with
	// maxPoints bounds the peaks of a recording: 128 KiB in the binary form, and
	// more points than a screen can show when zoomed in thirty times.
	maxPoints = 1 << 16
)

// Peaks is the outline of a waveform: the lowest and the highest sample of each
// stretch of SamplesPerPixel samples, in 8 bits, of all channels mixed to one.
//
// It is computed in one pass in bounded memory. It starts with 256 samples per
// pixel and halves its resolution whenever it has 65,536 points, so a recording
// of 44.1 kHz has 256 samples per pixel up to 6 minutes and 4096 for an hour.
type Peaks struct {
	SampleRateHz    int
	SamplesPerPixel int
	Data            []int8 // minimum and maximum of each point, in turn

	maxPoints int
	low, high int16 // of the point that is not complete yet
	n         int   // samples in it
}

func newPeaks(sampleRateHz int) *Peaks {
	return &Peaks{SampleRateHz: sampleRateHz, SamplesPerPixel: firstSamplesPerPixel, maxPoints: maxPoints}
}

func (p *Peaks) add(sample int16) {
	if p.n == 0 {
		if len(p.Data) == 2*p.maxPoints {
			p.halve()
		}
		p.low, p.high = sample, sample
	} else if sample < p.low {
		p.low = sample
	} else if sample > p.high {
		p.high = sample
	}
	if p.n++; p.n == p.SamplesPerPixel {
		p.flush()
	}
}

// flush ends the current point, if there is one. Both halves of a point are
// divided with truncation toward zero, as audiowaveform does it.
func (p *Peaks) flush() {
	if p.n > 0 {
		p.Data = append(p.Data, int8(p.low/256), int8(p.high/256))
		p.n = 0
	}
}

// halve joins each two points into one. Lowest and highest of a union are those
// of its parts, so the outcome is as if it had been computed that way.
func (p *Peaks) halve() {
	half := p.Data[:0]
	for i := 0; i+3 < len(p.Data); i += 4 {
		half = append(half, min(p.Data[i], p.Data[i+2]), max(p.Data[i+1], p.Data[i+3]))
	}
	p.Data = half
	p.SamplesPerPixel *= 2
}

// Binary encodes the peaks in version 2 of audiowaveform's binary format
// (https://github.com/bbc/audiowaveform/blob/master/doc/DataFormat.md).
func (p *Peaks) Binary() []byte {
	b := make([]byte, 0, 24+len(p.Data))
	for _, v := range []int{
		2, // version
		1, // flags: 8 bits
		p.SampleRateHz,
		p.SamplesPerPixel,
		len(p.Data) / 2,
		1, // channels
	} {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	for _, v := range p.Data {
		b = append(b, byte(v))
	}
	return b
}

// JSON encodes the peaks in version 2 of audiowaveform's JSON format.
func (p *Peaks) JSON() ([]byte, error) {
	data := make([]int, len(p.Data))
	for i, v := range p.Data {
		data[i] = int(v)
	}
	return json.Marshal(struct {
		Version         int   `json:"version"`
		Channels        int   `json:"channels"`
		SampleRate      int   `json:"sample_rate"`
		SamplesPerPixel int   `json:"samples_per_pixel"`
		Bits            int   `json:"bits"`
		Length          int   `json:"length"`
		Data            []int `json:"data"`
	}{2, 1, p.SampleRateHz, p.SamplesPerPixel, 8, len(p.Data) / 2, data})
}
