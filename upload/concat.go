package upload

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/tus/tusd/v2/pkg/handler"

	"reprise/internal/failpoint"
	"reprise/recording"
)

// maxPartials bounds how many partial uploads are joined at once. A HEAD of the
// final upload lists them all, and Node.js takes no more than 16 KiB of headers.
const maxPartials = 128

// concat is what an Upload-Concat header asks for.
type concat struct {
	partial bool
	final   []uuid.UUID // the partial uploads to join, in their order; nil if none
}

// parseConcat reads the Upload-Concat header of a creation strictly by tus 1.0
// (https://tus.io/protocols/resumable-upload#upload-concat): "partial", or
// "final;" and the addresses of partial uploads, with a space between two. An
// address is absolute or relative to basePath. Its host is not looked at: a server
// has several names, and whether the upload is here and the client's own is for the
// ledger to say. No header is the zero concat.
func parseConcat(header, basePath string) (concat, error) {
	list, final := strings.CutPrefix(header, "final;")
	switch {
	case header == "":
		return concat{}, nil
	case header == "partial":
		return concat{partial: true}, nil
	case !final:
		return concat{}, concatError(`it is neither "partial" nor "final;" and a list of addresses`)
	}
	addresses := strings.Fields(list)
	if len(addresses) == 0 || len(addresses) > maxPartials {
		return concat{}, concatError("there are " + strconv.Itoa(len(addresses)) + " addresses in it; 1 to " + strconv.Itoa(maxPartials) + " are accepted")
	}
	var c concat
	for i, address := range addresses {
		id, ok := uploadID(address, basePath)
		if !ok {
			return concat{}, concatError("address " + strconv.Itoa(i+1) + " is not that of an upload of this server")
		}
		if slices.Contains(c.final, id) {
			return concat{}, concatError("upload " + id.String() + " is in it twice")
		}
		c.final = append(c.final, id)
	}
	return c, nil
}

func concatError(what string) error {
	return recording.Errorf(recording.CodeInvalidRequest, "Upload-Concat: %s.", what)
}

// uploadID reads the address of an upload.
func uploadID(address, basePath string) (uuid.UUID, bool) {
	ref, err := url.Parse(address)
	// A comma is that of a list written wrong, of which the last would be taken for all.
	if err != nil || ref.RawQuery != "" || ref.Fragment != "" || strings.Contains(address, ",") {
		return uuid.Nil, false
	}
	folder, last := "", ref.Path
	if i := strings.LastIndexByte(ref.Path, '/'); i >= 0 {
		folder, last = ref.Path[:i+1], ref.Path[i+1:]
	}
	// A proxy may have put a path of its own before.
	if folder != "" && !strings.HasSuffix(folder, basePath) || folder == "" && ref.Host != "" {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(last)
	return id, err == nil && id.String() == last // one spelling, as in a request's path
}

// join answers the creation of a final upload. tusd would look at each partial
// upload by itself and create the final one afterwards; here the ledger decides
// once, with all of them locked.
func (s *Server) join(r *http.Request, req *request, partials []uuid.UUID) error {
	ctx := r.Context()
	for _, name := range []string{"Upload-Length", "Upload-Defer-Length"} {
		if r.Header.Get(name) != "" {
			return recording.Errorf(recording.CodeInvalidRequest, "A final upload has the length of its partial ones; leave %s out.", name)
		}
	}
	if r.ContentLength != 0 && r.Header.Get("Content-Type") == "application/offset+octet-stream" {
		return errFinal
	}
	if err := s.checkAccount(ctx, req); err != nil {
		return err
	}
	admission, err := s.o.Hooks.Admit(recording.AdmissionRequest{OwnerID: req.owner, Metadata: r.Header.Get("Upload-Metadata")})
	if err != nil {
		return err
	}
	n := s.newUpload(req.owner, admission)
	n.PartialIDs = partials
	var size int64
	failpoint.Hit("concat.before")
	u, created, err := s.o.Ledger.JoinUploads(ctx, n, func(partials []recording.Upload) (recording.Receipt, error) {
		var err error
		if size, err = s.joinedSize(partials); err != nil {
			return recording.Receipt{}, err
		}
		return s.o.Hooks.Joined(recording.Upload{OwnerID: n.OwnerID, RecordingID: n.RecordingID}, size, s.o.Now()), nil
	})
	failpoint.Hit("concat.joined")
	if err == nil && !slices.Equal(u.PartialIDs, partials) {
		err = sameFile(u, size)
	}
	if err != nil {
		return err
	}
	if created {
		s.metrics.created.Inc()
		s.log.InfoContext(ctx, "uploads joined", slog.Any("upload", u.ID), slog.Any("recording", u.RecordingID),
			slog.Int64("sizeBytes", u.Offset), slog.Int("partials", len(partials)))
		s.metrics.ended("received")
	}
	h := req.w.Header()
	h.Set("Location", s.location(req, u.ID))
	h.Set("Reprise-Recording", u.RecordingID.String())
	req.w.WriteHeader(http.StatusCreated)
	return nil
}

// errFinal is the answer to bytes for a final upload.
var errFinal = recording.Errorf(recording.CodeForbidden, "A final upload takes no bytes; send them to partial ones.")

// joinedSize returns how many bytes the partial uploads have together, or why
// they can't be joined.
func (s *Server) joinedSize(partials []recording.Upload) (int64, error) {
	var size int64
	now := s.o.Now()
	for _, p := range partials {
		switch {
		case !p.Partial:
			return 0, recording.Errorf(recording.CodeInvalidRequest, "Upload %s was not created with Upload-Concat: partial.", p.ID)
		case p.State.Gone():
			return 0, recording.Errorf(recording.CodeUploadGone, "Upload %s has ended; send that part again.", p.ID)
		case p.FinalID != uuid.Nil:
			return 0, recording.Errorf(recording.CodeConflict, "Upload %s has been joined into another upload already.", p.ID)
		case !now.Before(p.ExpiresAt):
			return 0, recording.Errorf(recording.CodeUploadGone, "Upload %s has expired; send that part again.", p.ID)
		case !p.Complete():
			return 0, recording.Errorf(recording.CodeConflict, "Upload %s is not complete yet: it is at %d bytes.", p.ID, p.Offset)
		}
		if size += p.Offset; size > s.o.MaxSizeBytes {
			return 0, recording.Errorf(recording.CodeTooLarge, "Together these uploads have more than the %d bytes that are accepted.", s.o.MaxSizeBytes)
		}
	}
	return size, nil
}

// sameFile reports an error unless u, which has the ClientID of a final upload of
// size bytes, can be taken for it. An unfinished one can't: this answer says that
// every byte is safe.
func sameFile(u recording.Upload, size int64) error {
	if !u.Complete() {
		return recording.Errorf(recording.CodeClientIDConflict, "Your clientId names an upload already that is not complete; go on with that one.")
	}
	return sameLength(u, &size)
}

func (store) AsConcatableUpload(u handler.Upload) handler.ConcatableUpload { return u.(*upload) }

// ConcatUploads is never called: a final upload does not get to tusd.
func (u *upload) ConcatUploads(context.Context, []handler.Upload) error {
	return handler.ErrNotImplemented
}

// partialStrings returns what tusd lists in a HEAD of a final upload.
func partialStrings(ids []uuid.UUID) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = id.String()
	}
	return list
}
