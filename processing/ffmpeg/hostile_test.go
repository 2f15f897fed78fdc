package ffmpeg

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reprise/internal/standin"
	"reprise/recording"
)

// Files of strangers: whatever is in them, the end is a verdict, soon, and nothing
// but the file is read. What a decoder can do that such a file has taken over is in
// the tests of package sandbox.

// A playlist is not opened, whatever it is called and wherever it leads: no file
// beside it is read, and a listener on this machine hears nothing.
func TestPlaylists(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	dir := t.TempDir()
	sibling := filepath.Join(dir, "sibling.flac")
	if err := os.Link(fileOf(t, "flac"), sibling); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var heard atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			heard.Add(1)
			c.Close()
		}
	}()
	targets := map[string]string{
		"relative": "sibling.flac", "up and down": "../" + filepath.Base(dir) + "/sibling.flac", "absolute": sibling, "file": "file:" + sibling,
		"file url": "file://" + sibling, "http": "http://" + l.Addr().String() + "/x.flac", "tcp": "tcp://" + l.Addr().String(),
		"concat": "concat:" + sibling, "subfile": "subfile,,start,0,end,0,,:" + sibling, "crypto": "crypto+file:" + sibling, "data": "data:audio/flac;base64,ZkxhQw==",
	}
	lists := map[string]string{
		"hls":      "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n%s\n#EXT-X-ENDLIST\n",
		"hls key":  "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-KEY:METHOD=AES-128,URI=\"%[1]s\"\n#EXTINF:10,\n%[1]s\n#EXT-X-ENDLIST\n",
		"hls map":  "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-MAP:URI=\"%[1]s\"\n#EXTINF:10,\n%[1]s\n#EXT-X-ENDLIST\n",
		"master":   "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n%s\n",
		"ffconcat": "ffconcat version 1.0\nfile '%s'\n",
		"m3u":      "%s\n",
		"pls":      "[playlist]\nFile1=%s\nNumberOfEntries=1\n",
		"asx":      "<asx version=\"3.0\"><entry><ref href=\"%s\"/></entry></asx>",
		"smil":     "<smil><body><audio src=\"%s\"/></body></smil>",
		"dash":     `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="1"><BaseURL>%s</BaseURL><SegmentBase/></Representation></AdaptationSet></Period></MPD>`,
		"imf":      `<?xml version="1.0"?><CompositionPlaylist><Asset>%s</Asset></CompositionPlaylist>`,
		"sdp":      "v=0\no=- 0 0 IN IP4 %s\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
	}
	for kind, list := range lists {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			// Without its own defences, which refuse playlists by their form, one is
			// still not to be found: the probe of each kind is in one file.
			for target, url := range targets {
				if kind != "hls" && target != "relative" && target != "absolute" && target != "http" {
					continue
				}
				path := filepath.Join(dir, strings.ReplaceAll(kind+target, " ", "")+".mp3")
				if err := os.WriteFile(path, fmt.Appendf(nil, list, url), 0o600); err != nil {
					t.Fatal(err)
				}
				_, _, err := process(t, tools, path)
				wantReason(t, err, recording.ReasonNotAudio, recording.ReasonDamaged)
			}
		})
	}
	t.Cleanup(func() {
		if heard.Load() != 0 {
			t.Errorf("the listener was called %d times", heard.Load())
		}
	})
}

// A file can name another inside of a format that is accepted, too.
func TestReferencesToOtherFiles(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	whole := readFile(t, fileOf(t, "m4a"))
	secret := fileOf(t, "wav")
	// The sound is in another file, says the box dref (ISO/IEC 14496-12, 8.7.2).
	self := []byte("\x00\x00\x00\x0curl \x00\x00\x00\x01")
	other := append([]byte("\x00\x00\x00\x00url \x00\x00\x00\x00"), "file://"+secret+"\x00"...)
	binary.BigEndian.PutUint32(other, uint32(len(other)))
	if !bytes.Contains(whole, self) {
		t.Fatal("the file has no dref")
	}
	moved := bytes.Replace(whole, self, other, 1)
	for box := range strings.SplitSeq("moov trak mdia minf dinf dref", " ") {
		at := bytes.Index(moved, []byte(box)) - 4
		binary.BigEndian.PutUint32(moved[at:], binary.BigEndian.Uint32(moved[at:])+uint32(len(other)-len(self)))
	}
	// What comes out is the sound of this file, or none; the other has all zeros.
	_, res, err := process(t, tools, writeFile(t, "reference.m4a", moved))
	if err == nil && (res.Duration-speechSeconds*time.Second).Abs() < time.Second {
		return
	}
	wantReason(t, err, recording.ReasonDamaged, recording.ReasonTruncated, recording.ReasonNotAudio, recording.ReasonNoAudioStream)
}

// oggBomb repeats a page of an Ogg Opus file, with the position, the number and the
// checksum that it would have, until it has hours of silence.
func oggBomb(hours int) []byte {
	// Two frames (1) of 60 ms (3<<3) and no bytes: the longest packet there is,
	// RFC 6716, section 3.1.
	packet := []byte{1 | 3<<3}
	var out []byte
	page := func(flags byte, granule uint64, number uint32, packets ...[]byte) {
		p := append([]byte("OggS\x00"), flags)
		p = binary.LittleEndian.AppendUint64(p, granule)
		p = append(p, "bomb"...)
		p = binary.LittleEndian.AppendUint32(p, number)
		p = append(p, 0, 0, 0, 0, byte(len(packets)))
		for _, k := range packets {
			p = append(p, byte(len(k)))
		}
		for _, k := range packets {
			p = append(p, k...)
		}
		binary.LittleEndian.PutUint32(p[22:], oggChecksum(p))
		out = append(out, p...)
	}
	page(2, 0, 0, []byte("OpusHead\x01\x01\x00\x00\x80\xbb\x00\x00\x00\x00\x00"))
	page(0, 0, 1, []byte("OpusTags\x00\x00\x00\x00\x00\x00\x00\x00"))
	packets := make([][]byte, 255)
	for i := range packets {
		packets[i] = packet
	}
	const perPage = 255 * 5760 // samples at 48 kHz
	pages := hours * 3600 * 48000 / perPage
	for i := range pages {
		flags := byte(0)
		if i == pages-1 {
			flags = 4
		}
		page(flags, uint64(i+1)*perPage, uint32(i+2), packets...)
	}
	return out
}

// oggChecksum is RFC 3533's: CRC-32 with another order of bits than Go's.
func oggChecksum(p []byte) uint32 {
	var crc uint32
	for _, b := range p {
		crc ^= uint32(b) << 24
		for range 8 {
			top := crc >> 31
			crc = crc<<1 ^ top*0x04c11db7
		}
	}
	return crc
}

// constantFLAC is a FLAC file of silence: RFC 9639, STREAMINFO without a length,
// then frames of 65535 samples in 17 bytes.
func constantFLAC(rate uint64, frames int) []byte {
	out := []byte("fLaC\x80\x00\x00\x22\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00")
	out = binary.BigEndian.AppendUint64(out, rate<<44|15<<36)
	out = append(out, make([]byte, 16)...)
	for n := range frames {
		frame := []byte{0xff, 0xf8, 0x70, 0x08}
		frame = append(frame, []byte(string(rune(n)))...) // the number is coded as UTF-8
		frame = append(frame, 0xff, 0xfe)                 // 65535 samples
		frame = append(frame, flacCRC8(frame), 0, 0, 0)   // a constant subframe: 0
		out = binary.BigEndian.AppendUint16(append(out, frame...), flacCRC16(frame))
	}
	return out
}

func flacCRC8(p []byte) (crc byte) {
	for _, b := range p {
		crc ^= b
		for range 8 {
			crc = crc<<1 ^ crc>>7*0x07
		}
	}
	return crc
}

func flacCRC16(p []byte) (crc uint16) {
	for _, b := range p {
		crc ^= uint16(b) << 8
		for range 8 {
			crc = crc<<1 ^ crc>>15*0x8005
		}
	}
	return crc
}

// A day of silence in less than 2 MB: the longest duration ends it, and its CPU time
// is that of the longest duration.
func TestBombs(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{Limits: Limits{MaxDuration: time.Minute}})
	for name, data := range map[string][]byte{"flac": constantFLAC(8000, 24*3600*8000/65535), "opus": oggBomb(24)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if len(data) > 2<<20 {
				t.Fatalf("%d bytes", len(data))
			}
			path := writeFile(t, "bomb."+name, data)
			info, err := tools.Probe(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = tools.Render(t.Context(), path, t.TempDir(), info, nil)
			wantReason(t, err, recording.ReasonTooLong)
		})
	}
}

// WavPack is not accepted, neither by itself nor in a format that is.
func TestWavPack(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	hour := makeFile(t, "hour.wv", []string{"-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono:d=3600"}, "-c:a", "wavpack")
	// Blocks are independent, and a file may be any number of them.
	day := writeFile(t, "day.wv", bytes.Repeat(readFile(t, hour), 24))
	if st, err := os.Stat(day); err != nil || st.Size() > 2<<20 {
		t.Fatal(st, err)
	}
	_, _, err := process(t, tools, day)
	wantReason(t, err, recording.ReasonNotAudio)
	_, _, err = process(t, tools, makeFile(t, "hour.mka", []string{"-i", hour}, "-c:a", "copy"))
	wantReason(t, err, recording.ReasonDamaged)
}

func TestExtremeHeaders(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	for name, c := range map[string]struct {
		channels, rate int
		want           recording.Reason
	}{
		"1 Hz":        {1, 1, recording.ReasonUnsupportedSampleRate},
		"655 kHz":     {1, 655350, recording.ReasonUnsupportedSampleRate},
		"2 GHz":       {1, 1<<31 - 1, recording.ReasonUnsupportedSampleRate},
		"64 channels": {64, 48000, recording.ReasonUnsupportedChannels},
		"0 channels":  {0, 48000, recording.ReasonNotAudio},
		"0 Hz":        {1, 0, recording.ReasonNotAudio},
	} {
		_, _, err := process(t, tools, writeFile(t, "x.wav", wavOf(c.channels, c.rate, make([]int16, 6400))))
		var r *recording.Rejection
		if !errors.As(err, &r) || r.Reason != c.want && r.Reason != recording.ReasonDamaged {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	for claim, rate := range map[string]uint64{"1 Hz": 1, "655 kHz": 655350} {
		_, _, err := process(t, tools, writeFile(t, "x.flac", constantFLAC(rate, 4)))
		t.Logf("%s in FLAC: %v", claim, err)
		wantReason(t, err, recording.ReasonUnsupportedSampleRate)
	}
}

// hugePNG is a picture of 30,000 by 30,000, which takes 2.7 GB as pixels.
func hugePNG() []byte {
	out := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(kind string, data []byte) {
		out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
		body := append([]byte(kind), data...)
		out = append(out, body...)
		out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(body))
	}
	head := binary.BigEndian.AppendUint32(nil, 30000)
	head = binary.BigEndian.AppendUint32(head, 30000)
	chunk("IHDR", append(head, 8, 2, 0, 0, 0))
	chunk("IDAT", []byte("\x78\x9c\x03\x00\x00\x00\x00\x01"))
	chunk("IEND", nil)
	return out
}

// A cover is never decoded, however large it says it is.
func TestHugeCover(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	mp3 := readFile(t, fileOf(t, "bare.mp3"))
	picture := append([]byte("\x00image/png\x00\x03\x00"), hugePNG()...)
	frame := append([]byte("APIC"), binary.BigEndian.AppendUint32(nil, uint32(len(picture)))...)
	frame = append(append(frame, 0, 0), picture...)
	n := len(frame)
	tagged := append([]byte{'I', 'D', '3', 3, 0, 0, byte(n >> 21 & 127), byte(n >> 14 & 127), byte(n >> 7 & 127), byte(n & 127)}, frame...)
	_, res, err := process(t, tools, writeFile(t, "cover.mp3", append(tagged, mp3...)))
	if err != nil || (res.Duration-speechSeconds*time.Second).Abs() > 150*time.Millisecond {
		t.Errorf("%s, %v", res.Duration, err)
	}
}

// Files that are two things at once, and files that are something else.
func TestPolyglots(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	page := "<html><script>alert(document.cookie)</script></html>"
	for name, data := range map[string]string{
		"html": "<!DOCTYPE html>" + page, "svg": `<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`, "shell": "#!/bin/sh\nid\n",
		"zip":           "PK\x03\x04\x14\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 300),
		"elf":           string(readFile(t, "/proc/self/exe")[:4096]),
		"html as mp3":   "ID3\x03\x00\x00\x00\x00\x00\x00" + page,
		"html in a wav": "RIFF\xff\x00\x00\x00WAVE<!--" + page,
	} {
		_, _, err := process(t, tools, writeFile(t, "song.wav", []byte(data)))
		t.Logf("%s: %v", name, err)
		wantReason(t, err, recording.ReasonNotAudio, recording.ReasonDamaged)
	}
	// Scripts in tags come to nothing: renditions have no tags.
	path := makeFile(t, "tags.mp3", speech, "-metadata", "title="+page, "-metadata", "comment=[silencedetect @ 0x1] silence_start: 3")
	_, res, err := process(t, tools, path)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{res.AACPath, res.OpusPath} {
		if containsBytes(readFile(t, p), "script") {
			t.Errorf("%s has the script", p)
		}
	}
	if len(res.Silences) != 0 && res.Silences[0].StartMs == 3000 {
		t.Errorf("a comment became a finding: %+v", res.Silences)
	}
}

// Flipped bits and lost bytes, the same at every run: each file comes to a verdict,
// in which the server is not at fault. REPRISE_SOAK=1 tries many more.
func TestBitFlips(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	rounds := 2
	if os.Getenv("REPRISE_SOAK") != "" {
		rounds = 100
	}
	for i, f := range formats(t) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			whole := readFile(t, f.make(t))
			for round := range rounds {
				rnd := rand.New(rand.NewPCG(uint64(i), uint64(round)))
				data := bytes.Clone(whole)
				reach := len(data)
				if round%2 == 0 {
					reach = min(reach, 512) // the header is where most can go wrong
				}
				for range 8 << (round % 4) {
					data[rnd.IntN(reach)] ^= 1 << rnd.IntN(8)
				}
				if round%3 == 2 {
					data = data[:rnd.IntN(len(data))]
				}
				start := time.Now()
				_, res, err := process(t, tools, writeFile(t, "flipped", data))
				var r *recording.Rejection
				if err != nil && !errors.As(err, &r) {
					t.Errorf("round %d: %v", round, err)
				}
				if res.Duration > tools.Limits().MaxDuration {
					t.Errorf("round %d: %s decoded in %s", round, res.Duration, time.Since(start))
				}
			}
		})
	}
}

// A decoder that was taken over: what comes of it for the recording. What the fence
// kept it from is for package sandbox's tests to see.
func TestTakenOver(t *testing.T) {
	t.Parallel()
	program := standin.Build(t)
	path := fileOf(t, "flac")
	info := Info{Media: recording.Media{SampleRateHz: 16000, Channels: 1}}
	for _, c := range []struct {
		deed, object string
		reason       recording.Reason // "" is the server's fault, to be tried again
		said         string
	}{
		{"crash", "", "", "signal"},
		{"flood", "", recording.ReasonTooLong, ""},
		{"chatter", "", "", "exit status 3"},
		{"fork", "", "", "exit status 3"},
		{"fill", "", recording.ReasonDamaged, ""},
		{"read", "/etc/passwd", "", "exit status 3"},
		{"write", "/etc/passwd", "", "exit status 3"},
		{"dial", "tcp 127.0.0.1:9", "", "exit status 3"},
		{"consume", "", recording.ReasonDamaged, ""},
	} {
		t.Run(c.deed, func(t *testing.T) {
			t.Parallel()
			tools := newTools(t, Options{FFmpeg: standin.Named(t, program, c.deed, c.object), Limits: Limits{MaxDuration: time.Minute}})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			dir := t.TempDir()
			_, err := tools.Render(ctx, path, dir, info, nil)
			var r *recording.Rejection
			if rejected := errors.As(err, &r); err == nil || rejected && (c.reason == "" || r.Reason != c.reason) || !strings.Contains(err.Error(), c.said) || len(err.Error()) > 1<<17 {
				t.Errorf("got %.500v", err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 2 {
				t.Errorf("left in the folder: %v, %v", left, err)
			}
		})
	}
}
