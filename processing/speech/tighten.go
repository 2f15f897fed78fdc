package speech

import (
	"encoding/binary"
	"io"
	"os"
	"unicode/utf8"

	"reprise/recording"
)

const (
	// frameMs is what is loud or quiet as a whole.
	frameMs = 20
	// quiet is how many times quieter than the loudest of a word a frame is that is no
	// part of it: 24 dB.
	quiet = 16
	// pauseFrames are longer than what is quiet within a word.
	pauseFrames = 200 / frameMs
)

// tighten takes the pauses out of words: Whisper has some begin with the pause before
// them, or end with the one behind, and "to" does not take a second to say. The sound
// says where the word is.
func tighten(path string, segments []recording.Segment) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	samples, err := findSamples(file, info.Size())
	if err != nil {
		return err
	}
	for i := range segments {
		s := &segments[i]
		for j := range s.Words {
			w := &s.Words[j]
			longestMs := 400 + 60*int64(utf8.RuneCountInString(w.Text)) // of slow speech
			if w.EndMs-w.StartMs <= longestMs {
				continue
			}
			if w.StartMs, w.EndMs, err = loudPart(samples, w.StartMs, w.EndMs); err != nil {
				return err
			}
		}
		if n := len(s.Words); n > 0 {
			s.StartMs, s.EndMs = max(s.StartMs, s.Words[0].StartMs), s.Words[n-1].EndMs
		}
	}
	return nil
}

// loudPart returns between which times, of those between two others, there is sound;
// those others if there is none.
func loudPart(samples *io.SectionReader, startMs, endMs int64) (fromMs, toMs int64, err error) {
	const msBytes = sampleRateHz / 1000 * sampleBytes
	sound := make([]byte, (endMs-startMs)*msBytes)
	n, err := samples.ReadAt(sound, startMs*msBytes)
	if err != nil && err != io.EOF {
		return 0, 0, err
	}
	frames := make([]int, n/(frameMs*msBytes))
	loudest := 0
	for i := range frames {
		frame := sound[i*frameMs*msBytes : (i+1)*frameMs*msBytes]
		for at := 0; at < len(frame); at += sampleBytes {
			s := int(int16(binary.LittleEndian.Uint16(frame[at:])))
			frames[i] = max(frames[i], s, -s)
		}
		loudest = max(loudest, frames[i])
	}
	first, last := loudRun(frames, loudest/quiet)
	if first == last {
		return startMs, endMs, nil
	}
	return startMs + int64(first)*frameMs, min(endMs, startMs+int64(last)*frameMs), nil
}

// loudRun returns from which frame to before which there is most of the sound, without
// a pause. What is before or behind a pause is of another word.
func loudRun(frames []int, threshold int) (from, to int) {
	most, sum, start, end := 0, 0, 0, 0
	for i, f := range frames {
		if f <= threshold {
			continue
		}
		if i-end >= pauseFrames || end == 0 {
			start, sum = i, 0
		}
		end, sum = i+1, sum+f
		if sum > most {
			from, to, most = start, end, sum
		}
	}
	return from, to
}
