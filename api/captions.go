package api

import (
	"fmt"
	"strings"
	"unicode"

	"reprise/recording"
)

// Captions have at most two lines of this many characters, as people can read them.
const (
	captionLine  = 42
	captionLines = 2
)

// cue is one caption. The text has neither control characters nor empty lines.
type cue struct {
	startMs, endMs int64
	lines          []string
}

// cues makes captions of a transcript: one of each segment, or more of a long one, with
// the times of its words.
func cues(t recording.Transcript) []cue {
	var list []cue
	for _, s := range t.Segments {
		list = append(list, segmentCues(s)...)
	}
	return list
}

// spoken is a word with the time that it takes.
type spoken struct {
	text           string
	startMs, endMs int64
}

func segmentCues(s recording.Segment) []cue {
	var list []cue
	words := spokenWords(s)
	for len(words) > 0 {
		c := cue{startMs: words[0].startMs}
		for ; len(c.lines) < captionLines && len(words) > 0; words = words[1:] {
			line := words[0].text
			for len(words) > 1 && width(line)+1+width(words[1].text) <= captionLine {
				words = words[1:]
				line += " " + words[0].text
			}
			c.lines = append(c.lines, line)
			c.endMs = words[0].endMs
		}
		c.endMs = max(c.endMs, c.startMs+1) // players drop a cue without a duration
		list = append(list, c)
	}
	return list
}

// spokenWords cuts a segment into words of at most a line, with the times of the
// engine's words if they are those of the text, else in proportion to its length.
func spokenWords(s recording.Segment) []spoken {
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s.Text)
	fields := strings.Fields(text)
	total, fits := 0, len(fields) == len(s.Words)
	for _, f := range fields {
		total += width(f)
		fits = fits && width(f) <= captionLine
	}
	var list []spoken
	at := 0
	moment := func() int64 { return s.StartMs + (s.EndMs-s.StartMs)*int64(at)/int64(total) }
	for i, f := range fields {
		if fits {
			list = append(list, spoken{f, s.Words[i].StartMs, s.Words[i].EndMs})
			continue
		}
		for runes := []rune(f); len(runes) > 0; {
			n := min(len(runes), captionLine)
			w := spoken{text: string(runes[:n]), startMs: moment()}
			at += n
			w.endMs = moment()
			list, runes = append(list, w), runes[n:]
		}
	}
	return list
}

func width(text string) int { return len([]rune(text)) }

// webVTT writes captions as https://www.w3.org/TR/webvtt1/ has them.
func webVTT(t recording.Transcript) string {
	var b strings.Builder
	b.WriteString("WEBVTT\n")
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	for _, c := range cues(t) {
		fmt.Fprintf(&b, "\n%s --> %s\n%s\n", clock(c.startMs, '.'), clock(c.endMs, '.'), escape.Replace(strings.Join(c.lines, "\n")))
	}
	return b.String()
}

// subRip writes captions as SubRip has them. It has no escapes: what players take for
// an arrow, or the beginning of a tag or an entity, is parted by a space of no width.
func subRip(t recording.Transcript) string {
	var b strings.Builder
	marks := strings.NewReplacer("-->", "--\u200b>", "<", "<\u200b", "{", "{\u200b", "&", "&\u200b")
	for i, c := range cues(t) {
		if i > 0 {
			b.WriteByte('\n')
		}
		text := marks.Replace(strings.Join(c.lines, "\n"))
		fmt.Fprintf(&b, "%d\n%s --> %s\n%s\n", i+1, clock(c.startMs, ','), clock(c.endMs, ','), text)
	}
	return b.String()
}

// clock writes a time with at least two digits for hours.
func clock(ms int64, point rune) string {
	return fmt.Sprintf("%02d:%02d:%02d%c%03d", ms/3_600_000, ms/60_000%60, ms/1000%60, point, ms%1000)
}
