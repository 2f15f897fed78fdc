package hooks_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/hooks"
	"reprise/recording"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestParseMetadata(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		header string
		want   map[string]string // nil: refused
	}{
		"nothing":             {"", map[string]string{}},
		"one pair":            {"title " + b64("Grandma's house"), map[string]string{"title": "Grandma's house"}},
		"two pairs":           {"a " + b64("1") + ",b " + b64("2"), map[string]string{"a": "1", "b": "2"}},
		"space behind comma":  {"a " + b64("1") + ", b " + b64("2"), map[string]string{"a": "1", "b": "2"}},
		"key without value":   {"is_private,a " + b64("1"), map[string]string{"is_private": "", "a": "1"}},
		"empty value":         {"filename ", map[string]string{"filename": ""}},
		"other scripts":       {"title " + b64("Бабушка 👵"), map[string]string{"title": "Бабушка 👵"}},
		"bad base64":          {"title !!!", nil},
		"unpadded base64":     {"title YQ", nil},
		"non-canonical bits":  {"title YR==", nil},
		"three words":         {"title " + b64("a") + " " + b64("b"), nil},
		"key twice":           {"a " + b64("1") + ",a " + b64("1"), nil},
		"empty key":           {",a " + b64("1"), nil},
		"trailing comma":      {"a " + b64("1") + ",", nil},
		"newline in value":    {"filename " + b64("a\nb"), nil},
		"NUL in value":        {"filename " + b64("a\x00b"), nil},
		"C1 control in value": {"filename " + b64("a\u0085b"), nil},
		"not UTF-8":           {"filename " + b64("\xff\xfe"), nil},
		"non-ASCII key":       {"tïtle " + b64("1"), nil},
		"just fits":           {"k " + b64(strings.Repeat("x", 3069)), map[string]string{"k": strings.Repeat("x", 3069)}},
		"too long":            {"k " + b64(strings.Repeat("x", 3073)), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := hooks.ParseMetadata(tt.header)
			if tt.want == nil {
				if code := recording.CodeOf(err); code != recording.CodeInvalidMetadata {
					t.Fatalf("got %v, %v; want it refused as %s", got, err, recording.CodeInvalidMetadata)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzParseMetadata(f *testing.F) {
	for _, seed := range []string{"", "a", "a YQ==", "a YQ==,b", "a YQ==, b Yg==", "a  YQ==", ",", " ", "a YQ", "\x00 YQ=="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		meta, err := hooks.ParseMetadata(header)
		if err != nil {
			if recording.CodeOf(err) != recording.CodeInvalidMetadata {
				t.Fatalf("error %v has another code", err)
			}
			return
		}
		// What was accepted says the same when it is written again.
		var pairs []string
		for k, v := range meta {
			pairs = append(pairs, k+" "+b64(v))
		}
		again, err := hooks.ParseMetadata(strings.Join(pairs, ","))
		if err != nil || !maps.Equal(meta, again) {
			t.Fatalf("%q gives %v, written again %v (%v)", header, meta, again, err)
		}
	})
}

func TestAdmit(t *testing.T) {
	t.Parallel()
	long := int64(1001)
	tests := map[string]struct {
		length *int64
		meta   map[string]string
		want   recording.Code
	}{
		"nothing declared":      {nil, nil, ""},
		"audio":                 {nil, map[string]string{"filetype": "audio/mp4; codecs=mp4a.40.2"}, ""},
		"container":             {nil, map[string]string{"filetype": "video/webm"}, ""},
		"unknown":               {nil, map[string]string{"filetype": "application/octet-stream"}, ""},
		"image":                 {nil, map[string]string{"filetype": "image/png"}, recording.CodeUnsupportedType},
		"no media type":         {nil, map[string]string{"filetype": "///"}, recording.CodeInvalidMetadata},
		"too large":             {&long, nil, recording.CodeTooLarge},
		"language":              {nil, map[string]string{"language": "pt-BR"}, ""},
		"no language":           {nil, map[string]string{"language": "Portuguese of Brazil"}, recording.CodeInvalidMetadata},
		"time":                  {nil, map[string]string{"recordedAt": "2026-05-01T18:30:00+02:00"}, ""},
		"no time":               {nil, map[string]string{"recordedAt": "yesterday"}, recording.CodeInvalidMetadata},
		"last year in its zone": {nil, map[string]string{"recordedAt": "9999-12-31T23:59:59-01:00"}, recording.CodeInvalidMetadata},
		"story":                 {nil, map[string]string{"storyId": "0197f1d2-0000-7000-8000-000000000001"}, ""},
		"nil story":             {nil, map[string]string{"storyId": uuid.Nil.String()}, recording.CodeInvalidMetadata},
		"no story":              {nil, map[string]string{"storyId": "1"}, recording.CodeInvalidMetadata},
		"digest":                {nil, map[string]string{"sha256": strings.Repeat("aB", 32)}, ""},
		"short digest":          {nil, map[string]string{"sha256": "abcd"}, recording.CodeInvalidMetadata},
		"long title":            {nil, map[string]string{"title": strings.Repeat("é", 201)}, recording.CodeInvalidMetadata},
		"long filename":         {nil, map[string]string{"filename": strings.Repeat("é", 128)}, recording.CodeInvalidMetadata},
		"empty client id":       {nil, map[string]string{"clientId": ""}, recording.CodeInvalidMetadata},
		"long client id":        {nil, map[string]string{"clientId": strings.Repeat("x", 129)}, recording.CodeInvalidMetadata},
		"keys of other clients": {nil, map[string]string{"relativePath": "null", "name": "a.mp3", "type": "x"}, ""},
	}
	h := hooks.New(1000)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var pairs []string
			for k, v := range tt.meta {
				pairs = append(pairs, k+" "+b64(v))
			}
			_, err := h.Admit(recording.AdmissionRequest{Length: tt.length, Metadata: strings.Join(pairs, ",")})
			if got := recording.CodeOf(err); got != tt.want {
				t.Errorf("got code %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

func TestFirstBytes(t *testing.T) {
	t.Parallel()
	pad := func(s string) string { return s + strings.Repeat("\x01", 16) }
	tests := map[string]struct {
		head           string
		last           bool
		audio, decided bool
	}{
		"wav":               {"RIFF\x00\x00\x00\x00WAVEfmt ", false, true, true},
		"avi":               {"RIFF\x00\x00\x00\x00AVI LIST", false, false, true},
		"aiff":              {"FORM\x00\x00\x00\x00AIFFCOMM", false, true, true},
		"flac":              {pad("fLaC"), false, true, true},
		"ogg":               {pad("OggS"), false, true, true},
		"webm":              {pad("\x1aE\xdf\xa3"), false, true, true},
		"m4a":               {pad("\x00\x00\x00\x20ftypM4A "), false, true, true},
		"caf":               {pad("caff\x00\x01"), false, true, true},
		"amr":               {pad("#!AMR\n"), false, true, true},
		"mp3 with tag":      {pad("ID3\x04\x00"), false, true, true},
		"mp3":               {pad("\xff\xfb\x90\x00"), false, true, true},
		"mp3 after padding": {pad("\x00\x00\x00\xff\xfb\x90\x00"), false, true, true},
		"aac in adts":       {pad("\xff\xf1\x50\x80"), false, true, true},
		"utf-16 text":       {pad("\xff\xfeh\x00i\x00"), false, false, true},
		"jpeg":              {pad("\xff\xd8\xff\xe0"), false, false, true},
		"png":               {pad("\x89PNG\r\n\x1a\n"), false, false, true},
		"playlist":          {pad("#EXTM3U\n"), false, false, true},
		"html":              {pad("<!DOCTYPE html>"), false, false, true},
		"elf":               {pad("\x7fELF"), false, false, true},
		"zip":               {pad("PK\x03\x04"), false, false, true},
		"zeros":             {strings.Repeat("\x00", 16), false, false, true},
		"few bytes":         {"fLa", false, false, false},
		"few bytes, last":   {"fLa", true, false, true},
		"short but whole":   {"#!AMR\n", true, true, true},
		"none":              {"", false, false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			audio, decided := hooks.New(1).FirstBytes([]byte(tt.head), tt.last)
			if audio != tt.audio || decided != tt.decided {
				t.Errorf("got audio %v, decided %v", audio, decided)
			}
		})
	}
}

// What a draft's header says gets in by the same rules as metadata.
func FuzzAdmit(f *testing.F) {
	f.Add("", "talk.m4a", "audio/mp4", int64(1))
	f.Add("filename "+b64("x"), "a\r\nb", "text/html", int64(-1))
	f.Add("recordedAt "+b64("9999-12-31T23:59:59-01:00")+",language "+b64("de"), "", "", int64(1001))
	f.Add("storyId "+b64("{0197f1d2-0000-7000-8000-000000000001}"), "\xff", "audio/", int64(0))
	f.Fuzz(func(t *testing.T, metadata, filename, filetype string, length int64) {
		a, err := hooks.New(1000).Admit(recording.AdmissionRequest{Length: &length, Metadata: metadata, Filename: filename, Filetype: filetype})
		if err != nil {
			if code := recording.CodeOf(err); code == recording.CodeInternal {
				t.Fatalf("%v has no code", err)
			}
			return
		}
		for _, text := range []string{a.Recording.Title, a.Recording.Filename, a.Recording.Filetype, a.Recording.Language, a.ClientID} {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
				t.Fatalf("%q was admitted", text)
			}
		}
		if length > 1000 || len(a.Recording.Filename) > 255 || utf8.RuneCountInString(a.Recording.Title) > 200 {
			t.Fatalf("%d bytes of %+v were admitted", length, a.Recording)
		}
		if at := a.Recording.RecordedAt; at != nil {
			if _, err := json.Marshal(at); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// More bytes never make audio of what is none, nor the other way round.
func FuzzFirstBytes(f *testing.F) {
	for _, seed := range []string{"", "fLaC", "\x00\x00\xff\xfb\x90\x00", "RIFF\x00\x00\x00\x00WAVEfmt ", "\xff\xf1\x50\x80", "#!AMR\n", "ID3\x04"} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, head []byte, last bool) {
		audio, decided := hooks.New(1).FirstBytes(head, last)
		if !decided && (audio || last || len(head) >= hooks.SniffBytes) {
			t.Fatalf("%q, last %v: audio %v, decided %v", head, last, audio, decided)
		}
		if playlist := strings.HasPrefix(string(head), "#EXTM3U") || strings.HasPrefix(string(head), "ffconcat"); playlist && audio {
			t.Fatalf("%q is taken for audio", head)
		}
	})
}
