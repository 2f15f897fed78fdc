package ffmpeg

import (
	"encoding/binary"
	"time"
)

// Progress says how far a rendering has come.
type Progress struct {
	Decoded time.Duration // audio decoded so far
	// Percent is 0 to 100, of the duration that the header claims; -1 if it
	// claims none.
	Percent   float64
	Speed     float64       // seconds of audio for a second of time
	Remaining time.Duration // until every sample is decoded; -1 if not known
}

const progressInterval = 500 * time.Millisecond

// meter takes the decoded samples (16 bit, little-endian, interleaved): it
// counts them, which is the only duration to be trusted, and computes the peaks.
// It is an io.Writer for one goroutine.
type meter struct {
	sampleRateHz int
	channels     int
	maxFrames    int64
	total        time.Duration // what the header claims; 0 if nothing
	peaks        *Peaks
	progress     func(Progress) // may be nil
	alive        func()         // called with every write
	tooLong      func()         // called when there are more than maxFrames

	frames   int64
	carry    []byte // a frame that has begun
	started  time.Time
	reported time.Time
}

func (m *meter) duration() time.Duration { return duration(m.frames, m.sampleRateHz) }

func duration(frames int64, sampleRateHz int) time.Duration {
	rate := int64(sampleRateHz)
	return time.Duration(frames/rate)*time.Second + time.Duration(frames%rate)*time.Second/time.Duration(rate)
}

func (m *meter) Write(p []byte) (int, error) {
	n := len(p)
	m.alive()
	size := 2 * m.channels
	if len(m.carry) > 0 {
		take := min(size-len(m.carry), len(p))
		m.carry, p = append(m.carry, p[:take]...), p[take:]
		if len(m.carry) < size {
			return n, nil
		}
		m.take(m.carry)
		m.carry = m.carry[:0]
	}
	whole := len(p) - len(p)%size
	m.take(p[:whole])
	m.carry = append(m.carry, p[whole:]...)
	if m.frames > m.maxFrames {
		m.tooLong()
	}
	m.report()
	return n, nil
}

// take reads whole frames. The mix is the sum of the channels divided by their
// number, truncated toward zero.
func (m *meter) take(p []byte) {
	m.frames += int64(len(p) / (2 * m.channels))
	switch m.channels {
	case 1:
		for ; len(p) >= 2; p = p[2:] {
			m.peaks.add(int16(binary.LittleEndian.Uint16(p)))
		}
	case 2:
		for ; len(p) >= 4; p = p[4:] {
			left, right := int16(binary.LittleEndian.Uint16(p)), int16(binary.LittleEndian.Uint16(p[2:]))
			m.peaks.add(int16((int(left) + int(right)) / 2))
		}
	default:
		for size := 2 * m.channels; len(p) >= size; p = p[size:] {
			sum := 0
			for i := 0; i < size; i += 2 {
				sum += int(int16(binary.LittleEndian.Uint16(p[i:])))
			}
			m.peaks.add(int16(sum / m.channels))
		}
	}
}

func (m *meter) report() {
	if m.progress == nil {
		return
	}
	now := time.Now()
	if now.Sub(m.reported) < progressInterval {
		return
	}
	m.reported = now
	p := Progress{Decoded: m.duration(), Percent: -1, Remaining: -1}
	p.Speed = p.Decoded.Seconds() / max(now.Sub(m.started).Seconds(), 1e-3)
	if m.total > 0 {
		p.Percent = min(100, 100*p.Decoded.Seconds()/m.total.Seconds())
		if p.Speed > 0 {
			p.Remaining = time.Duration(float64(max(0, m.total-p.Decoded)) / p.Speed)
		}
	}
	m.progress(p)
}
