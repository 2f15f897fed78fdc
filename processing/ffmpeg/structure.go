package ffmpeg

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"os"

	"reprise/recording"
)

// Programs decode a file that was cut off without a word, and ffprobe reports
// what is there as if it were all. So the structure of the formats that tell
// their sizes is walked here, a few bytes at a time.

// sloppyBytes is how much a declared size may exceed the file: some writers
// count their own header.
const sloppyBytes = 4096

// structure says how a file's end fits its own structure.
type structure struct {
	known bool // the format declares sizes and they were checked
	// declared and present are the bytes of sound that the header promises and
	// those that are there; 0 if the format or its writer does not say.
	declared, present int64
	cut               bool // the file ends inside of an element
	size              int64
}

// reject returns the rejection that the structure asks for, or nil.
func (s structure) reject() *recording.Rejection {
	switch {
	case s.cut:
		return errTruncated()
	case s.declared-s.present > sloppyBytes && isLie(float64(s.declared), float64(s.present)):
		return errMismatch()
	case s.declared-s.present > sloppyBytes:
		return errTruncated()
	}
	return nil
}

// checkStructure walks a file. A format it does not know is no error.
func checkStructure(path string) (structure, error) {
	f, err := os.Open(path)
	if err != nil {
		return structure{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return structure{}, err
	}
	head := make([]byte, 12)
	if _, err := f.ReadAt(head, 0); err != nil {
		return structure{}, ignoreEOF(err)
	}
	w := walker{f: f, size: st.Size()}
	var s structure
	switch {
	case string(head[:4]) == "RIFF" && string(head[8:]) == "WAVE", string(head[:4]) == "RF64" && string(head[8:]) == "WAVE":
		s = w.wav()
	case string(head[:4]) == "caff":
		s = w.caf()
	case string(head[:4]) == "OggS":
		s = w.ogg()
	case bytes.HasPrefix(head, []byte("#!AMR")):
		s = w.amr()
	case head[0] == 0xFF && head[1]&0xF6 == 0xF0:
		s = w.adts()
	default:
		switch string(head[4:8]) {
		case "ftyp", "moov", "mdat", "wide", "free", "skip", "styp", "pnot":
			s = w.mp4()
		}
	}
	s.size = st.Size()
	return s, w.err
}

func ignoreEOF(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

type walker struct {
	f    *os.File
	size int64
	err  error
}

// at returns n bytes at offset, or nil if the file ends before.
func (w *walker) at(offset int64, n int) []byte {
	if w.err != nil || offset < 0 || offset+int64(n) > w.size {
		return nil
	}
	b := make([]byte, n)
	if _, w.err = w.f.ReadAt(b, offset); w.err != nil {
		return nil
	}
	return b
}

// wav finds the data chunk of RIFF or RF64 (EBU Tech 3306). A writer that can't
// seek leaves its size 0 or as large as it gets. If the size of the whole, which
// is told apart from it, lacks bytes as well, the file was once as long as it says.
func (w *walker) wav() structure {
	var riff, size64 int64
	if b := w.at(4, 4); b != nil {
		riff = int64(binary.LittleEndian.Uint32(b))
	}
	for pos := int64(12); ; {
		h := w.at(pos, 8)
		if h == nil {
			return structure{}
		}
		size := int64(binary.LittleEndian.Uint32(h[4:]))
		switch string(h[:4]) {
		case "ds64":
			if b := w.at(pos+8, 16); b != nil {
				riff, size64 = int64(binary.LittleEndian.Uint64(b)), int64(binary.LittleEndian.Uint64(b[8:]))
			}
		case "data":
			if size == 0xFFFFFFFF && size64 > 0 {
				size = size64
			} else if size == 0 || size >= 0x7FFFF000 {
				return structure{known: true}
			}
			present := min(size, w.size-pos-8)
			cut := size-present > sloppyBytes && riff >= pos+size && riff < 2*size
			return structure{known: true, declared: size, present: present, cut: cut}
		}
		pos += 8 + size + size&1
	}
}

// caf finds the data chunk of Apple's Core Audio Format. Its size is -1 while
// it is being written.
func (w *walker) caf() structure {
	for pos := int64(8); ; {
		h := w.at(pos, 12)
		if h == nil {
			return structure{}
		}
		size := int64(binary.BigEndian.Uint64(h[4:]))
		if string(h[:4]) == "data" {
			if size < 0 {
				return structure{known: true}
			}
			return structure{known: true, declared: size, present: min(size, w.size-pos-12)}
		}
		if size < 0 || size > w.size {
			return structure{}
		}
		pos += 12 + size
	}
}

// mp4 walks the boxes at the top level (ISO/IEC 14496-12, 4.2). Only boxes that
// matter can be cut: there is software that leaves rubbish behind the last one.
func (w *walker) mp4() structure {
	for pos := int64(0); ; {
		h := w.at(pos, 8)
		if h == nil {
			return structure{}
		}
		size := int64(binary.BigEndian.Uint32(h))
		if size == 1 {
			if b := w.at(pos+8, 8); b != nil {
				size = int64(binary.BigEndian.Uint64(b))
			}
		}
		if size < 8 || size > w.size-pos {
			kind := string(h[4:])
			matters := kind == "mdat" || kind == "moov" || kind == "moof"
			return structure{cut: size > w.size-pos && matters}
		}
		pos += size
	}
}

// ogg looks for a whole last page with the end-of-stream flag, which RFC 3533
// demands (section 6, header_type_flag).
func (w *walker) ogg() structure {
	const maxPage = 27 + 255 + 255*255
	start := max(0, w.size-2*maxPage)
	tail := w.at(start, int(w.size-start))
	for i := len(tail) - 27; i >= 0; i-- {
		page := tail[i:]
		if string(page[:4]) != "OggS" || page[4] != 0 || page[5]&4 == 0 {
			continue
		}
		segments := int(page[26])
		if len(page) < 27+segments {
			continue
		}
		size := 27 + segments
		for _, n := range page[27 : 27+segments] {
			size += int(n)
		}
		if size <= len(page) {
			return structure{}
		}
	}
	return structure{cut: w.err == nil}
}

// adts walks the frames of a raw AAC file (ISO/IEC 13818-7, 6.2). Where there
// is no frame it gives up: it is not the end that is damaged.
func (w *walker) adts() structure {
	return w.frames(0, 7, func(h []byte) int64 {
		if h[0] != 0xFF || h[1]&0xF6 != 0xF0 {
			return 0
		}
		return int64(h[3]&3)<<11 | int64(h[4])<<3 | int64(h[5])>>5
	})
}

// amr walks the frames of an AMR file (RFC 4867, section 5), whose first byte
// says how long they are.
func (w *walker) amr() structure {
	// By frame type; 0 is a type that does not exist.
	sizes, start := [16]int64{13, 14, 16, 18, 20, 21, 27, 32, 6, 0, 0, 0, 0, 0, 0, 1}, int64(len("#!AMR\n"))
	if string(w.at(0, 9)) == "#!AMR-WB\n" {
		sizes, start = [16]int64{18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1}, 9
	}
	return w.frames(start, 1, func(h []byte) int64 { return sizes[h[0]>>3&15] })
}

// frames walks frames from start on, whose size is told by their first
// headerSize bytes; 0 means that there is no frame.
func (w *walker) frames(start int64, headerSize int, frameSize func([]byte) int64) structure {
	r := bufio.NewReaderSize(io.NewSectionReader(w.f, start, w.size-start), 64<<10)
	for pos := start; pos < w.size; {
		h, err := r.Peek(headerSize)
		if err != nil {
			w.err = ignoreEOF(err)
			return structure{cut: w.err == nil}
		}
		n := frameSize(h)
		if n < int64(headerSize) {
			return structure{}
		}
		if pos += n; pos > w.size {
			return structure{cut: true}
		}
		if _, err := r.Discard(int(n)); err != nil {
			w.err = err
			return structure{}
		}
	}
	return structure{}
}
