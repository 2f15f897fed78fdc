package fsck_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"reprise/fsck"
)

var update = flag.Bool("update", false, "write the reports in testdata anew")

// sample is a report with some of everything in it.
func sample() ([]fsck.Problem, fsck.Summary) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	old, older := now.Add(-30*time.Hour), now.Add(-90*time.Hour)
	id := uuid.MustParse("01a205be-5e98-7d6f-91fe-927332d25979")
	upload := uuid.MustParse("01a205be-5e98-7d70-8b6d-54a6f4ba7a36")
	problems := []fsck.Problem{
		{Kind: fsck.OriginalMissing, RecordingID: id, UploadID: upload, Key: "recordings/" + id.String() + "/original", WantBytes: bytes(2097152), Repaired: true},
		{Kind: fsck.ArtifactSize, RecordingID: id, UploadID: upload, Key: "recordings/" + id.String() + "/aac-x.m4a", SizeBytes: bytes(0), WantBytes: bytes(9000), ModifiedAt: &old},
		{Kind: fsck.PartsLost, UploadID: upload, WantBytes: bytes(5), RepairError: "the storage is away"},
		{Kind: fsck.StageJobMissing, RecordingID: id, Repaired: true},
		{Kind: fsck.OrphanParts, UploadID: upload, SizeBytes: bytes(8388608), ModifiedAt: &old},
		{Kind: fsck.OrphanMultipart, Key: "recordings/" + id.String() + "/original", MultipartID: "VXBsb2Fk", ModifiedAt: &older},
		{Kind: fsck.UnknownObject, Key: "recordings/x/<&>", SizeBytes: bytes(1), ModifiedAt: &older},
	}
	sum := fsck.Summary{
		StartedAt: now, Took: 1234567 * time.Microsecond, Complete: true,
		Recordings: 1, Uploads: 2, Artifacts: 4, Entries: 12, BytesRead: 4096,
		Found: map[fsck.Kind]int{}, Repaired: map[fsck.Kind]int{},
	}
	for _, p := range problems {
		sum.Found[p.Kind]++
		if p.Repaired {
			sum.Repaired[p.Kind]++
		}
	}
	return problems, sum
}

func TestReports(t *testing.T) {
	t.Parallel()
	problems, sum := sample()
	clean := fsck.Summary{StartedAt: sum.StartedAt, Complete: true, Recordings: 3}
	broken := fsck.Summary{StartedAt: sum.StartedAt}
	for name, tt := range map[string]struct {
		problems []fsck.Problem
		sum      fsck.Summary
	}{"problems": {problems, sum}, "clean": {nil, clean}, "broken": {nil, broken}} {
		for ext, open := range map[string]func(*strings.Builder) fsck.Report{
			".txt": func(b *strings.Builder) fsck.Report {
				return fsck.NewTable(b, func() time.Time { return sum.StartedAt })
			},
			".json": func(b *strings.Builder) fsck.Report { return fsck.NewJSON(b) },
		} {
			t.Run(name+ext, func(t *testing.T) {
				t.Parallel()
				var b strings.Builder
				r := open(&b)
				for _, p := range tt.problems {
					must(t, r.Problem(p))
				}
				must(t, r.Done(tt.sum))
				path := filepath.Join("testdata", name+ext)
				if *update {
					must(t, os.WriteFile(path, []byte(b.String()), 0o644))
				}
				want, err := os.ReadFile(path)
				must(t, err)
				if diff := cmp.Diff(string(want), b.String()); diff != "" {
					t.Errorf("the report has changed; run go test ./fsck -update (-want +got):\n%s", diff)
				}
				if ext == ".json" && !json.Valid([]byte(b.String())) {
					t.Error("not a JSON document")
				}
			})
		}
	}
}

// TestDocumented holds that the documentation names every kind and every field.
func TestDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/operations.md")
	must(t, err)
	for _, m := range fsck.Meanings() {
		if !strings.Contains(string(text), "`"+string(m.Kind)+"`") {
			t.Errorf("docs/operations.md says nothing of %s", m.Kind)
		}
	}
	report, err := os.ReadFile("testdata/problems.json")
	must(t, err)
	var doc map[string]any
	must(t, json.Unmarshal(report, &doc))
	var check func(any)
	check = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, inner := range v {
				if !strings.Contains(string(text), "`"+name+"`") {
					t.Errorf("docs/operations.md says nothing of the field %s", name)
				}
				check(inner)
			}
		case []any:
			for _, inner := range v {
				check(inner)
			}
		}
	}
	check(doc)
}
