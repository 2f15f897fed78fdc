package clients

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reprise/config"
)

// rejection is a file that is no acceptable recording.
type rejection struct {
	name   string
	data   func(t *testing.T) []byte
	reason string
	events []string          // between upload.received and recording.rejected
	meta   map[string]string // besides the filename
}

// made has ffmpeg make a file.
func made(name string, args ...string) func(*testing.T) []byte {
	return func(t *testing.T) []byte { return readFile(t, makeAudio(t, name, args...)) }
}

// cut keeps the first part of a file.
func cut(whole func(*testing.T) []byte, keep float64) func(*testing.T) []byte {
	return func(t *testing.T) []byte {
		data := whole(t)
		return data[:int(float64(len(data))*keep)]
	}
}

// lyingFLAC is a FLAC file whose header claims 100 hours: the last 36 of the 64
// bits from byte 18 on are the number of samples (RFC 9639, section 8.2).
func lyingFLAC(t *testing.T) []byte {
	data := bytes.Clone(made("lie.flac", "-t", "1", "-i", speech)(t))
	const claimed = 100 * 3600 * 16000
	bits := binary.BigEndian.Uint64(data[18:])
	binary.BigEndian.PutUint64(data[18:], bits>>36<<36|claimed)
	return data
}

func rejections() []rejection {
	short := func(name string, args ...string) func(*testing.T) []byte {
		return made(name, append([]string{"-t", "6", "-i", speech}, args...)...)
	}
	stored, verified := []string{"store"}, []string{"store", "verify"}
	probed := []string{"store", "verify", "probe"}
	return []rejection{
		{"empty", func(*testing.T) []byte { return nil }, "empty", stored, nil},
		{"another file than announced", short("a.wav"), "checksum_mismatch", stored, map[string]string{"sha256": strings.Repeat("ab", 32)}},
		{"video without sound", made("silent.mp4", "-f", "lavfi", "-t", "2", "-i", "testsrc=s=64x64:r=5", "-c:v", "mpeg4"), "no_audio_stream", verified, nil},
		{"text that begins as an MP3", func(*testing.T) []byte { return []byte("ID3" + strings.Repeat("this is not a song ", 999)) }, "not_audio", verified, nil},
		{"truncated wav", cut(short("a.wav"), 0.6), "truncated", verified, nil},
		{"truncated mp3", cut(short("a.mp3"), 0.6), "truncated", probed, nil},
		{"truncated m4a", cut(short("a.m4a", "-movflags", "+faststart"), 0.6), "truncated", verified, nil},
		{"truncated m4a without its index", cut(short("a.m4a"), 0.9), "truncated", verified, nil},
		{"truncated flac", cut(short("a.flac"), 0.6), "truncated", probed, nil},
		{"truncated ogg", cut(short("a.ogg", "-c:a", "libopus"), 0.6), "truncated", verified, nil},
		{"truncated amr", func(t *testing.T) []byte { return readFile(t, "testdata/speech.amr")[:7000] }, "truncated", verified, nil},
		{"truncated aiff", cut(short("a.aiff"), 0.6), "truncated", probed, nil},
		{"truncated caf", cut(short("a.caf"), 0.6), "truncated", verified, nil},
		{"too short", made("a.wav", "-t", "0.05", "-i", speech), "too_short", probed, nil},
		{"too many channels", made("a.wav", "-f", "lavfi", "-t", "1", "-i", "anullsrc=r=48000:cl=hexadecagonal"), "unsupported_channels", verified, nil},
		{"sample rate too low", short("a.wav", "-ar", "4000"), "unsupported_sample_rate", verified, nil},
		{"sample rate too high", short("a.wav", "-ar", "384000"), "unsupported_sample_rate", verified, nil},
		{"header that lies", lyingFLAC, "duration_mismatch", verified, nil},
		{"64 channels", wavClaiming(64, 48000), "unsupported_channels", verified, nil},
		{"sample rate of 1 Hz", wavClaiming(1, 1), "unsupported_sample_rate", verified, nil},
		{"sample rate of 655 kHz", wavClaiming(1, 655350), "unsupported_sample_rate", verified, nil},
		{"script that begins as an MP3", func(*testing.T) []byte {
			return []byte("ID3\x03\x00\x00\x00\x00\x00\x00<html><script>alert(1)</script></html>")
		}, "not_audio", verified, nil},
		{"header only", func(t *testing.T) []byte { return made("a.flac", "-t", "1", "-i", speech)(t)[:42] }, "not_audio", verified, nil},
	}
}

// wavClaiming is a WAV file of silence with any header.
func wavClaiming(channels uint16, rate uint32) func(*testing.T) []byte {
	return func(*testing.T) []byte {
		le := binary.LittleEndian
		b := le.AppendUint16([]byte("RIFF\x24\x20\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00"), channels)
		b = le.AppendUint32(le.AppendUint32(b, rate), rate*uint32(channels)*2)
		b = le.AppendUint16(le.AppendUint16(b, channels*2), 16)
		b = append(b, "data\x00\x20\x00\x00"...)
		return append(b, make([]byte, 0x2000)...)
	}
}

func TestRejected(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	u := s.user(t, "alice")
	w := u.watch(5)
	t.Run("files", func(t *testing.T) {
		for _, tt := range rejections() {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				u := u.in(t)
				meta := map[string]string{"filename": tt.name}
				for k, v := range tt.meta {
					meta[k] = v
				}
				id, last := u.upload(tt.data(t), meta)
				if last.status != http.StatusNoContent {
					t.Fatal(last)
				}
				u.checkRejected(id, tt.reason)
				events := []string{"upload.created", "upload.received"}
				for _, stage := range tt.events {
					events = append(events, "processing.completed "+stage)
				}
				events = append(events, "recording.rejected "+tt.reason)
				if diff := cmp.Diff(events, describe(w.reached(t, id, "recording.rejected"))); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
			})
		}
	})
	w.finish(t, u.recordings())
}

// checkRejected waits for the end of a recording and checks how the API tells it.
func (u user) checkRejected(id, reason string) {
	u.t.Helper()
	r := u.settled(id)
	if r.State != "rejected" || r.Reason != reason || r.Detail == "" || len(r.Artifacts) != 0 {
		u.t.Errorf("state %s, reason %q (%s), %d artifacts; want rejected, %q", r.State, r.Reason, r.Detail, len(r.Artifacts), reason)
	}
	for _, path := range []string{"/audio", "/audio?format=opus", "/peaks"} {
		got := u.do(http.MethodGet, "/v1/recordings/"+id+path, nil)
		if got.status != http.StatusConflict || !strings.Contains(string(got.body), reason) {
			u.t.Errorf("%s: %v", path, got)
		}
	}
	if got := u.do(http.MethodPost, "/v1/recordings/"+id+"/reprocess", nil); got.status != http.StatusConflict || got.code() != "conflict" {
		u.t.Errorf("reprocess: %v", got)
	}
}

// What is not audio is refused with its first bytes, however long it will be.
func TestRefusedAtFirstBytes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	u := s.user(t, "alice")
	w := u.watch(100)
	for name, first := range map[string]string{
		"hls.mp3": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n", "list.mp3": "ffconcat version 1.0\nfile /etc/passwd\n",
		"zip.wav": "PK\x03\x04\x14\x00\x00\x00\x08\x00 and so on", "elf.wav": "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00",
		"page.mp3": "<!DOCTYPE html><script>alert(1)</script>",
	} {
		other := s.user(t, "mallory")
		url, id := other.create(1<<20, map[string]string{"filename": name, "filetype": "audio/mpeg"})
		if got := other.patch(url, 0, []byte(first)); got.status != http.StatusUnsupportedMediaType || got.code() != "not_audio" {
			t.Errorf("%s: %v", name, got)
		}
		other.checkRejected(id, "not_audio")
	}
	url, id := u.create(2<<30, map[string]string{"filename": "video.mp3", "filetype": "audio/mpeg"})
	got := u.patch(url, 0, []byte("Dear diary, this is not a song."))
	if got.status != http.StatusUnsupportedMediaType || got.code() != "not_audio" {
		t.Errorf("first bytes: %v", got)
	}
	u.checkRejected(id, "not_audio")
	if diff := cmp.Diff([]string{"upload.created", "recording.rejected not_audio"}, describe(w.reached(t, id, "recording.rejected"))); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if got := u.patch(url, 0, []byte("fLaC")); got.status != http.StatusGone || got.code() != "upload_gone" {
		t.Errorf("after the refusal: %v", got)
	}
	if got := get[page[uploadView]](u, "/v1/uploads").Items; len(got) != 0 {
		t.Errorf("it can still be resumed: %v", got)
	}
	w.finish(t, u.recordings())
}

func TestTooLong(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *config.Config) { c.MaxDuration = 5 * time.Second })
	u := s.user(t, "alice")
	for _, name := range []string{"long.wav", "long.mp3", "long.flac"} {
		id, _ := u.upload(made(name, "-t", "8", "-i", speech)(t), nil)
		u.checkRejected(id, "too_long")
	}
	id, _ := u.upload(made("short.wav", "-t", "4.9", "-i", speech)(t), nil)
	if r := u.settled(id); r.State != "ready" {
		t.Errorf("within the limit: %s %s", r.State, r.Reason)
	}
}
