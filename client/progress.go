package client

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/width"

	"reprise/recording"
)

// phase is what is being done with a file.
type phase int

const (
	phaseChecking phase = iota // its digest is computed
	phaseSending
	phaseRetrying // waits before the next try
	phaseProcessing
)

// status is what is known of one file's progress.
type status struct {
	name   string
	phase  phase
	size   int64
	offset int64 // sent, which may be more than what is acknowledged
	rate   meter

	before  phase     // phaseRetrying
	failure string    // why phaseRetrying
	retryAt time.Time // when it ends

	stage     recording.Stage // of phaseProcessing
	percent   float64
	speed     float64 // seconds of audio per second; 0 if unknown
	remaining time.Duration
}

const (
	nameColumns = 28 // at most
	barColumns  = 28
	minWidth    = 20
)

// render draws a status on one line of at most so many columns, with the colours
// of a terminal.
func (s *status) render(columns int, now time.Time) string {
	columns = max(columns, minWidth)
	name := fit(printable(s.name), min(nameColumns, columns/3))
	left := columns - textColumns(name) - 2
	var text, colour string
	share := -1.0
	switch s.phase {
	case phaseChecking:
		text = "reading"
	case phaseSending:
		share, colour, text = s.sentShare(), cyan, s.sending(now)
	case phaseRetrying:
		wait := max(0, s.retryAt.Sub(now))
		share, colour, text = s.sentShare(), yellow, fmt.Sprintf("%3d%%  %s; trying again in %.1f s", floorPercent(s.sentShare()), s.failure, wait.Seconds())
	case phaseProcessing:
		share, colour, text = s.percent/100, green, s.processing()
	}
	if bar := min(barColumns, left-textColumns(text)-2); share >= 0 && bar >= 8 {
		return name + "  " + drawBar(share, bar, colour) + "  " + text
	}
	return name + "  " + fit(text, left)
}

func (s *status) sentShare() float64 { return float64(s.offset) / float64(max(s.size, 1)) }

func (s *status) sending(now time.Time) string {
	text := fmt.Sprintf("%3d%%  %s", floorPercent(s.sentShare()), ofBytes(s.offset, s.size))
	if s.offset == s.size {
		return text + "  waiting for the server"
	}
	if rate := s.rate.perSecond(now); rate > 0 {
		left := time.Duration(float64(s.size-s.offset) / rate * float64(time.Second))
		text += fmt.Sprintf("  %s/s  %s left", bytesText(int64(rate)), clock(left))
	}
	return text
}

func (s *status) processing() string {
	if s.stage == "" {
		return "waiting to be processed"
	}
	text := fmt.Sprintf("%3d%%  %s", floorPercent(s.percent/100), s.stage)
	if s.speed > 0 {
		text += fmt.Sprintf("  %.0f× real time  %s left", s.speed, clock(s.remaining))
	}
	return text
}

// The colours of a terminal (ECMA-48, SGR).
const (
	cyan   = "\x1b[36m"
	yellow = "\x1b[33m"
	green  = "\x1b[32m"
	faint  = "\x1b[2m"
	plain  = "\x1b[0m"
)

func drawBar(share float64, columns int, colour string) string {
	full := min(max(int(share*float64(columns)), 0), columns)
	return colour + strings.Repeat("━", full) + plain + faint + strings.Repeat("─", columns-full) + plain
}

// floorPercent is 100 only for all of it.
func floorPercent(share float64) int {
	return int(math.Floor(min(max(share, 0), 1)*100 + 1e-9))
}

// meter measures the rate of the last seconds.
type meter struct {
	samples []sample
}

type sample struct {
	at     time.Time
	offset int64
}

const (
	meterSpan = 8 * time.Second
	meterStep = 200 * time.Millisecond
)

// add notes how far it has come.
func (m *meter) add(at time.Time, offset int64) {
	if n := len(m.samples); n > 1 && at.Sub(m.samples[n-2].at) < meterStep {
		m.samples[n-1] = sample{at, offset}
	} else {
		m.samples = append(m.samples, sample{at, offset})
	}
	for len(m.samples) > 2 && at.Sub(m.samples[0].at) > meterSpan {
		m.samples = m.samples[1:]
	}
}

// reset forgets what was, at a break.
func (m *meter) reset() { m.samples = nil }

// perSecond returns bytes per second, 0 while there is too little to tell.
func (m *meter) perSecond(now time.Time) float64 {
	if len(m.samples) < 2 {
		return 0
	}
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	span := now.Sub(first.at)
	if span < meterStep {
		return 0
	}
	return float64(last.offset-first.offset) / span.Seconds()
}

// bytesText writes a number of bytes for people, in powers of 1000.
func bytesText(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	value, unit := float64(n), 0
	for value >= 999.5 && unit < len(units)-1 {
		value /= 1000
		unit++
	}
	if unit == 0 || value >= 99.95 {
		return fmt.Sprintf("%.0f %s", value, units[unit])
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

// ofBytes writes a part of a whole: "0.8 of 1.9 MB".
func ofBytes(part, whole int64) string {
	a, b := bytesText(part), bytesText(whole)
	if number, unit, _ := strings.Cut(a, " "); strings.HasSuffix(b, " "+unit) {
		a = number
	}
	return a + " of " + b
}

// clock writes a duration as minutes and seconds, with hours if there are any.
func clock(d time.Duration) string {
	if d > 99*time.Hour {
		return "days"
	}
	s := int(math.Ceil(d.Seconds()))
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// printable replaces what could move a terminal's cursor or colour its text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '�'
	}, s)
}

// fit shortens a text to so many columns.
func fit(s string, columns int) string {
	if textColumns(s) <= columns {
		return s
	}
	used := 1 // the dots
	for i, r := range s {
		if used += runeColumns(r); used > columns {
			return s[:i] + "…"
		}
	}
	return s
}

func textColumns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

// runeColumns is how wide terminals draw a character.
func runeColumns(r rune) int {
	switch kind := width.LookupRune(r).Kind(); {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case kind == width.EastAsianWide, kind == width.EastAsianFullwidth:
		return 2
	}
	return 1
}
