package upload

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/tus/tusd/v2/pkg/handler"

	"reprise/auth"
	"reprise/internal/failpoint"
	"reprise/recording"
)

// store is tusd's DataStore over the ledger.
type store struct{ s *Server }

var (
	_ handler.DataStore               = store{}
	_ handler.TerminaterDataStore     = store{}
	_ handler.LengthDeferrerDataStore = store{}
	_ handler.ConcaterDataStore       = store{}
)

// admit is tusd's callback before a creation. A repeated creation (a clientId
// that names a living upload) whose first try has got somewhere is answered
// here, as an "error" with status 201: tusd would append its body, which begins
// at byte 0, at the upload's offset.
func (s *Server) admit(event handler.HookEvent) (handler.HTTPResponse, handler.FileInfoChanges, error) {
	ctx := event.Context
	req := requestFrom(ctx)
	none := handler.FileInfoChanges{}
	err := s.checkAccount(ctx, req)
	if err != nil {
		return handler.HTTPResponse{}, none, req.fail(err)
	}
	asked := recording.AdmissionRequest{
		OwnerID:  req.owner,
		Length:   declaredLength(event.Upload),
		Metadata: event.HTTPRequest.Header.Get("Upload-Metadata"),
		Partial:  event.Upload.IsPartial,
	}
	if req.draft != nil {
		asked.Filename, asked.Filetype = req.draft.filename, req.draft.filetype
	}
	req.admission, err = s.o.Hooks.Admit(asked)
	if err != nil || req.admission.ClientID == "" {
		return handler.HTTPResponse{}, none, req.fail(err)
	}
	u, err := s.o.Ledger.FindUploadByClientID(ctx, req.owner, req.admission.ClientID)
	if errors.Is(err, recording.ErrNotFound) {
		return handler.HTTPResponse{}, none, nil
	}
	if err == nil {
		err = sameLength(u, declaredLength(event.Upload))
	}
	if err != nil || !req.overtaken(u) {
		return handler.HTTPResponse{}, none, req.fail(err)
	}
	return handler.HTTPResponse{}, none, s.repeatedCreate(ctx, req, u)
}

// overtaken reports whether a repeated creation has nothing to add to u, which its
// first try has created.
func (req *request) overtaken(u recording.Upload) bool {
	return u.Complete() || u.Offset > 0 && req.draft == nil
}

// repeatedCreate is the "error" that answers a repeated creation.
func (s *Server) repeatedCreate(ctx context.Context, req *request, u recording.Upload) error {
	if err := s.giveTicket(ctx, req, u); err != nil {
		return req.fail(err)
	}
	// The body of creation-with-upload is what the server has already. A client
	// that is still sending it would not see an answer on a closed connection.
	req.body.discard(s.buffers, s.o.MaxSizeBytes, s.o.ReadTimeout)
	req.current = &upload{s: s, req: req, row: u}
	return handler.Error{
		ErrorCode: "REPEATED_CREATE",
		HTTPResponse: handler.HTTPResponse{
			StatusCode: http.StatusCreated,
			Header: handler.HTTPHeader{
				"Location":          s.location(req, u.ID),
				"Upload-Offset":     strconv.FormatInt(u.Offset, 10),
				"Reprise-Recording": u.RecordingID.String(),
			},
		},
	}
}

// location is the address of an upload.
func (s *Server) location(req *request, id uuid.UUID) string {
	server := s.o.PublicURL
	if server == "" {
		server = "http://" + req.host
	}
	return server + s.o.BasePath + id.String()
}

func declaredLength(info handler.FileInfo) *int64 {
	if info.SizeIsDeferred {
		return nil
	}
	return &info.Size
}

func sameLength(u recording.Upload, length *int64) error {
	switch {
	case length == nil:
		return nil
	case u.Length == nil: // whoever takes it for his would send every byte, and it would never end
		return recording.Errorf(recording.CodeClientIDConflict,
			"Your clientId names an upload of unknown length already; go on with that one, and declare its length with a PATCH.")
	case *u.Length != *length:
		return recording.Errorf(recording.CodeClientIDConflict,
			"Your clientId names an upload of %d bytes already; this one has %d.", *u.Length, *length)
	}
	return nil
}

// NewUpload creates the upload that admit has let in, or returns the one that
// its clientId names.
func (st store) NewUpload(ctx context.Context, info handler.FileInfo) (handler.Upload, error) {
	s, req := st.s, requestFrom(ctx)
	n := s.newUpload(req.owner, req.admission)
	n.Length = declaredLength(info)
	if info.IsPartial {
		n.Partial, n.RecordingID = true, uuid.Nil
		n.ObjectKey = "uploads/" + n.UploadID.String() + "/partial"
	}
	if n.Length != nil && *n.Length == 0 && !n.Partial {
		// tusd finishes it in a second step; a crash between would leave it for ever.
		u := recording.Upload{OwnerID: n.OwnerID, RecordingID: n.RecordingID}
		receipt := s.o.Hooks.Received(u, 0, sha256.Sum256(nil), s.o.Now())
		n.Receipt = &receipt
	}
	ticket := auth.NewTicket()
	if n.Receipt == nil {
		n.TicketHash = ticket.Hash(n.UploadID)
	}
	failpoint.Hit("create.before")
	u, created, err := s.o.Ledger.CreateUpload(ctx, n)
	failpoint.Hit("create.done")
	if err == nil && !created {
		err = s.createAgain(ctx, req, u, n.Length)
	}
	if err != nil {
		return nil, req.fail(err)
	}
	if created {
		if n.TicketHash != nil {
			req.tellTicket(ticket)
		}
		s.metrics.created.Inc()
		s.log.InfoContext(ctx, "upload created", slog.Any("upload", u.ID), purpose(u))
	}
	if !u.Partial {
		req.w.Header().Set("Reprise-Recording", u.RecordingID.String())
	}
	req.current = &upload{s: s, req: req, row: u, fresh: true}
	return req.current, nil
}

// createAgain makes a creation go on with u, which has its clientId.
func (s *Server) createAgain(ctx context.Context, req *request, u recording.Upload, length *int64) error {
	if err := sameLength(u, length); err != nil {
		return err
	}
	if req.overtaken(u) { // since admit has looked
		return s.repeatedCreate(ctx, req, u)
	}
	if err := s.giveTicket(ctx, req, u); err != nil || u.Offset == 0 {
		return err
	}
	return req.resume(u)
}

// newUpload is a new upload as far as every kind of it is the same.
func (s *Server) newUpload(owner uuid.UUID, admission recording.Admission) recording.NewUpload {
	n := recording.NewUpload{
		UploadID:    recording.NewID(),
		RecordingID: recording.NewID(),
		OwnerID:     owner,
		ClientID:    admission.ClientID,
		Metadata:    admission.Metadata,
		ExpiresAt:   s.o.Now().Add(s.o.Expiry),
		Recording:   admission.Recording,
	}
	n.ObjectKey = "recordings/" + n.RecordingID.String() + "/original"
	return n
}

// GetUpload returns the upload that the request's lock has found.
func (st store) GetUpload(ctx context.Context, id string) (handler.Upload, error) {
	req := requestFrom(ctx)
	if req.upload.ID.String() != id {
		return nil, req.fail(recording.ErrNotFound)
	}
	if err := st.s.checkAlive(req.upload); err != nil {
		return nil, req.fail(err)
	}
	if err := req.checkPatch(st.s.o.MaxSizeBytes, st.s.o.ReadTimeout); err != nil {
		return nil, req.fail(err)
	}
	req.current = &upload{s: st.s, req: req, row: req.upload}
	return req.current, nil
}

// checkPatch refuses of a PATCH at the right offset what tusd has one word for, or
// does not see.
func (req *request) checkPatch(maxSize int64, patience time.Duration) error {
	u := req.upload
	if req.http.Method != http.MethodPatch || u.PartialIDs != nil || req.claim.Offset != u.Offset {
		return nil
	}
	if u.Complete() {
		if req.http.ContentLength > 0 || req.http.ContentLength < 0 && req.body.more(patience) {
			return recording.Errorf(recording.CodeTooLarge, "The upload has all of its %d bytes, and the body goes beyond them.", u.Offset)
		}
		return nil
	}
	length, err := strconv.ParseInt(req.in.Get("Upload-Length"), 10, 64)
	switch {
	case err != nil: // none, or not a number
	case u.Length != nil:
		return recording.Errorf(recording.CodeInvalidRequest, "The length of this upload was declared before: it is %d bytes.", *u.Length)
	case length > maxSize:
		return recording.Errorf(recording.CodeTooLarge, "At most %d bytes are accepted.", maxSize)
	case length >= 0 && length < u.Offset:
		return recording.Errorf(recording.CodeInvalidRequest, "Upload-Length is %d, below the %d bytes that the upload has already.", length, u.Offset)
	}
	return nil
}

func (store) AsTerminatableUpload(u handler.Upload) handler.TerminatableUpload { return u.(*upload) }
func (store) AsLengthDeclarableUpload(u handler.Upload) handler.LengthDeclarableUpload {
	return u.(*upload)
}

// upload is one upload in one request.
type upload struct {
	s     *Server
	req   *request
	row   recording.Upload
	fresh bool // made by NewUpload, before the lock

	written bool // a body has been read
}

// GetInfo says what tusd needs to know.
func (u *upload) GetInfo(context.Context) (handler.FileInfo, error) {
	info := handler.FileInfo{
		ID:             u.row.ID.String(),
		Offset:         u.row.Offset,
		MetaData:       u.row.Metadata,
		SizeIsDeferred: u.row.Length == nil,
		IsPartial:      u.row.Partial,
		IsFinal:        u.row.PartialIDs != nil,
		PartialUploads: partialStrings(u.row.PartialIDs),
	}
	if u.row.Length != nil {
		info.Size = *u.row.Length
	}
	return info, nil
}

// GetReader is not served: finished recordings are read through the API.
func (u *upload) GetReader(context.Context) (io.ReadCloser, error) {
	return nil, handler.ErrNotImplemented
}

// FinishUpload has nothing to do: the last byte's commit has finished it. It
// only makes sure, so that no client is told success for anything else.
func (u *upload) FinishUpload(context.Context) error {
	if !u.row.Complete() {
		return u.req.fail(fmt.Errorf("upload %s is finished at offset %d in state %s", u.row.ID, u.row.Offset, u.row.State))
	}
	return nil
}

// Terminate ends the upload for its owner.
func (u *upload) Terminate(ctx context.Context) error {
	if u.req.byTicket && u.row.Complete() && !u.row.Partial {
		// A ticket that was stolen must not cost a recording.
		return u.req.fail(recording.Errorf(recording.CodeUnauthenticated, "The upload is complete; to delete its recording, send a token."))
	}
	err := u.s.checkAccount(ctx, u.req)
	if err == nil {
		err = u.s.o.Ledger.TerminateUpload(ctx, u.row.OwnerID, u.row.ID)
	}
	if err != nil {
		return u.req.fail(err)
	}
	u.s.metrics.ended("terminated")
	u.s.log.InfoContext(ctx, "upload terminated", slog.Any("upload", u.row.ID))
	return nil
}

// DeclareLength sets a deferred length. If every byte is there already the
// upload is received in the same transaction: tusd would not finish it again.
func (u *upload) DeclareLength(ctx context.Context, length int64) error {
	if u.written && (!u.req.body.complete() || u.req.body.skip > 0) {
		// Only the draft declares a length behind a body: it must have come to its end.
		return u.req.fail(recording.Errorf(recording.CodeInvalidRequest, "The body ended early; resume."))
	}
	var receipt *recording.Receipt
	if length == u.row.Offset {
		if err := u.s.checkAccount(ctx, u.req); err != nil {
			return u.req.fail(err)
		}
	}
	if length == u.row.Offset && !u.row.Partial {
		digest, err := restoreHash(u.row.HashState)
		if err != nil {
			return u.req.fail(err)
		}
		r := u.s.o.Hooks.Received(u.row, length, [32]byte(digest.Sum(nil)), u.s.o.Now())
		receipt = &r
	}
	failpoint.Hit("length.before")
	if err := u.s.o.Ledger.DeclareLength(ctx, u.row.ID, u.row.Epoch, length, receipt); err != nil {
		return u.req.fail(err)
	}
	failpoint.Hit("length.done")
	u.row.Length = &length
	if length == u.row.Offset {
		u.row.State = recording.UploadReceived
		u.s.received(ctx, u.row)
	}
	return nil
}

// received notes a completed upload.
func (s *Server) received(ctx context.Context, u recording.Upload) {
	s.metrics.ended("received")
	s.metrics.duration.Observe(s.o.Now().Sub(u.CreatedAt).Seconds())
	s.log.InfoContext(ctx, "upload received", slog.Any("upload", u.ID), purpose(u),
		slog.Int64("sizeBytes", u.Offset), slog.Duration("took", s.o.Now().Sub(u.CreatedAt)))
}

// purpose tells in the log what an upload is for.
func purpose(u recording.Upload) slog.Attr {
	if u.Partial {
		return slog.Bool("partial", true)
	}
	return slog.Any("recording", u.RecordingID)
}

// progress sends a tick with the committed offset.
func (s *Server) progress(ctx context.Context, u recording.Upload) {
	if u.Partial { // of no recording
		return
	}
	data := map[string]any{"offsetBytes": u.Offset}
	if u.Length != nil {
		data["lengthBytes"] = *u.Length
	}
	s.o.Ticks.Publish(ctx, recording.NewEvent(u.OwnerID, u.RecordingID, recording.EventUploadProgress, s.o.Now(), data))
}
