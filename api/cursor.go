package api

import (
	"encoding/base64"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
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

// viewPage shows a page of a list, and the cursor of the next one if there may be one.
// ID is by what the list is in order.
func viewPage[T, V any](list []T, page recording.Page, view func(T) V, id func(T) uuid.UUID) (items []V, nextCursor string) {
	items = make([]V, 0, len(list))
	for _, item := range list {
		items = append(items, view(item))
	}
	if len(list) == page.Limit {
		nextCursor = encodeCursor(id(list[len(list)-1]))
	}
	return items, nextCursor
}

// filterID reads an id that a list is filtered by. The nil UUID is refused: behind here it
// is no filter, so that it would let everything through.
func filterID(name, text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, recording.Errorf(recording.CodeInvalidRequest, "The %s is no UUID.", name)
	}
	if id == uuid.Nil {
		return uuid.Nil, recording.Errorf(recording.CodeInvalidRequest, "The %s is the nil UUID, which is nobody's.", name)
	}
	return id, nil
}

// optionalTime is a time that a list may be bounded by. huma has no pointers in
// parameters, and the zero time is a bound as good as others: nothing is before it.
type optionalTime struct {
	time  time.Time
	given bool
}

// Schema implements huma.SchemaProvider.
func (optionalTime) Schema(r huma.Registry) *huma.Schema {
	return huma.SchemaFromType(r, reflect.TypeFor[time.Time]())
}

// Receiver implements huma.ParamWrapper.
func (o *optionalTime) Receiver() reflect.Value { return reflect.ValueOf(&o.time).Elem() }

// OnParamSet implements huma.ParamReactor.
func (o *optionalTime) OnParamSet(given bool, _ any) { o.given = given }

func (o *optionalTime) orNil() *time.Time {
	if !o.given {
		return nil
	}
	return &o.time
}

func (in pageInput) page() (recording.Page, error) {
	before, err := decodeCursor(in.Cursor)
	return recording.Page{Limit: in.Limit, Before: before}, err
}
