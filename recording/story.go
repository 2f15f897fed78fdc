package recording

import (
	"time"

	"github.com/google/uuid"
)

// Story is what an owner gathers recordings in.
type Story struct {
	ID uuid.UUID // chosen by a client; two owners may have the same, and share nothing
	// Key is unique among all owners. Keys are UUIDv7, in the order of creation.
	Key        uuid.UUID
	Title      string // "" for one that was only named by a recording so far
	Recordings int    // that are in it
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// NamedEntity is who or what an owner's recordings mention, or are about, with what its
// owner has merged into it.
type NamedEntity struct {
	ID     uuid.UUID
	Kind   EntityKind
	Name   string
	Merged []MergedEntity // by name
}

// MergedEntity is an entity that its owner says is the same as another.
type MergedEntity struct {
	ID   uuid.UUID
	Name string
}
