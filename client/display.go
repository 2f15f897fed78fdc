package client

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"reprise/recording"
)

const (
	redrawEvery = 100 * time.Millisecond
	plainEvery  = 2 * time.Second // least time between two lines of percent of a file
)

// display tells about progress: on a terminal with a bar per file that is under
// way, below what is worth to stay; elsewhere with lines only. It is safe for
// concurrent use.
type display struct {
	w     io.Writer
	bars  bool // it is a terminal
	quiet bool // no lines, only bars
	width func() int
	now   func() time.Time

	mu    sync.Mutex
	lines []*line // under way
	drawn int     // bars on the screen now
}

// newDisplay makes a display. With jsonOut there are no lines where there is no
// terminal: it is a script that reads.
func newDisplay(w io.Writer, jsonOut bool) *display {
	d := &display{w: w, quiet: jsonOut, now: time.Now}
	f, ok := w.(*os.File)
	if ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd())) {
		d.bars = true
		d.width = func() int {
			columns, _, err := term.GetSize(int(f.Fd()))
			return usable(columns, err)
		}
	}
	return d
}

// usable is a terminal's width, or 80 where it has none to say: some serial lines
// and containers say 0.
func usable(columns int, err error) int {
	if err != nil || columns <= 0 {
		return 80
	}
	return columns
}

// run redraws the bars until the function that it returns is called.
func (d *display) run() (stop func()) {
	if !d.bars {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(redrawEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				d.redraw()
			case <-quit:
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-done
		d.redraw() // every line is finished: the bars go
	}
}

func (d *display) redraw() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.draw("")
}

// draw writes text above the bars. The caller holds the lock.
func (d *display) draw(text string) {
	var out strings.Builder
	if d.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\r\x1b[J", d.drawn) // up, and clear to the end
	}
	out.WriteString(text)
	columns := d.width() - 1 // a full line would wrap on some terminals
	for _, l := range d.lines {
		out.WriteString(l.status.render(columns, d.now()) + "\n")
	}
	d.drawn = len(d.lines)
	if out.Len() > 0 {
		_, _ = io.WriteString(d.w, out.String()) // nobody left to tell
	}
}

// say writes a line that stays. The caller holds the lock.
func (d *display) say(name, format string, args ...any) {
	if d.quiet {
		return
	}
	text := printable(name) + ": " + fmt.Sprintf(format, args...) + "\n"
	if d.bars {
		d.draw(text)
		return
	}
	_, _ = io.WriteString(d.w, text) // nobody left to tell
}

// aside runs f while nothing is drawn, for what goes to the screen another way.
func (d *display) aside(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bars && d.drawn > 0 {
		fmt.Fprintf(d.w, "\x1b[%dA\r\x1b[J", d.drawn)
		d.drawn = 0
	}
	f()
}

// add begins to tell about a file.
func (d *display) add(name string) *line {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := &line{d: d, status: status{name: name}}
	d.lines = append(d.lines, l)
	return l
}

// line tells about one file. Its methods say what has happened to it.
type line struct {
	d      *display
	status status
	began  time.Time
	start  int64 // the offset it began with
	said   time.Time
}

// change runs f under the display's lock.
func (l *line) change(f func(s *status)) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	f(&l.status)
}

func (l *line) checking(size int64) {
	l.change(func(s *status) { s.size = size })
}

func (l *line) begin(offset int64, server string) {
	l.change(func(s *status) {
		s.phase, s.offset, l.start = phaseSending, offset, offset
		l.began, l.said = l.d.now(), l.d.now()
		s.rate.add(l.began, offset)
		switch offset {
		case 0:
			l.d.say(s.name, "uploading %s to %s", bytesText(s.size), server)
		case s.size:
		default:
			l.d.say(s.name, "resuming at %d%%, the server has %s", floorPercent(s.sentShare()), ofBytes(offset, s.size))
		}
	})
}

func (l *line) sent(offset int64) {
	l.change(func(s *status) {
		if s.phase != phaseSending {
			return // a late read of a request that is over
		}
		s.offset = offset
		now := l.d.now()
		s.rate.add(now, offset)
		if !l.d.bars && now.Sub(l.said) >= plainEvery {
			l.said = now
			l.d.say(s.name, "%d%% (%s)", floorPercent(s.sentShare()), ofBytes(offset, s.size))
		}
	})
}

func (l *line) acknowledged(offset int64) {
	l.change(func(s *status) { s.phase, s.offset, s.failure = phaseSending, offset, "" })
}

func (l *line) retrying(failure error, wait time.Duration) {
	l.change(func(s *status) {
		text := firstLine(printable(failure.Error()))
		repeated := s.failure == text
		if s.phase != phaseRetrying {
			s.before = s.phase
		}
		s.phase, s.failure, s.retryAt = phaseRetrying, text, l.d.now().Add(wait)
		if !repeated {
			l.d.say(s.name, "%s; trying again in %.1f s", text, wait.Seconds())
		}
	})
}

// recovered ends retrying.
func (l *line) recovered() {
	l.change(func(s *status) {
		if s.phase == phaseRetrying {
			s.phase, s.failure = s.before, ""
		}
	})
}

func (l *line) resumed(offset int64) {
	l.change(func(s *status) {
		s.rate.reset()
		s.rate.add(l.d.now(), offset)
		l.d.say(s.name, "resuming at %d%%, the server has %s", floorPercent(s.sentShare()), ofBytes(offset, s.size))
	})
}

func (l *line) received(before bool) {
	l.change(func(s *status) {
		if before {
			l.d.say(s.name, "the server has it already")
		} else {
			took := l.d.now().Sub(l.began)
			l.d.say(s.name, "uploaded %s in %.1f s", bytesText(s.size-l.start), took.Seconds())
		}
		s.phase = phaseProcessing
	})
}

func (l *line) event(e recording.Event) {
	var data eventData
	_ = json.Unmarshal(e.Data, &data) // an event without what is looked for is told too
	l.change(func(s *status) {
		if e.Type == recording.EventProcessingProgress {
			s.phase, s.failure, s.stage = phaseProcessing, "", data.Stage
			s.percent, s.speed = data.Percent, data.Speed
			s.remaining = time.Duration(data.RemainingMs) * time.Millisecond
		}
		if e.Seq > 0 {
			l.d.say(s.name, "event %d  %s%s", e.Seq, printable(string(e.Type)), data.text())
		}
	})
}

// finish ends the telling.
func (l *line) finish() {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	for i, other := range l.d.lines {
		if other == l {
			l.d.lines = append(l.d.lines[:i:i], l.d.lines[i+1:]...)
			break
		}
	}
}

// text says what is worth to know of an event's data, with a space before it.
func (d eventData) text() string {
	switch {
	case d.Stage != "":
		return "  " + printable(string(d.Stage))
	case d.Reason != "":
		return "  " + printable(string(d.Reason))
	case d.SizeBytes > 0:
		return "  " + bytesText(d.SizeBytes)
	case d.LengthBytes > 0:
		return "  " + bytesText(d.LengthBytes)
	case d.DurationMs > 0:
		return "  " + seconds(time.Duration(d.DurationMs)*time.Millisecond)
	}
	return ""
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
