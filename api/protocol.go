package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"reprise/recording"
)

// What other packages serve on the same listener is documented here, because a
// client reads one document. A test of the whole server holds the two together.

func (a *API) documentUploadProtocol() {
	version := headerParam("Tus-Resumable", "The protocol's version: 1.0.0.", true)
	id := &huma.Param{Name: "id", In: "path", Required: true, Description: "The upload's id.", Schema: &huma.Schema{Type: huma.TypeString}}
	length := headerParam("Upload-Length", "How many bytes the file has.", false)
	bytesBody := &huma.RequestBody{Content: map[string]*huma.MediaType{"application/offset+octet-stream": {}}}
	checksum := headerParam("Upload-Checksum", "sha1, sha256, md5 or crc32c, a space, and that checksum of the body in Base64. If it differs, none of the body counts.", false)
	offset := headers("Tus-Resumable", "Upload-Offset", "Upload-Expires")

	a.describe(huma.Operation{
		OperationID: "describeUploads", Method: http.MethodOptions, Path: "/files/",
		Summary: "What the upload server can do",
		Responses: map[string]*huma.Response{"200": {
			Description: "In the headers.", Headers: headers("Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm"),
		}},
	}, nil)
	a.describe(huma.Operation{
		OperationID: "createUpload", Method: http.MethodPost, Path: "/files/",
		Summary:     "Begin an upload",
		Description: "With Content-Type application/offset+octet-stream the body is the file's first bytes. A clientId in the metadata makes this safe to repeat: the same one gives the same upload. Requests of the IETF's draft of resumable uploads (Upload-Draft-Interop-Version 3 to 6) are served at the same paths.",
		Parameters: []*huma.Param{
			version, length,
			headerParam("Upload-Defer-Length", "1, in place of Upload-Length, if the length is not known yet.", false),
			headerParam("Upload-Metadata", "Pairs of key and Base64 value: filename, filetype, title, storyId, recordedAt (RFC 3339), language (BCP 47), sha256 (hex; checked at the end), clientId.", false),
			headerParam("Upload-Concat", "partial, or final; and the addresses of 1 to 128 partial uploads with a space between two. A final upload has no Upload-Length and no body; the same list gives the same upload.", false),
			checksum,
		},
		RequestBody: bytesBody,
		Responses: map[string]*huma.Response{"201": {
			Description: "Location is where to send the bytes, Reprise-Recording the id of the recording; a partial upload has none. Reprise-Upload-Ticket can be sent in place of the token with HEAD, PATCH and DELETE of this upload, until it expires.",
			Headers:     headers("Tus-Resumable", "Location", "Reprise-Recording", "Reprise-Upload-Ticket", "Upload-Offset", "Upload-Expires"),
		}},
	}, []recording.Code{
		recording.CodeInvalidRequest, recording.CodeInvalidMetadata, recording.CodeProtocolVersion, recording.CodeClientIDConflict, recording.CodeTooLarge,
		recording.CodeUnsupportedType, recording.CodeNotAudio, recording.CodeContentType, recording.CodeChecksum, recording.CodeStorageFull,
		recording.CodeForbidden, recording.CodeNotFound, recording.CodeConflict, recording.CodeUploadGone,
		recording.CodeTooManyUploads, recording.CodeDailyQuota, recording.CodeStorageQuota,
	})
	a.describe(huma.Operation{
		OperationID: "getUploadOffset", Method: http.MethodHead, Path: "/files/{id}",
		Summary:     "How many bytes are safe",
		Description: "Upload-Offset never goes down.",
		Parameters:  []*huma.Param{id, version},
		Responses: map[string]*huma.Response{"200": {
			Description: "In the headers.",
			Headers:     headers("Tus-Resumable", "Upload-Offset", "Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Concat", "Upload-Expires"),
		}},
	}, []recording.Code{recording.CodeNotFound, recording.CodeUploadGone, recording.CodeProtocolVersion})
	a.describe(huma.Operation{
		OperationID: "appendToUpload", Method: http.MethodPatch, Path: "/files/{id}",
		Summary:     "Send bytes",
		Description: "Bytes that arrived stay safe when the connection breaks; ask for the offset with HEAD and go on from there. With the file's last byte the recording becomes received.",
		Parameters:  []*huma.Param{id, version, headerParam("Upload-Offset", "Where these bytes begin: exactly the upload's offset.", true), length, checksum},
		RequestBody: bytesBody,
		Responses:   map[string]*huma.Response{"204": {Description: "Every byte up to Upload-Offset is safe.", Headers: offset}},
	}, []recording.Code{
		recording.CodeInvalidRequest, recording.CodeNotFound, recording.CodeTimeout, recording.CodeOffsetMismatch, recording.CodeTakenOver, recording.CodeUploadGone, recording.CodeForbidden,
		recording.CodeProtocolVersion, recording.CodeTooLarge, recording.CodeContentType, recording.CodeNotAudio, recording.CodeChecksum, recording.CodeStorageFull,
		recording.CodeTooManyUploads, recording.CodeDailyQuota, recording.CodeStorageQuota,
	})
	a.describe(huma.Operation{
		OperationID: "terminateUpload", Method: http.MethodDelete, Path: "/files/{id}",
		Summary:    "Give an upload up",
		Parameters: []*huma.Param{id, version},
		Responses:  map[string]*huma.Response{"204": {Description: "It is gone, with its bytes.", Headers: headers("Tus-Resumable")}},
	}, []recording.Code{recording.CodeNotFound, recording.CodeConflict, recording.CodeUploadGone, recording.CodeProtocolVersion})
}

// describe adds an operation of the upload protocol to the document.
func (a *API) describe(op huma.Operation, codes []recording.Code) {
	op.Tags = []string{tagUploads}
	a.document(&op, codes)
	if op.Method == http.MethodOptions { // a browser's preflight carries no token
		op.Security = []map[string][]string{{}}
		delete(op.Responses, "401")
	}
	a.huma.OpenAPI().AddOperation(&op)
}

func (a *API) documentSocket() {
	op := huma.Operation{
		OperationID: "watchEvents", Method: http.MethodGet, Path: "/v1/events", Tags: []string{tagEvents},
		Summary: "Watch events on a WebSocket",
		Description: "A WebSocket (RFC 6455), subprotocol `reprise.v1`. Say who you are by one of: the Authorization header; a ticket as a second subprotocol, `ticket.<ticket>`; " +
			"a first message `{\"type\":\"auth\",\"token\":\"…\"}` (or with `ticket`). Never put either into the URL.\n\n" +
			"Then send `{\"type\":\"subscribe\",\"recordings\":[\"…\"],\"since\":42}`: without recordings it is about all of yours, without since it begins now. " +
			"Milestones have a `seq`, are stored, and a client that subscribes again with the last one it saw as since misses none; progress is live only.",
		Parameters: []*huma.Param{
			headerParam("Sec-WebSocket-Protocol", "reprise.v1, and a ticket if there is one.", false),
		},
		Responses: map[string]*huma.Response{"101": {Description: "The connection is a WebSocket now."}},
	}
	a.document(&op, []recording.Code{recording.CodeInvalidRequest, recording.CodeForbidden})
	op.Security = append(op.Security, map[string][]string{}) // a ticket or a first message does as well
	a.huma.OpenAPI().AddOperation(&op)
}
