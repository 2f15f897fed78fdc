package api

import (
	"encoding/base64"

	"github.com/google/uuid"

	"reprise/recording"
)

// cursorVersion is the first byte of a cursor: another layout gets another one.
const cursorVersion = 1

// cursorEncoding has one text per value: strict refuses loose bits at the end.
var cursorEncoding = base64.RawURLEncoding.Strict()

// encodeCursor names the item after which the next page begins.
func encodeCursor(last uuid.UUID) string {
	return cursorEncoding.EncodeToString(append([]byte{cursorVersion}, last[:]...))
}

// decodeCursor is the inverse of encodeCursor; "" is the first page.
func decodeCursor(cursor string) (uuid.UUID, error) {
	if cursor == "" {
		return uuid.Nil, nil
	}
	raw, err := cursorEncoding.DecodeString(cursor)
	// The decoder skips line breaks, so that the text has to be compared.
	if err != nil || len(raw) != 1+len(uuid.UUID{}) || raw[0] != cursorVersion || cursorEncoding.EncodeToString(raw) != cursor {
		return uuid.Nil, recording.Errorf(recording.CodeInvalidRequest, "The cursor is none that this server gave out.")
	}
	id := uuid.UUID(raw[1:])
	if id == uuid.Nil {
		return uuid.Nil, recording.Errorf(recording.CodeInvalidRequest, "The cursor is none that this server gave out.")
	}
	return id, nil
}

// pageInput is what every list takes.
type pageInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"At most this many items." example:"50"`
	Cursor string `query:"cursor" maxLength:"64" doc:"The nextCursor of the page before; absent for the first page."`
}

func (in pageInput) page() (recording.Page, error) {
	before, err := decodeCursor(in.Cursor)
	return recording.Page{Limit: in.Limit, Before: before}, err
}
