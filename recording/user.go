package recording

import (
	"time"

	"github.com/google/uuid"
)

// User is somebody who owns recordings: a copy of what the identity provider
// says of them, kept up to date by their tokens.
type User struct {
	ID       uuid.UUID
	Subject  string // who the identity provider says this is, for example "dev:alice"
	Email    string // verified by the identity provider; "" if there is none
	Name     string // for people; "" if not known
	Provider string // how they last signed in, for example "google.com"; "" if not known

	CreatedAt  time.Time // first seen
	LastSeenAt time.Time // within a few minutes

	DisabledAt     *time.Time // since when an operator shuts them out; nil if nobody does
	DisabledReason string     // for operators
}

// Profile is what a token says of its user.
type Profile struct {
	Subject  string
	Email    string // verified; "" if none
	Name     string
	Provider string
	// IssuedAt is when it was said: an older token does not change what a newer one
	// has said. The zero time is that of a token which says nothing but the subject.
	IssuedAt time.Time
}

// Ticket is what a WebSocket's ticket stands for: the user who asked for it, as
// their token was.
type Ticket struct {
	UserID  uuid.UUID
	Subject string
	// AuthTime is when the user signed in, by their token; zero if it didn't say.
	AuthTime time.Time
}

// Role is what somebody may do beyond what is their own.
type Role string

// The roles. Who has none has RoleNone.
const (
	RoleNone     Role = ""
	RoleSupport  Role = "support"  // may look at users and at the states of their recordings
	RoleAdmin    Role = "admin"    // may disable users as well, and read the audit
	RoleOperator Role = "operator" // of the commands on the server; no token has it
)

// AuditAction is what somebody did by their role. It is stable.
type AuditAction string

// What is written into the audit.
const (
	ActionListUsers      AuditAction = "users.list"
	ActionFindUsers      AuditAction = "users.find"
	ActionShowUser       AuditAction = "user.show"
	ActionListRecordings AuditAction = "user.recordings"
	ActionDisableUser    AuditAction = "user.disable"
	ActionEnableUser     AuditAction = "user.enable"
	ActionReadAudit      AuditAction = "audit.read"
)

// AuditEntry is one use of a role. Entries are only ever added.
type AuditEntry struct {
	ID        uuid.UUID
	At        time.Time
	ActorID   uuid.UUID // the user who did it; uuid.Nil for RoleOperator
	Role      Role
	Action    AuditAction
	Target    string // the id of the user whom it was done to or what was looked for; "" if nobody in particular
	Reason    string // as given with a change
	RequestID string // of the HTTP request; "" if there was none
}

// UserRecordings says how many recordings somebody has in each state; deleted ones
// are not counted.
type UserRecordings map[State]int64
