package upload

import (
	"mime"
	"net/http"
	"strconv"

	"reprise/recording"
)

// draft is a request of the IETF's resumable uploads
// (https://datatracker.ietf.org/doc/draft-ietf-httpbis-resumable-upload/), which
// iOS speaks by itself. The protocol is tusd's; what is here holds its requests to
// the same promises as those of tus.
type draft struct {
	version   string // Upload-Draft-Interop-Version: 3 to 6
	completes bool   // the end of the body is the end of the file
	filename  string // by Content-Disposition
	filetype  string // by Content-Type
}

// draftOf reads what makes a request one of the draft; nil if it is one of tus.
func draftOf(r *http.Request) (*draft, error) {
	d := &draft{version: r.Header.Get("Upload-Draft-Interop-Version")}
	switch d.version {
	case "3", "4", "5", "6": // those of tusd
	default:
		return nil, nil
	}
	for _, name := range []string{"Tus-Resumable", "Upload-Checksum", "Upload-Concat"} {
		if len(r.Header.Values(name)) > 0 {
			return nil, recording.Errorf(recording.CodeInvalidRequest, "%s is of tus, Upload-Draft-Interop-Version is not: send the headers of one protocol.", name)
		}
	}
	name, yes, no := d.completeness()
	switch value := r.Header.Get(name); {
	case value == yes:
		d.completes = true
	case value == no:
	case value == "" && r.Method != http.MethodPost: // tusd takes it for no
	default:
		return nil, recording.Errorf(recording.CodeInvalidRequest, "Send %s: %s if the body goes to the end of the file, else %s.", name, yes, no)
	}
	if r.Method == http.MethodPatch && d.version == "6" && r.Header.Get("Content-Type") != "application/partial-upload" {
		return nil, recording.Errorf(recording.CodeContentType, "A PATCH needs Content-Type: application/partial-upload.")
	}
	if r.Method == http.MethodPost {
		return d, d.readFile(r.Header)
	}
	return d, nil
}

// completeness returns the header that says whether an upload is complete, and
// its values for yes and no.
func (d *draft) completeness() (name, yes, no string) {
	if d.version == "3" {
		return "Upload-Incomplete", "?0", "?1"
	}
	return "Upload-Complete", "?1", "?0"
}

// readFile reads what a creation says about the file.
func (d *draft) readFile(h http.Header) error {
	if text := h.Get("Content-Type"); text != "" {
		mediaType, _, err := mime.ParseMediaType(text)
		if err != nil {
			return recording.Errorf(recording.CodeInvalidRequest, "Content-Type is not a media type such as audio/mp4.")
		}
		// What Apple's and other libraries send with any POST whose type nobody has set.
		if mediaType != "application/x-www-form-urlencoded" {
			d.filetype = mediaType
		}
	}
	if text := h.Get("Content-Disposition"); text != "" {
		_, params, err := mime.ParseMediaType(text)
		if err != nil {
			return recording.Errorf(recording.CodeInvalidRequest, `Content-Disposition is malformed; send attachment; filename="talk.m4a".`)
		}
		d.filename = params["filename"]
	}
	return nil
}

// answer adds to an answer what the draft wants in it and tusd leaves out.
func (d *draft) answer(h http.Header, method string, status int, u recording.Upload) {
	h.Set("Upload-Draft-Interop-Version", d.version)
	name, yes, no := d.completeness()
	switch {
	case status/100 == 2 && (method == http.MethodPost || method == http.MethodPatch):
		h.Set(name, no)
		if u.Complete() {
			h.Set(name, yes)
		}
	case status == http.StatusConflict && !u.CreatedAt.IsZero():
		h.Set("Upload-Offset", strconv.FormatInt(u.Offset, 10))
	}
}

// checkEnd refuses a request that says it goes to the end of the file and does
// not: its client would take the answer for the upload's success.
func (d *draft) checkEnd(u recording.Upload, end int64) error {
	if !d.completes || u.Length == nil || *u.Length == end {
		return nil
	}
	return recording.Errorf(recording.CodeInvalidRequest,
		"This upload has %d bytes, but the body that is to complete it ends at %d.", *u.Length, end)
}

// resume makes a repeated creation go on where its first try got to: tusd gets
// the rest of the body. In tus the client is told the offset; here the answer to
// the creation is the answer to the upload.
func (req *request) resume(u recording.Upload) error {
	if length := req.http.ContentLength; req.draft.completes && length >= 0 && length < u.Offset {
		return recording.Errorf(recording.CodeClientIDConflict, "Your clientId names an upload of at least %d bytes already; this one has %d.", u.Offset, length)
	}
	req.claim.Offset = u.Offset
	req.body.skip = u.Offset
	if req.http.ContentLength >= 0 {
		req.http.ContentLength = max(0, req.http.ContentLength-u.Offset)
	}
	return nil
}
