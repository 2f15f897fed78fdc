package s3

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"reprise/recording"
)

func TestRefs(t *testing.T) {
	t.Parallel()
	for _, p := range []uploaded{{1, `"0cc175b9c0f1b6a831c399e269772661"`}, {10_000, "a-b-c"}, {7, ""}} {
		ref := formatPartRef(p)
		if got, ok := parsePartRef(ref); got != p || !ok {
			t.Errorf("parsePartRef(%q) = %+v, %v", ref, got, ok)
		}
	}
	for _, kind := range []string{inlineRef, segmentRef} {
		ref := formatTailRef(kind, 42)
		if epoch, ok := parseTailRef(kind, ref); epoch != 42 || !ok {
			t.Errorf("parseTailRef(%q) = %d, %v", ref, epoch, ok)
		}
	}
	for _, ref := range []string{"", "part", "part-", "part-x-e", "part-01-e", "part-1", "inline-", "inline-01", "inline-1-2", "segment-x", "1-1"} {
		if _, err := layoutOf([]recording.Part{{Number: 1, Size: 1, Ref: ref}}); err == nil {
			t.Errorf("%q is the ref of a part", ref)
		}
	}
}

func TestLayout(t *testing.T) {
	t.Parallel()
	part := func(number int, size int64, ref string) recording.Part {
		return recording.Part{Number: number, Size: size, Ref: ref}
	}
	tail := []recording.Part{part(4, 10, "segment-2"), part(5, 20, "inline-3")}
	got, err := layoutOf(append([]recording.Part{part(1, 500, "part-1-a"), part(3, 400, "part-17-b")}, tail...))
	want := layout{parts: []uploaded{{1, "a"}, {17, "b"}}, base: 900, part: 500, tail: tail, size: 930}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(layout{}, uploaded{})); diff != "" || err != nil || got.tailBytes() != 30 {
		t.Errorf("layoutOf: %v (-want +got):\n%s", err, diff)
	}
	if got, err := layoutOf([]recording.Part{part(9, 7, "object")}); !got.object || got.size != 7 || err != nil {
		t.Errorf("layoutOf an object = %+v, %v", got, err)
	}
	for name, parts := range map[string][]recording.Part{
		"a part behind a tail":         {part(1, 1, "inline-1"), part(2, 1, "part-1-a")},
		"an object beside other parts": {part(1, 1, "object"), part(2, 1, "inline-1")},
	} {
		if got, err := layoutOf(parts); err == nil {
			t.Errorf("layoutOf of %s = %+v", name, got)
		}
	}
}

func TestPartSize(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	s := &Store{}
	length := func(n int64) *int64 { return &n }
	for name, tt := range map[string]struct {
		layout layout
		length *int64
		want   int64
	}{
		"unknown length":                {layout{}, nil, 8 * mib},
		"small":                         {layout{}, length(1), 8 * mib},
		"4,000 parts":                   {layout{}, length(8 * mib * plannedParts), 9 * mib},
		"a bit less":                    {layout{}, length(8*mib*plannedParts - plannedParts), 8 * mib},
		"5 TB":                          {layout{}, length(5e12), 1193 * mib},
		"a part is there":               {layout{part: 5 * mib, base: 5 * mib, size: 5 * mib}, length(5e12), 5 * mib},
		"a longer tail of another size": {layout{size: 10 * mib}, nil, 10 * mib},
	} {
		got := s.partSizeFor(tt.layout, tt.length)
		if got != tt.want {
			t.Errorf("%s: parts of %d bytes, want %d", name, got, tt.want)
		}
		if tt.length != nil && tt.layout.part == 0 && *tt.length/got > plannedParts {
			t.Errorf("%s: %d parts", name, *tt.length/got)
		}
	}
}

// A ref has one spelling, so that no two parts are taken for each other.
func FuzzRefs(f *testing.F) {
	for _, seed := range []string{"part-1-e", "part-01-e", "part--1-e", "inline-42", "inline-+42", "segment-9223372036854775808", "object"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		if p, ok := parsePartRef(ref); ok && formatPartRef(p) != ref {
			t.Fatalf("%q is part %+v", ref, p)
		}
		for _, kind := range []string{inlineRef, segmentRef} {
			if epoch, ok := parseTailRef(kind, ref); ok && formatTailRef(kind, epoch) != ref {
				t.Fatalf("%q is of epoch %d", ref, epoch)
			}
		}
	})
}
