package jsondoc

import (
	"errors"
	"strings"
	"testing"
)

func TestDocument(t *testing.T) {
	t.Parallel()
	type summary struct {
		Found int `json:"found"`
	}
	for want, items := range map[string][]any{
		"{\"list\":[],\"found\":0}\n":               nil,
		"{\"list\":[\n  1\n],\"found\":1}\n":        {1},
		"{\"list\":[\n  1,\n  {}\n],\"found\":2}\n": {1, struct{}{}},
	} {
		var b strings.Builder
		d := New(&b, "list")
		for _, item := range items {
			if err := d.Add(item); err != nil {
				t.Error(err)
			}
		}
		if err := d.End(summary{len(items)}); err != nil || b.String() != want {
			t.Errorf("wrote %q, %v; want %q", b.String(), err, want)
		}
	}
	full := New(brokenWriter{}, "list")
	if full.Add(1) == nil || full.End(summary{}) == nil {
		t.Error("nobody says that it could not be written")
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken") }
