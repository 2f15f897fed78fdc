package fsck

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"reprise/internal/jsondoc"
)

// Table reports to people: a line for each problem as it is found, then totals.
type Table struct {
	w    io.Writer
	now  func() time.Time
	said bool
}

// NewTable returns a Table that writes to w. Now is the clock.
func NewTable(w io.Writer, now func() time.Time) *Table { return &Table{w: w, now: now} }

const tableLine = "%-17s  %-9s  %s\n"

// Problem implements Report.
func (t *Table) Problem(p Problem) error {
	if !t.said {
		t.said = true
		if _, err := fmt.Fprintf(t.w, tableLine, "PROBLEM", "REPAIRED", "WHERE"); err != nil {
			return err
		}
	}
	repaired := "no"
	if p.Repaired {
		repaired = "yes"
	}
	_, err := fmt.Fprintf(t.w, tableLine, p.Kind, repaired, t.where(p))
	return err
}

// where says what a problem is about.
func (t *Table) where(p Problem) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if p.RecordingID != uuid.Nil {
		add("recording %s", p.RecordingID)
	}
	if p.UploadID != uuid.Nil {
		add("upload %s", p.UploadID)
	}
	if p.Key != "" {
		add("%s", p.Key)
	}
	if p.MultipartID != "" {
		add("multipart upload %s", p.MultipartID)
	}
	switch {
	case p.SizeBytes != nil && p.WantBytes != nil && *p.SizeBytes != *p.WantBytes:
		add("%s instead of %d", count(*p.SizeBytes, "byte"), *p.WantBytes)
	case p.SizeBytes != nil:
		add("%s", count(*p.SizeBytes, "byte"))
	case p.WantBytes != nil:
		add("%s expected", count(*p.WantBytes, "byte"))
	}
	if p.ModifiedAt != nil && !p.Kind.ofLedger() {
		add("%s old", age(t.now(), *p.ModifiedAt))
	}
	if p.RepairError != "" {
		add("the repair failed: %s", p.RepairError)
	}
	return strings.Join(parts, ", ")
}

// Done implements Report.
func (t *Table) Done(s Summary) error {
	var b strings.Builder
	found, repaired := s.Problems()
	if found > 0 {
		fmt.Fprintf(&b, "\n%-17s  %9s  %9s  %s\n", "PROBLEM", "FOUND", "REPAIRED", "MEANING")
		for _, m := range Meanings() {
			if n := s.Found[m.Kind]; n > 0 {
				fmt.Fprintf(&b, "%-17s  %9d  %9d  %s\n", m.Kind, n, s.Repaired[m.Kind], m.What)
			}
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "Looked for %s with %s and for %s, and at %s in storage",
		count(s.Recordings, "recording"), count(s.Artifacts, "artifact"), count(s.Uploads, "unfinished upload"), count(s.Entries, "thing"))
	if s.BytesRead > 0 {
		fmt.Fprintf(&b, ", reading %s", count(s.BytesRead, "byte"))
	}
	fmt.Fprintf(&b, "; %s.\n", s.Took.Round(time.Millisecond))
	switch {
	case !s.Complete:
		b.WriteString("It was not completed.\n")
	case found == 0:
		b.WriteString("No problems found.\n")
	default:
		fmt.Fprintf(&b, "%s found, %d repaired.\n", count(found, "problem"), repaired)
	}
	_, err := io.WriteString(t.w, b.String())
	return err
}

func count[N int | int64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// JSON reports to scripts: one document, whose problems are written as they are
// found. Its names are documented in docs/operations.md.
type JSON struct{ document *jsondoc.Document }

// NewJSON returns a JSON that writes to w.
func NewJSON(w io.Writer) *JSON { return &JSON{jsondoc.New(w, "problems")} }

// Problem implements Report.
func (j *JSON) Problem(p Problem) error { return j.document.Add(p) }

// total is what the document says of a kind.
type total struct {
	Kind     Kind `json:"kind"`
	Found    int  `json:"found"`
	Repaired int  `json:"repaired"`
}

// jsonSummary is the end of the document.
type jsonSummary struct {
	Totals    []total     `json:"totals"`
	Found     int         `json:"found"`
	Repaired  int         `json:"repaired"`
	Checked   jsonChecked `json:"checked"`
	Complete  bool        `json:"complete"`
	StartedAt time.Time   `json:"startedAt"`
	TookMs    int64       `json:"tookMs"`
}

type jsonChecked struct {
	Recordings int   `json:"recordings"`
	Uploads    int   `json:"unfinishedUploads"`
	Artifacts  int   `json:"artifacts"`
	Entries    int   `json:"storageEntries"`
	BytesRead  int64 `json:"readBytes"`
}

// Done implements Report.
func (j *JSON) Done(s Summary) error {
	end := jsonSummary{
		Totals:   []total{},
		Checked:  jsonChecked{s.Recordings, s.Uploads, s.Artifacts, s.Entries, s.BytesRead},
		Complete: s.Complete, StartedAt: s.StartedAt.UTC(), TookMs: s.Took.Milliseconds(),
	}
	end.Found, end.Repaired = s.Problems()
	for _, m := range Meanings() {
		if n := s.Found[m.Kind]; n > 0 {
			end.Totals = append(end.Totals, total{m.Kind, n, s.Repaired[m.Kind]})
		}
	}
	return j.document.End(end)
}
