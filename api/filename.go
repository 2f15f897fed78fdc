package api

import (
	"fmt"
	"mime"
	"path"
	"slices"
	"strings"
	"unicode"

	"reprise/recording"
)

// originalType returns the media type of a recording's original. What was found
// in the file goes before what the client declared, and neither can make a
// browser take the bytes for anything but audio or a download: it is one of
// containerTypes, never a text of the client's.
func originalType(r recording.Recording) string {
	var found []string
	if r.Media != nil {
		found = containerTypes(r.Media.Container)
	}
	declared, _, _ := mime.ParseMediaType(r.Filetype)
	if len(found) == 0 && slices.ContainsFunc(containers(), func(name string) bool { return slices.Contains(containerTypes(name), declared) }) {
		return declared
	}
	switch {
	case slices.Contains(found, declared):
		return declared
	case len(found) > 0:
		return found[0]
	}
	return "application/octet-stream"
}

// containers are the containers that containerTypes knows.
func containers() []string {
	return []string{"wav", "mp3", "mov,mp4,m4a,3gp,3g2,mj2", "ogg", "flac", "matroska,webm", "aac", "amr", "aiff", "caf"}
}

// containerTypes returns the media types of a container, the usual one first.
// Containers are named as ffmpeg names them.
func containerTypes(container string) []string {
	switch container {
	case "wav", "w64":
		return []string{"audio/wav", "audio/wave", "audio/x-wav", "audio/vnd.wave"}
	case "mp3":
		return []string{"audio/mpeg", "audio/mp3"}
	case "mov,mp4,m4a,3gp,3g2,mj2":
		return []string{"audio/mp4", "audio/m4a", "audio/x-m4a", "video/mp4", "video/quicktime", "audio/3gpp", "video/3gpp", "audio/3gpp2", "video/3gpp2"}
	case "ogg":
		return []string{"audio/ogg", "audio/opus", "video/ogg"}
	case "flac":
		return []string{"audio/flac", "audio/x-flac"}
	case "matroska,webm":
		return []string{"audio/webm", "video/webm", "audio/x-matroska", "video/x-matroska"}
	case "aac":
		return []string{"audio/aac", "audio/aacp"}
	case "amr":
		return []string{"audio/amr", "audio/amr-wb"}
	case "aiff":
		return []string{"audio/aiff", "audio/x-aiff"}
	case "caf":
		return []string{"audio/x-caf"}
	}
	return nil
}

// originalName returns the name that a download of the original gets.
func originalName(r recording.Recording) string {
	if name := cleanName(r.Filename); name != "" {
		return name
	}
	return r.ID.String()
}

// artifactName returns the name that a saved artifact gets.
func artifactName(r recording.Recording, kind recording.ArtifactKind) string {
	name := originalName(r)
	if ext := path.Ext(name); len(ext) <= len(".flac") && len(ext) < len(name) { // else it belongs to the name
		name = strings.TrimSuffix(name, ext)
	}
	switch kind {
	case recording.ArtifactAAC:
		return name + ".m4a"
	default:
		return name + "." + string(kind)
	}
}

// cleanName takes out of a name what a file system or a header may trip over, and what
// shows it other than it is: a mark of direction (Unicode's Bidi_Control) makes
// "gpj.exe" of an end that reads "exe.jpg". In titles, which no program runs, such marks
// stay: right-to-left scripts need them.
func cleanName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Bidi_Control, r):
			return -1
		case unicode.IsControl(r), r == '/', r == '\\', r == unicode.ReplacementChar, r == '\u2028', r == '\u2029':
			return '_'
		}
		return r
	}, name)
	return strings.Trim(name, " .")
}

// contentDisposition builds the header of RFC 6266: the name in ASCII for old
// clients, and as it is, encoded by RFC 8187, if that is another one.
func contentDisposition(kind, name string) string {
	var ascii, encoded strings.Builder
	for _, r := range name {
		if r < ' ' || r > '~' || strings.ContainsRune(`"\%`, r) {
			r = '_'
		}
		ascii.WriteRune(r)
	}
	for _, b := range []byte(name) {
		if 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || strings.IndexByte("!#$&+-.^_`|~", b) >= 0 {
			encoded.WriteByte(b)
		} else {
			fmt.Fprintf(&encoded, "%%%02X", b)
		}
	}
	header := kind + `; filename="` + ascii.String() + `"`
	if ascii.String() != name {
		header += "; filename*=UTF-8''" + encoded.String()
	}
	return header
}
