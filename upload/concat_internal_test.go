package upload

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/recording"
)

const (
	idA = "0197f1d2-0000-7000-8000-00000000000a"
	idB = "0197f1d2-0000-7000-8000-00000000000b"
)

func TestParseConcat(t *testing.T) {
	t.Parallel()
	a, b := uuid.MustParse(idA), uuid.MustParse(idB)
	many := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = "/files/" + recording.NewID().String()
		}
		return "final;" + strings.Join(list, " ")
	}
	tests := map[string]struct {
		header string
		want   []uuid.UUID // nil: refused
	}{
		"relative":          {"final;/files/" + idA + " /files/" + idB, []uuid.UUID{a, b}},
		"absolute":          {"final;http://localhost:8080/files/" + idB + " https://example.com/files/" + idA, []uuid.UUID{b, a}},
		"no path":           {"final;" + idA, []uuid.UUID{a}},
		"behind a proxy":    {"final;https://example.com/audio/files/" + idA, []uuid.UUID{a}},
		"several spaces":    {"final;  /files/" + idA + "   /files/" + idB + " ", []uuid.UUID{a, b}},
		"none":              {"final;", nil},
		"only spaces":       {"final;   ", nil},
		"no semicolon":      {"final", nil},
		"other word":        {"whole", nil},
		"capitals":          {"Partial", nil},
		"partial and list":  {"partial;/files/" + idA, nil},
		"twice":             {"final;/files/" + idA + " http://localhost/files/" + idA, nil},
		"other path":        {"final;/uploads/" + idA, nil},
		"host only":         {"final;//" + idA, nil},
		"no id":             {"final;/files/", nil},
		"not an id":         {"final;/files/1234", nil},
		"id in capitals":    {"final;/files/" + strings.ToUpper(idA), nil},
		"id without dashes": {"final;/files/" + strings.ReplaceAll(idA, "-", ""), nil},
		"path below":        {"final;/files/" + idA + "/parts", nil},
		"trailing slash":    {"final;/files/" + idA + "/", nil},
		"query":             {"final;/files/" + idA + "?x", nil},
		"commas":            {"final;/files/" + idA + ",/files/" + idB, nil},
		"too many":          {many(maxPartials + 1), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parseConcat(tt.header, "/files/")
			if tt.want == nil {
				if recording.CodeOf(err) != recording.CodeInvalidRequest {
					t.Fatalf("got %v, %v; want it refused", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.final); diff != "" || got.partial {
				t.Errorf("partial %v, %s", got.partial, diff)
			}
		})
	}
	if got, err := parseConcat(many(maxPartials), "/files/"); err != nil || len(got.final) != maxPartials {
		t.Errorf("as many as are accepted: %d, %v", len(got.final), err)
	}
	if got, err := parseConcat("partial", "/files/"); err != nil || !got.partial || got.final != nil {
		t.Errorf("partial: %v, %v", got, err)
	}
	if got, err := parseConcat("", "/files/"); err != nil || got.partial || got.final != nil {
		t.Errorf("no header: %v, %v", got, err)
	}
}

func FuzzParseConcat(f *testing.F) {
	for _, seed := range []string{
		"", "partial", "final;", "final;/files/" + idA, "final;http://localhost/files/" + idA + " /files/" + idB,
		"final;" + idA + " " + idA, "final;/files/%30", "final;http://[::1/files/" + idA, "final;?", "final;#/files/" + idA,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		c, err := parseConcat(header, "/files/")
		if err != nil {
			if recording.CodeOf(err) != recording.CodeInvalidRequest {
				t.Fatalf("error %v has another code", err)
			}
			return
		}
		if c.partial && c.final != nil || len(c.final) > maxPartials {
			t.Fatalf("%q gives %v", header, c)
		}
		if c.final == nil {
			return
		}
		// What was accepted says the same when it is written again.
		again := "final;"
		for _, id := range c.final {
			if !strings.Contains(header, id.String()) {
				t.Fatalf("%q gives %s", header, id)
			}
			again += "/files/" + id.String() + " "
		}
		if c2, err := parseConcat(again, "/files/"); err != nil || !cmp.Equal(c.final, c2.final) {
			t.Fatalf("%q gives %v, written again %v (%v)", header, c.final, c2.final, err)
		}
	})
}
