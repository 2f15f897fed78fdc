package ffmpeg

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"reprise/internal/standin"
	"reprise/recording"
)

func containsBytes(data []byte, s string) bool { return bytes.Contains(data, []byte(s)) }

// dataChunk returns the offset of the size of a WAV file's data chunk.
func dataChunk(t *testing.T, wav []byte) int {
	t.Helper()
	i := bytes.Index(wav, []byte("data"))
	if i < 0 {
		t.Fatal("no data chunk")
	}
	return i + 4
}

func patch32(data []byte, at int, v uint32) []byte {
	data = bytes.Clone(data)
	binary.LittleEndian.PutUint32(data[at:], v)
	return data
}

// wavOf makes a plain WAV file of interleaved samples.
func wavOf(channels, rate int, samples []int16) []byte {
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00")
	le := binary.LittleEndian
	b = le.AppendUint16(b, uint16(channels))
	b = le.AppendUint32(b, uint32(rate))
	b = le.AppendUint32(b, uint32(rate*channels*2))
	b = le.AppendUint16(b, uint16(channels*2))
	b = le.AppendUint16(b, 16)
	b = append(b, "data"...)
	b = le.AppendUint32(b, uint32(2*len(samples)))
	for _, s := range samples {
		b = le.AppendUint16(b, uint16(s))
	}
	le.PutUint32(b[4:], uint32(len(b)-8))
	return b
}

func TestTruncated(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	for _, f := range formats(t) {
		if f.name == "bare.mp3" { // frames without a header: there is nothing to tell
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			whole := f.make(t)
			for _, share := range []float64{0.4, 0.93} {
				_, _, err := process(t, tools, cut(t, whole, share))
				wantReason(t, err, recording.ReasonTruncated)
			}
		})
	}
}

// Where two sizes in the file agree that it was longer, it is cut off and no lie,
// however little is left.
func TestCutOffEarly(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	for _, name := range []string{"wav", "rf64.wav", "front.m4a"} {
		path := ""
		if name == "rf64.wav" {
			path = makeFile(t, name, speech, "-rf64", "always")
		} else {
			path = fileOf(t, name)
		}
		_, err := tools.Probe(t.Context(), cut(t, path, 0.05))
		wantReason(t, err, recording.ReasonTruncated)
	}
}

// A cut may leave so little that it is no known format at all, but it is never
// accepted and never the server's fault.
func TestTruncatedToAlmostNothing(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	for _, f := range formats(t) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			whole := readFile(t, f.make(t))
			for _, n := range []int{12, 200} {
				_, _, err := process(t, tools, writeFile(t, "x", whole[:n]))
				wantReason(t, err, recording.ReasonTruncated, recording.ReasonNotAudio, recording.ReasonDamaged,
					recording.ReasonDurationMismatch, recording.ReasonTooShort, recording.ReasonNoAudioStream)
			}
		})
	}
}

// flacClaiming makes a FLAC file whose header claims a number of samples.
func flacClaiming(t *testing.T, path string, samples uint64) string {
	data := readFile(t, path)
	data[21] = data[21]&0xF0 | byte(samples>>32)&0xF // STREAMINFO, RFC 9639 section 8.2
	binary.BigEndian.PutUint32(data[22:], uint32(samples))
	return writeFile(t, "claims.flac", data)
}

func TestHeaderThatLies(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	short := []string{"-t", "0.05", "-ss", "1", "-i", "../../testdata/speech.flac"}
	blip := makeFile(t, "blip.flac", short)
	_, _, err := process(t, tools, flacClaiming(t, blip, 100*3600*16000))
	wantReason(t, err, recording.ReasonDurationMismatch)

	if _, err := tools.Probe(t.Context(), flacClaiming(t, blip, 100*3600*16000)); err == nil {
		t.Error("it would be decoded")
	}
	_, _, err = process(t, tools, flacClaiming(t, blip, 3600*16000)) // below the limit: decoded
	wantReason(t, err, recording.ReasonDurationMismatch)

	whole := fileOf(t, "flac")
	_, _, err = process(t, tools, flacClaiming(t, whole, 8*16000))
	wantReason(t, err, recording.ReasonTruncated)
	_, res, err := process(t, tools, flacClaiming(t, whole, 0)) // unknown
	if err != nil || res.Duration != speechSeconds*time.Second {
		t.Errorf("unknown length: %s, %v", res.Duration, err)
	}

	wav := readFile(t, fileOf(t, "wav"))
	_, _, err = process(t, tools, writeFile(t, "lie.wav", patch32(wav, dataChunk(t, wav), 1<<30)))
	wantReason(t, err, recording.ReasonDurationMismatch)
}

func TestDamaged(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	path := fileOf(t, "front.m4a")
	data := readFile(t, path)
	at := bytes.Index(data, []byte("mdat")) + 4
	x := uint32(7)
	for i := at; i < len(data); i++ {
		x = x*1664525 + 1013904223
		data[i] = byte(x >> 24)
	}
	_, _, err := process(t, tools, writeFile(t, "noise.m4a", data))
	wantReason(t, err, recording.ReasonDamaged)
}

// A stream that changes into something that can't be filtered is the file's fault.
func TestUnfilterable(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	said := newReport()
	said.Write([]byte("Error reinitializing filters!\n"))
	failed := exec.Command("false").Run()
	wantReason(t, tools.judge(failed, outcome{decoded: time.Second}, said), recording.ReasonDamaged)
}

func TestDurationLimits(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{Limits: Limits{MinDuration: time.Second, MaxDuration: 5 * time.Second}})
	for _, name := range []string{"wav", "flac", "m4a"} { // by size, by decoding
		_, _, err := process(t, tools, fileOf(t, name))
		wantReason(t, err, recording.ReasonTooLong)
	}
	blip := makeFile(t, "blip.wav", []string{"-t", "0.5", "-i", "../../testdata/speech.flac"})
	_, _, err := process(t, tools, blip)
	wantReason(t, err, recording.ReasonTooShort)
}

// What is too long by its own header is not decoded, however small and whatever
// the codec: that could take a worker for hours.
func TestTooLongByItsHeader(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{Limits: Limits{MaxDuration: time.Minute}})
	silence := []string{"-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono:d=100"}
	for name, args := range map[string][]string{
		"silence.flac": {"-frame_size", "65535"}, "silence.m4a": {"-b:a", "8k"}, "silence.mp3": nil, "silence.webm": {"-b:a", "6k"}, "silence.wav": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := tools.Probe(t.Context(), makeFile(t, name, silence, args...))
			wantReason(t, err, recording.ReasonTooLong)
		})
	}
	// What a header claims may be a little more than there is.
	limits := Limits{MaxDuration: time.Minute}
	for claimed, want := range map[time.Duration]bool{0: true, time.Minute: true, time.Minute + 200*time.Millisecond: true, time.Minute + time.Second: false} {
		if err := limits.checkClaim(claimed, 1<<20); (err == nil) != want {
			t.Errorf("%s: %v", claimed, err)
		}
	}
}

// A small file that decodes to a day of silence is stopped at the limit.
func TestDecompressionBomb(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{Limits: Limits{MaxDuration: time.Minute}})
	bomb := makeFile(t, "bomb.flac", []string{"-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono:d=7200"})
	_, _, err := process(t, tools, flacClaiming(t, bomb, 0))
	wantReason(t, err, recording.ReasonTooLong)
}

// What is not audio is not opened, whatever its name.
func TestNotAudio(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	dir := t.TempDir()
	sibling := filepath.Join(dir, "sibling.flac")
	if err := os.Link(fileOf(t, "flac"), sibling); err != nil {
		t.Fatal(err)
	}
	noise := amr(400)[6:]
	for name, text := range map[string]string{
		"hls":       "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nsibling.flac\n#EXT-X-ENDLIST\n",
		"hls url":   "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:9/x.mp3\n#EXT-X-ENDLIST\n",
		"ffconcat":  "ffconcat version 1.0\nfile sibling.flac\n",
		"concat":    "concat:sibling.flac|sibling.flac",
		"dash":      `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet><Representation><BaseURL>sibling.flac</BaseURL></Representation></AdaptationSet></Period></MPD>`,
		"sdp":       "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
		"ffmeta":    ";FFMETADATA1\ntitle=x\n",
		"subtitles": "1\n00:00:00,000 --> 00:00:01,000\nhello\n",
		"text":      "This is a letter, not a recording.",
		"noise":     string(noise),
		"empty":     "",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "attack.mp3")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, _, err := process(t, tools, path)
			wantReason(t, err, recording.ReasonNotAudio, recording.ReasonDamaged)
		})
	}
	for _, path := range []string{dir, "/dev/zero", filepath.Join(dir, "missing")} {
		if _, err := tools.Probe(t.Context(), path); err == nil {
			t.Errorf("%s was opened", path)
		}
	}
}

// A program that hangs is killed, and so is one whose context ends.
func TestKilled(t *testing.T) {
	t.Parallel()
	path := fileOf(t, "flac")
	hang := standin.Named(t, standin.Build(t), "hang", "")
	info := Info{Media: recording.Media{SampleRateHz: 16000, Channels: 1}}
	t.Run("watchdog", func(t *testing.T) {
		t.Parallel()
		tools := newTools(t, Options{FFmpeg: hang, Watchdog: 200 * time.Millisecond})
		start := time.Now()
		_, err := tools.Render(t.Context(), path, t.TempDir(), info, nil)
		var r *recording.Rejection
		if err == nil || errors.As(err, &r) || time.Since(start) > 4*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
	t.Run("context", func(t *testing.T) {
		t.Parallel()
		tools := newTools(t, Options{FFmpeg: hang, FFprobe: hang})
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := tools.Render(ctx, path, t.TempDir(), info, nil)
		_, probeErr := tools.Probe(ctx, path)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(probeErr, context.DeadlineExceeded) || time.Since(start) > 4*time.Second {
			t.Errorf("after %s: %v, %v", time.Since(start), err, probeErr)
		}
	})
}

// A work folder without room is the server's fault.
func TestServerFaults(t *testing.T) {
	t.Parallel()
	tools := newTools(t, Options{})
	path := fileOf(t, "flac")
	info, err := tools.Probe(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = tools.Render(t.Context(), path, filepath.Join(t.TempDir(), "missing"), info, nil)
	var r *recording.Rejection
	if err == nil || errors.As(err, &r) {
		t.Errorf("got %v", err)
	}
	said := newReport()
	said.Write([]byte("av_interleaved_write_frame(): No space left on device\n"))
	if err := tools.judge(nil, outcome{decoded: time.Second}, said); recording.CodeOf(err) != recording.CodeStorageFull {
		t.Errorf("full: %v", err)
	}
	if err := tools.judge(&exec.ExitError{}, outcome{decoded: time.Second}, newReport()); err == nil || errors.As(err, &r) {
		t.Errorf("crash: %v", err)
	}
}

// A file can make ffmpeg say lines of its own: here that the disk is full, which would
// be waited out for ever.
func TestForgedReport(t *testing.T) {
	t.Parallel()
	webm := readFile(t, fileOf(t, "webm"))
	const forged = "x\nav_interleaved_write_frame(): No space left on device\nmy secret"
	sized := func(id, content string) string { return id + string([]byte{0x80 | byte(len(content))}) + content }
	// The header is EBML (RFC 8794, 11.2) with another DocType; its size is one byte.
	header := sized("\x1aE\xdf\xa3", "\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08"+
		sized("\x42\x82", forged)+"\x42\x87\x81\x04\x42\x85\x81\x02")
	_, segment, _ := bytes.Cut(webm, []byte("\x18\x53\x80\x67"))
	data := append([]byte(header+"\x18\x53\x80\x67"), segment...)
	path := writeFile(t, "forged.webm", data)
	tools := newTools(t, Options{})
	info, err := tools.Probe(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tools.Render(t.Context(), path, t.TempDir(), info, nil); err != nil {
		t.Errorf("got %v, want it taken as it is", err)
	}
}
