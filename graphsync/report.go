package graphsync

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"reprise/internal/jsondoc"
	"reprise/recording"
)

// DifferenceKind says how the graph differs from Postgres. It is stable: scripts may
// depend on it.
type DifferenceKind string

// The kinds.
const (
	MissingNode     DifferenceKind = "missing_node"
	ExtraNode       DifferenceKind = "extra_node"
	OldVersion      DifferenceKind = "old_version"
	NewVersion      DifferenceKind = "new_version" // than Postgres has: that was restored, perhaps
	ChangedLabels   DifferenceKind = "changed_labels"
	ChangedProperty DifferenceKind = "changed_property"
	MissingEdge     DifferenceKind = "missing_edge"
	ExtraEdge       DifferenceKind = "extra_edge"
	ChangedEdge     DifferenceKind = "changed_edge"
)

// A finding is a difference without whose it is.
type finding struct {
	kind   DifferenceKind
	detail string
}

// Difference is one thing in which the graph differs from Postgres. Its names in JSON are
// documented in docs/graph.md.
type Difference struct {
	Kind    DifferenceKind      `json:"kind"`
	Of      recording.GraphKind `json:"of,omitempty"` // "" for a node without labels
	ID      uuid.UUID           `json:"id"`
	Version int64               `json:"version"`        // in Postgres
	Graph   int64               `json:"graphVersion"`   // in the graph
	Hash    string              `json:"hash,omitempty"` // of what Postgres has
	Has     string              `json:"graphHash,omitempty"`
	Detail  string              `json:"detail,omitempty"` // which property, or which edge; never its value

	Repaired bool `json:"repaired"`
}

// Summary is how a verification ended.
type Summary struct {
	Rows        int64 // of Postgres
	Nodes       int64 // of the graph, tombstones left out
	Differences int
	Repaired    int
	Unsettled   int // rows that changed at each look, so that nothing can be said of them
	Complete    bool
	StartedAt   time.Time
	Took        time.Duration
}

// Report is told what is found, by one goroutine.
type Report interface {
	Difference(d Difference) error
	// Done is called at the end, also of a run that an error has ended.
	Done(s Summary) error
}

// Table reports to people: a line for each difference, then totals.
type Table struct {
	w    io.Writer
	said bool
}

// NewTable returns a Table that writes to w.
func NewTable(w io.Writer) *Table { return &Table{w: w} }

// Difference implements Report.
func (t *Table) Difference(d Difference) error {
	const line = "%-16s  %-9s  %-9s  %-36s  %-9s  %s\n"
	if !t.said {
		t.said = true
		if _, err := fmt.Fprintf(t.w, line, "DIFFERENCE", "REPAIRED", "OF", "ID", "VERSIONS", "WHAT"); err != nil {
			return err
		}
	}
	repaired := "no"
	if d.Repaired {
		repaired = "yes"
	}
	_, err := fmt.Fprintf(t.w, line, d.Kind, repaired, d.Of, d.ID, fmt.Sprintf("%d/%d", d.Version, d.Graph), d.Detail)
	return err
}

// Done implements Report.
func (t *Table) Done(s Summary) error {
	var b strings.Builder
	if t.said {
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "Compared %d rows of the database with %d nodes of the graph; %s.\n", s.Rows, s.Nodes, s.Took.Round(time.Millisecond))
	if s.Unsettled > 0 {
		fmt.Fprintf(&b, "%d rows changed each time they were looked at, so that nothing can be said of them: run it again.\n", s.Unsettled)
	}
	switch {
	case !s.Complete:
		b.WriteString("It was not completed.\n")
	case s.Differences > 0:
		fmt.Fprintf(&b, "Differences found: %d, repaired: %d.\n", s.Differences, s.Repaired)
	case s.Unsettled == 0:
		b.WriteString("They are equal.\n")
	}
	_, err := io.WriteString(t.w, b.String())
	return err
}

// JSON reports to scripts: one document, whose differences are written as they are found.
type JSON struct{ document *jsondoc.Document }

// NewJSON returns a JSON that writes to w.
func NewJSON(w io.Writer) *JSON { return &JSON{jsondoc.New(w, "differences")} }

// Difference implements Report.
func (j *JSON) Difference(d Difference) error { return j.document.Add(d) }

// Done implements Report.
func (j *JSON) Done(s Summary) error {
	return j.document.End(struct {
		Found     int       `json:"found"`
		Repaired  int       `json:"repaired"`
		Unsettled int       `json:"unsettled"`
		Rows      int64     `json:"rows"`
		Nodes     int64     `json:"nodes"`
		Complete  bool      `json:"complete"`
		StartedAt time.Time `json:"startedAt"`
		TookMs    int64     `json:"tookMs"`
	}{s.Differences, s.Repaired, s.Unsettled, s.Rows, s.Nodes, s.Complete, s.StartedAt.UTC(), s.Took.Milliseconds()})
}
