package hooks

import "bytes"

// SniffBytes is how many of the first bytes of a file tell its format.
const SniffBytes = 16

// FirstBytes looks at the first bytes of an upload: decided is false while they
// are too few to tell, which only happens with less than SniffBytes bytes and
// when last says that more may come. It accepts the containers and streams that
// the pipeline can open and nothing else: a file it lets through may still turn
// out to be damaged, or to hold no sound.
func (*Hooks) FirstBytes(head []byte, last bool) (audio, decided bool) {
	if len(head) < SniffBytes && !last {
		return false, false
	}
	return isAudio(head), true
}

// isAudio knows the magic bytes of what phones and people have. The formats'
// own specifications give them; a list of all is at
// https://mimesniff.spec.whatwg.org/#matching-an-audio-or-video-type-pattern and
// https://en.wikipedia.org/wiki/List_of_file_signatures.
func isAudio(head []byte) bool {
	at := func(offset int, magic string) bool {
		return len(head) >= offset && bytes.HasPrefix(head[offset:], []byte(magic))
	}
	switch {
	case at(0, "RIFF") && at(8, "WAVE"), at(0, "RF64") && at(8, "WAVE"): // WAV, and its 64-bit form
		return true
	case at(0, "FORM") && (at(8, "AIFF") || at(8, "AIFC")):
		return true
	case at(0, "caff"), at(0, "fLaC"), at(0, "OggS"), at(0, "#!AMR"):
		return true
	case at(0, "\x1aE\xdf\xa3"): // Matroska and WebM (EBML)
		return true
	case at(4, "ftyp"), at(4, "moov"), at(4, "mdat"), at(4, "wide"), at(4, "free"), at(4, "skip"): // MP4, 3GP, QuickTime
		return true
	case at(0, "ID3"):
		return true
	}
	return isMPEGAudio(head)
}

// isMPEGAudio reports whether head begins with a frame of MPEG audio (layers II
// and III, ISO/IEC 11172-3; layer I died with the DCC and looks like UTF-16 text) or of AAC in ADTS (ISO/IEC 13818-7), after zero bytes
// of padding, which some encoders write.
func isMPEGAudio(head []byte) bool {
	head = bytes.TrimLeft(head, "\x00")
	if len(head) < 4 || head[0] != 0xff || head[1]&0xe0 != 0xe0 {
		return false
	}
	version, layer := head[1]>>3&3, head[1]>>1&3
	if layer == 0 { // ADTS has layer 0, 12 sync bits, and 13 sample rates
		return head[1]&0xf0 == 0xf0 && head[2]>>2&0xf < 13
	}
	bitRate, sampleRate := head[2]>>4, head[2]>>2&3
	return version != 1 && layer != 3 && bitRate != 0xf && sampleRate != 3
}
