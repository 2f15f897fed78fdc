package api

import (
	"context"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/uuid"

	"reprise/auth"
	"reprise/recording"
)

// AdminCatalog is what roles read and change. Its methods are of any user.
type AdminCatalog interface {
	// Users returns a page of users, who was created last first, and FindUsers those
	// of them whose id, subject or e-mail address is what.
	Users(ctx context.Context, page recording.Page) ([]recording.User, error)
	FindUsers(ctx context.Context, what string, page recording.Page) ([]recording.User, error)
	// CountRecordings counts a user's recordings by state.
	CountRecordings(ctx context.Context, owner uuid.UUID) (recording.UserRecordings, error)
	// SetUserDisabled shuts a user out, or lets them in again, and writes e into the
	// audit in the same transaction.
	SetUserDisabled(ctx context.Context, id uuid.UUID, disabled bool, e recording.AuditEntry) (recording.User, error)
	// Audit writes e into the audit; AuditEntries returns a page of it, newest first.
	Audit(ctx context.Context, e recording.AuditEntry) error
	AuditEntries(ctx context.Context, page recording.Page) ([]recording.AuditEntry, error)
}

func (a *API) registerAdmin() {
	read := []recording.Code{recording.CodeInvalidRequest, recording.CodeNotFound}
	registerRole(a, huma.Operation{
		OperationID: "listUsers", Method: http.MethodGet, Path: "/v1/admin/users", Tags: []string{tagAdmin},
		Summary: "List or find users", Description: "Who was created last first; with find, those whose id, subject or e-mail address it is.",
	}, recording.RoleSupport, read, a.listUsers)
	registerRole(a, huma.Operation{
		OperationID: "getUser", Method: http.MethodGet, Path: "/v1/admin/users/{id}", Tags: []string{tagAdmin},
		Summary: "Get a user", Description: "With the number of their recordings in each state.",
	}, recording.RoleSupport, read, a.getUser)
	registerRole(a, huma.Operation{
		OperationID: "listUserRecordings", Method: http.MethodGet, Path: "/v1/admin/users/{id}/recordings", Tags: []string{tagAdmin},
		Summary: "List the states of a user's recordings", Description: "Newest first; without what the user calls them or has recorded.",
	}, recording.RoleSupport, read, a.listUserRecordings)
	registerRole(a, huma.Operation{
		OperationID: "disableUser", Method: http.MethodPost, Path: "/v1/admin/users/{id}/disable", Tags: []string{tagAdmin},
		Summary: "Shut a user out", Description: "Within a minute, on every server. What they have uploaded is kept. Doing it again replaces the reason.",
		DefaultStatus: http.StatusOK,
	}, recording.RoleAdmin, read, a.disableUser)
	registerRole(a, huma.Operation{
		OperationID: "enableUser", Method: http.MethodPost, Path: "/v1/admin/users/{id}/enable", Tags: []string{tagAdmin},
		Summary:       "Let a user in again",
		DefaultStatus: http.StatusOK,
	}, recording.RoleAdmin, read, a.enableUser)
	registerRole(a, huma.Operation{
		OperationID: "listAudit", Method: http.MethodGet, Path: "/v1/admin/audit", Tags: []string{tagAdmin},
		Summary: "List what was done by role", Description: "Newest first.",
	}, recording.RoleAdmin, read, a.listAudit)
}

// registerRole is register for operations of a role. For whoever has none they don't
// exist, and for whoever's account is not in order neither.
func registerRole[I, O any](a *API, op huma.Operation, role recording.Role, codes []recording.Code, handle func(ctx context.Context, by recording.AuditEntry, in *I) (*O, error)) {
	op.Middlewares = huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
		p, _ := auth.FromContext(ctx.Context())
		err := checkRole(p.Role, role)
		if err == nil {
			err = a.accounts.CheckAccount(ctx.Context(), p)
		}
		if err != nil {
			r, w := humago.Unwrap(ctx)
			a.problems.Write(w, r, err)
			return
		}
		next(ctx)
	}}
	codes = append([]recording.Code{recording.CodeForbidden}, codes...)
	if op.Method == http.MethodGet { // register adds it to the others
		codes = append(codes, recording.CodeAccountDisabled)
	}
	register(a, op, codes, func(ctx context.Context, _ uuid.UUID, in *I) (*O, error) {
		p, _ := auth.FromContext(ctx)
		return handle(ctx, recording.AuditEntry{ActorID: p.UserID, Role: p.Role, RequestID: RequestID(ctx)}, in)
	})
}

// checkRole returns nil if role has may do what needs role.
func checkRole(has, needs recording.Role) error {
	switch {
	case has == recording.RoleAdmin, has == recording.RoleSupport && needs == recording.RoleSupport:
		return nil
	case has == recording.RoleSupport:
		return recording.Errorf(recording.CodeForbidden, "Your role may look, and change nothing; this needs the role admin.")
	}
	return recording.ErrNotFound
}

// audit writes down that by did action, before anything of the answer is known.
func (a *API) audit(ctx context.Context, by recording.AuditEntry, action recording.AuditAction, target string) error {
	by.Action, by.Target = action, target
	return a.catalog.Audit(ctx, by)
}

type adminUserView struct {
	ID             uuid.UUID  `json:"id" format:"uuid" doc:"Who this is in Reprise."`
	Subject        string     `json:"subject" doc:"Who the identity provider says this is." example:"firebase:Xyz"`
	Email          string     `json:"email,omitempty" doc:"If the identity provider has verified it." example:"alice@example.com"`
	Name           string     `json:"name,omitempty" doc:"As the identity provider has it." example:"Alice"`
	Provider       string     `json:"provider,omitempty" doc:"How they signed in last." example:"google.com"`
	CreatedAt      time.Time  `json:"createdAt" doc:"When they were first seen."`
	LastSeenAt     time.Time  `json:"lastSeenAt" doc:"When they were last seen, within a few minutes."`
	DisabledAt     *time.Time `json:"disabledAt,omitempty" doc:"Since when they are shut out; absent if they are not."`
	DisabledReason string     `json:"disabledReason,omitempty" doc:"Why."`

	Recordings map[recording.State]int64 `json:"recordings,omitempty" doc:"How many there are in each state; only of one user."`
}

func viewUser(u recording.User) adminUserView {
	return adminUserView{
		ID: u.ID, Subject: u.Subject, Email: u.Email, Name: u.Name, Provider: u.Provider,
		CreatedAt: u.CreatedAt.UTC(), LastSeenAt: u.LastSeenAt.UTC(), DisabledAt: utc(u.DisabledAt), DisabledReason: u.DisabledReason,
	}
}

type usersPageView struct {
	Items      []adminUserView `json:"items" nullable:"false" doc:"Who was created last first."`
	NextCursor string          `json:"nextCursor,omitempty" doc:"Ask for the next page with it; absent on the last one."`
}

type adminUserOutput struct{ Body adminUserView }

type usersOutput struct{ Body usersPageView }

// Inputs repeat the fields of pageInput and userInput: huma does not look into what
// is embedded and not exported.
type usersInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"At most this many items." example:"50"`
	Cursor string `query:"cursor" maxLength:"64" doc:"The nextCursor of the page before; absent for the first page."`
	Find   string `query:"find" maxLength:"320" doc:"A user's id, subject, or e-mail address in whole." example:"alice@example.com"`
}

type userInput struct {
	ID string `path:"id" doc:"The user's id, a UUID." example:"01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"`
}

func (a *API) listUsers(ctx context.Context, by recording.AuditEntry, in *usersInput) (*usersOutput, error) {
	page, err := pageInput{in.Limit, in.Cursor}.page()
	if err == nil {
		err = checkText("find", in.Find)
	}
	if err != nil {
		return nil, err
	}
	var list []recording.User
	if in.Find == "" {
		if err = a.audit(ctx, by, recording.ActionListUsers, ""); err == nil {
			list, err = a.catalog.Users(ctx, page)
		}
	} else if err = a.audit(ctx, by, recording.ActionFindUsers, in.Find); err == nil {
		list, err = a.catalog.FindUsers(ctx, in.Find, page)
	}
	if err != nil {
		return nil, err
	}
	items, next := viewPage(list, page, viewUser, func(u recording.User) uuid.UUID { return u.ID })
	return &usersOutput{Body: usersPageView{Items: items, NextCursor: next}}, nil
}

// auditedUser returns the user with this id, after by's looking at them has been
// written down.
func (a *API) auditedUser(ctx context.Context, by recording.AuditEntry, action recording.AuditAction, text string) (recording.User, error) {
	id, err := parseID(text)
	if err != nil {
		return recording.User{}, err
	}
	if err := a.audit(ctx, by, action, id.String()); err != nil {
		return recording.User{}, err
	}
	return a.catalog.User(ctx, id)
}

func (a *API) getUser(ctx context.Context, by recording.AuditEntry, in *userInput) (*adminUserOutput, error) {
	u, err := a.auditedUser(ctx, by, recording.ActionShowUser, in.ID)
	if err != nil {
		return nil, err
	}
	counts, err := a.catalog.CountRecordings(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	out := &adminUserOutput{Body: viewUser(u)}
	out.Body.Recordings = counts
	return out, nil
}

type userRecordingsInput struct {
	ID     string `path:"id" doc:"The user's id, a UUID." example:"01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"At most this many items." example:"50"`
	Cursor string `query:"cursor" maxLength:"64" doc:"The nextCursor of the page before; absent for the first page."`
}

type recordingStateView struct {
	ID         uuid.UUID        `json:"id" format:"uuid" doc:"Ids sort in the order of creation."`
	State      recording.State  `json:"state" enum:"uploading,received,processing,ready,rejected,failed" doc:"As its owner sees it."`
	Reason     recording.Reason `json:"reason,omitempty" doc:"Why it was rejected or failed; stable." example:"truncated"`
	SizeBytes  *int64           `json:"sizeBytes,omitempty" doc:"Of the original; from received on."`
	CreatedAt  time.Time        `json:"createdAt" doc:"When its upload began."`
	UpdatedAt  time.Time        `json:"updatedAt" doc:"When it last changed."`
	ReceivedAt *time.Time       `json:"receivedAt,omitempty" doc:"When its last byte was safe."`
	ReadyAt    *time.Time       `json:"readyAt,omitempty" doc:"When it became playable."`
}

type recordingStatesPageView struct {
	Items      []recordingStateView `json:"items" nullable:"false" doc:"Newest first."`
	NextCursor string               `json:"nextCursor,omitempty" doc:"Ask for the next page with it; absent on the last one."`
}

type recordingStatesOutput struct{ Body recordingStatesPageView }

func (a *API) listUserRecordings(ctx context.Context, by recording.AuditEntry, in *userRecordingsInput) (*recordingStatesOutput, error) {
	page, err := pageInput{in.Limit, in.Cursor}.page()
	if err != nil {
		return nil, err
	}
	u, err := a.auditedUser(ctx, by, recording.ActionListRecordings, in.ID)
	if err != nil {
		return nil, err
	}
	list, err := a.catalog.Recordings(ctx, u.ID, page)
	if err != nil {
		return nil, err
	}
	items, next := viewPage(list, page, viewRecordingState, func(r recording.Recording) uuid.UUID { return r.ID })
	return &recordingStatesOutput{Body: recordingStatesPageView{Items: items, NextCursor: next}}, nil
}

func viewRecordingState(r recording.Recording) recordingStateView {
	return recordingStateView{
		ID: r.ID, State: r.State, Reason: r.Reason, SizeBytes: r.SizeBytes,
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(), ReceivedAt: utc(r.ReceivedAt), ReadyAt: utc(r.ReadyAt),
	}
}

type changeReasonView struct {
	_      struct{} `json:"-" additionalProperties:"false"`
	Reason string   `json:"reason" minLength:"1" maxLength:"500" doc:"Why, for other operators; the user does not see it." example:"Asked for it by letter."`
}

type reasonInput struct {
	ID   string `path:"id" doc:"The user's id, a UUID." example:"01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"`
	Body changeReasonView
}

// checkText refuses what the database does not keep, and what a terminal would obey.
func checkText(name, text string) error {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return recording.Errorf(recording.CodeInvalidRequest, "There are control characters in %s.", name)
	}
	return nil
}

func (a *API) disableUser(ctx context.Context, by recording.AuditEntry, in *reasonInput) (*adminUserOutput, error) {
	return a.setDisabled(ctx, true, by, in)
}

func (a *API) enableUser(ctx context.Context, by recording.AuditEntry, in *reasonInput) (*adminUserOutput, error) {
	return a.setDisabled(ctx, false, by, in)
}

func (a *API) setDisabled(ctx context.Context, disabled bool, by recording.AuditEntry, in *reasonInput) (*adminUserOutput, error) {
	id, err := parseID(in.ID)
	if err != nil {
		return nil, err
	}
	if err := checkText("reason", in.Body.Reason); err != nil {
		return nil, err
	}
	by.Action, by.Target, by.Reason = recording.ActionEnableUser, id.String(), in.Body.Reason
	if disabled {
		by.Action = recording.ActionDisableUser
	}
	u, err := a.catalog.SetUserDisabled(ctx, id, disabled, by)
	if err != nil {
		return nil, err
	}
	return &adminUserOutput{Body: viewUser(u)}, nil
}

type auditView struct {
	ID        uuid.UUID             `json:"id" format:"uuid" doc:"Ids sort in the order of what was done."`
	At        time.Time             `json:"at" doc:"When."`
	ActorID   *uuid.UUID            `json:"actorId,omitempty" format:"uuid" doc:"The user who did it; absent for the operator, by a command on the server."`
	Role      recording.Role        `json:"role" enum:"support,admin,operator" doc:"By which role."`
	Action    recording.AuditAction `json:"action" doc:"What; stable." example:"user.disable"`
	Target    string                `json:"target,omitempty" doc:"The user whom it was done to, or what was looked for."`
	Reason    string                `json:"reason,omitempty" doc:"As given."`
	RequestID string                `json:"requestId,omitempty" doc:"Of the request, as in the log."`
}

type auditPageView struct {
	Items      []auditView `json:"items" nullable:"false" doc:"Newest first."`
	NextCursor string      `json:"nextCursor,omitempty" doc:"Ask for the next page with it; absent on the last one."`
}

type auditOutput struct{ Body auditPageView }

func (a *API) listAudit(ctx context.Context, by recording.AuditEntry, in *pageInput) (*auditOutput, error) {
	page, err := in.page()
	if err != nil {
		return nil, err
	}
	if err := a.audit(ctx, by, recording.ActionReadAudit, ""); err != nil {
		return nil, err
	}
	list, err := a.catalog.AuditEntries(ctx, page)
	if err != nil {
		return nil, err
	}
	items, next := viewPage(list, page, viewAudit, func(e recording.AuditEntry) uuid.UUID { return e.ID })
	return &auditOutput{Body: auditPageView{Items: items, NextCursor: next}}, nil
}

func viewAudit(e recording.AuditEntry) auditView {
	v := auditView{
		ID: e.ID, At: e.At.UTC(), Role: e.Role, Action: e.Action, Target: e.Target, Reason: e.Reason, RequestID: e.RequestID,
	}
	if e.ActorID != uuid.Nil {
		v.ActorID = &e.ActorID
	}
	return v
}
