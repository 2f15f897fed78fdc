package api

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"reprise/recording"
)

func TestCursorRoundTrip(t *testing.T) {
	t.Parallel()
	for range 100 {
		id := recording.NewID()
		if got, err := decodeCursor(encodeCursor(id)); err != nil || got != id {
			t.Fatalf("%v came back as %v, %v", id, got, err)
		}
	}
	if got, err := decodeCursor(""); err != nil || got != uuid.Nil {
		t.Errorf("no cursor: %v, %v", got, err)
	}
}

func FuzzCursor(f *testing.F) {
	good := encodeCursor(uuid.MustParse("01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"))
	for _, seed := range []string{"", good, good + "=", good + "\n", good[:22], strings.ToLower(good), "AZ", "!", strings.Repeat("A", 23)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		id, err := decodeCursor(cursor)
		switch {
		case err != nil:
			if recording.CodeOf(err) != recording.CodeInvalidRequest || id != uuid.Nil {
				t.Errorf("%q: %v, %v", cursor, id, err)
			}
		case cursor == "":
		case encodeCursor(id) != cursor:
			t.Errorf("%q is a second text of %v", cursor, id)
		}
	})
}
