package recording

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Word is one spoken word. Times count from the beginning of the recording.
type Word struct {
	Text       string   `json:"text"`
	StartMs    int64    `json:"startMs"`
	EndMs      int64    `json:"endMs"`
	Confidence *float64 `json:"confidence,omitempty"` // 0 to 1; nil if the engine doesn't say
}

// Segment is a stretch of speech, about a sentence.
type Segment struct {
	StartMs    int64    `json:"startMs"`
	EndMs      int64    `json:"endMs"`
	Text       string   `json:"text"`
	Confidence *float64 `json:"confidence,omitempty"` // 0 to 1; nil if the engine doesn't say
	Words      []Word   `json:"words,omitempty"`      // none if the engine doesn't say, or the owner has corrected the text
	// Corrected is the version of the owner's correction that the text is; 0 for the
	// engine's own.
	Corrected int64 `json:"corrected,omitempty"`
}

// Transcript is what was said in a recording. Its segments are in the order of time
// and don't overlap.
type Transcript struct {
	Language string    `json:"language"` // BCP 47, as detected or else as declared; "" if unknown
	Segments []Segment `json:"segments"`
	Provider string    `json:"provider"` // who made it, such as "whisper"
	Model    string    `json:"model"`
	// Version is raised by every change, of the engine's or the owner's.
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"createdAt"` // when the engine's text was made
}

// Text returns the plain text: the segments' texts, a line each. Offsets in an
// Analysis count its characters (Unicode code points).
func (t Transcript) Text() string {
	var b strings.Builder
	for i, s := range t.Segments {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(s.Text)
	}
	return b.String()
}

// Correction is what an owner says was said between two times. It is kept apart from
// the engine's text, so that it outlives a new one.
type Correction struct {
	StartMs, EndMs int64
	Text           string // "" says that nothing was said
	Version        int64  // of the transcript, when it was made
	At             time.Time
	// Withdrawn says that the engine's text counts again. Only a history has such.
	Withdrawn bool
}

// CorrectionChange is what an owner changes in one segment of a transcript.
type CorrectionChange struct {
	StartMs, EndMs int64   // the segment's, or those of a correction
	Text           *string // what was said, "" for nothing; nil withdraws the correction
	Version        int64   // of the transcript that the owner has seen
}

// Correct returns the transcript with the corrections in the place of what the engine
// made of those times. A segment of the engine's that is only partly within a
// correction's times keeps its words whose middle is outside; one without words is
// replaced if its middle is inside. The corrections' times must not overlap.
func (t Transcript) Correct(corrections []Correction) Transcript {
	if len(corrections) == 0 {
		return t
	}
	inside := func(startMs, endMs int64) bool {
		middle := startMs + (endMs-startMs)/2
		return slices.ContainsFunc(corrections, func(c Correction) bool { return c.StartMs <= middle && middle < c.EndMs })
	}
	var out []Segment
	for _, s := range t.Segments {
		out = append(out, s.outside(inside)...)
	}
	for _, c := range corrections {
		if c.Text != "" {
			out = append(out, Segment{StartMs: c.StartMs, EndMs: c.EndMs, Text: c.Text, Corrected: c.Version})
		}
	}
	slices.SortStableFunc(out, func(a, b Segment) int { return cmp.Compare(a.StartMs, b.StartMs) })
	t.Segments = out
	return t
}

// outside returns what of a segment is not inside, in pieces.
func (s Segment) outside(inside func(startMs, endMs int64) bool) []Segment {
	if len(s.Words) == 0 {
		if inside(s.StartMs, s.EndMs) {
			return nil
		}
		return []Segment{s}
	}
	if !slices.ContainsFunc(s.Words, func(w Word) bool { return inside(w.StartMs, w.EndMs) }) {
		return []Segment{s}
	}
	var pieces []Segment
	open := false
	for _, w := range s.Words {
		if inside(w.StartMs, w.EndMs) {
			open = false
			continue
		}
		if !open {
			pieces = append(pieces, Segment{StartMs: w.StartMs, Confidence: s.Confidence})
			open = true
		}
		p := &pieces[len(pieces)-1]
		p.EndMs = w.EndMs
		p.Words = append(p.Words, w)
		p.Text = strings.TrimSpace(p.Text + " " + w.Text)
	}
	return pieces
}
