package hooks

import (
	"encoding/hex"
	"mime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/text/language"

	"reprise/recording"
)

// The longest values of the metadata keys that Reprise reads.
const (
	maxTitleRunes    = 200
	maxFilenameBytes = 255
	maxClientIDBytes = 128
)

// Admit decides whether an upload may begin, by what the client declares about
// it. The errors are recording.Error: CodeInvalidMetadata, CodeTooLarge,
// CodeUnsupportedType. A partial upload has no recording, so what its metadata says
// of one is passed over, clientId too: the final upload has its own.
func (h *Hooks) Admit(req recording.AdmissionRequest) (recording.Admission, error) {
	meta, err := ParseMetadata(req.Metadata)
	if err != nil {
		return recording.Admission{}, err
	}
	for key, value := range map[string]string{"filename": req.Filename, "filetype": req.Filetype} {
		if meta[key] != "" || value == "" {
			continue
		}
		if err := checkValue(key, value); err != nil {
			return recording.Admission{}, err
		}
		meta[key] = value
	}
	if req.Length != nil && *req.Length > h.maxSizeBytes {
		return recording.Admission{}, recording.Errorf(recording.CodeTooLarge,
			"The upload declares %d bytes; at most %d are accepted.", *req.Length, h.maxSizeBytes)
	}
	if req.Partial {
		return recording.Admission{Metadata: meta}, nil
	}
	a := recording.Admission{Metadata: meta, ClientID: meta["clientId"]}
	r := &a.Recording
	r.Title, r.Filename, r.Filetype, r.Language = meta["title"], meta["filename"], meta["filetype"], meta["language"]
	for _, check := range []func(map[string]string, *recording.Recording) error{
		checkLengths, checkFiletype, checkLanguage, checkStory, checkRecordedAt, checkSHA256,
	} {
		if err := check(meta, r); err != nil {
			return recording.Admission{}, err
		}
	}
	return a, nil
}

func checkLengths(meta map[string]string, _ *recording.Recording) error {
	if utf8.RuneCountInString(meta["title"]) > maxTitleRunes {
		return metadataError("title is longer than %d characters", maxTitleRunes)
	}
	if len(meta["filename"]) > maxFilenameBytes {
		return metadataError("filename is longer than %d bytes", maxFilenameBytes)
	}
	if id, ok := meta["clientId"]; ok && (id == "" || len(id) > maxClientIDBytes) {
		return metadataError("clientId must have 1 to %d bytes", maxClientIDBytes)
	}
	return nil
}

// checkFiletype refuses what declares itself to be something else than audio.
// Containers that phones write for audio may be declared as video; a client that
// doesn't know says nothing, or application/octet-stream.
func checkFiletype(meta map[string]string, _ *recording.Recording) error {
	declared := meta["filetype"]
	if declared == "" {
		return nil
	}
	mediaType, _, err := mime.ParseMediaType(declared)
	if err != nil {
		return metadataError("filetype is not a media type such as audio/mp4")
	}
	switch {
	case strings.HasPrefix(mediaType, "audio/"):
		return nil
	case mediaType == "application/octet-stream", mediaType == "application/ogg",
		mediaType == "video/mp4", mediaType == "video/webm", mediaType == "video/quicktime",
		mediaType == "video/3gpp", mediaType == "video/3gpp2", mediaType == "video/ogg":
		return nil
	}
	return recording.Errorf(recording.CodeUnsupportedType, "Files of the declared filetype are not accepted; send audio.")
}

func checkLanguage(meta map[string]string, _ *recording.Recording) error {
	declared := meta["language"]
	if declared == "" {
		return nil
	}
	if _, err := language.Parse(declared); err != nil {
		return metadataError("language is not a BCP 47 tag such as en or pt-BR")
	}
	return nil
}

func checkStory(meta map[string]string, r *recording.Recording) error {
	if meta["storyId"] == "" {
		return nil
	}
	id, err := uuid.Parse(meta["storyId"])
	if err != nil {
		return metadataError("storyId is not a UUID")
	}
	if id == uuid.Nil { // as when a recording is changed
		return metadataError("no story has this storyId")
	}
	r.StoryID = &id
	return nil
}

func checkRecordedAt(meta map[string]string, r *recording.Recording) error {
	if meta["recordedAt"] == "" {
		return nil
	}
	at, err := time.Parse(time.RFC3339, meta["recordedAt"])
	at = at.UTC() // before the look at the year: JSON has no year above 9999 (RFC 3339)
	if err != nil || at.Year() < 1 || at.Year() > 9999 {
		return metadataError("recordedAt is not a time such as 2026-05-01T18:30:00Z (RFC 3339)")
	}
	r.RecordedAt = &at
	return nil
}

func checkSHA256(meta map[string]string, _ *recording.Recording) error {
	declared := meta["sha256"]
	if declared == "" {
		return nil
	}
	if sum, err := hex.DecodeString(declared); err != nil || len(sum) != 32 {
		return metadataError("sha256 is not 64 hexadecimal digits")
	}
	return nil
}
