package app

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"reprise/graphsync"
)

const (
	progressBar    = 30
	progressLines  = 5 * time.Second // between lines where there is no terminal
	progressRedraw = 100 * time.Millisecond
)

// graphProgress tells how far a rebuild is: with a bar on a terminal, in lines elsewhere.
type graphProgress struct {
	w     io.Writer
	bar   bool
	every time.Duration
	told  time.Time
	began bool
}

func newGraphProgress(w io.Writer) *graphProgress {
	p := &graphProgress{w: w, every: progressLines}
	if f, ok := w.(*os.File); ok && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd())) {
		p.bar, p.every = true, progressRedraw
	}
	return p
}

func (p *graphProgress) tell(at graphsync.Progress) {
	if !p.began && at.Resumed {
		fmt.Fprintln(p.w, "going on with the rebuild that was interrupted; --restart begins anew")
	}
	p.began = true
	done := at.Kind == ""
	if !done && time.Since(p.told) < p.every {
		return
	}
	p.told = time.Now()
	rate := float64(at.Written) / max(at.Took.Seconds(), 0.001)
	of := "of"
	if at.Resumed && !done { // those of its first kind that are written already are counted
		of = "of at most"
	}
	text := fmt.Sprintf("%d %s %d rows, %.0f a second", at.Written, of, at.Total, rate)
	switch {
	case !done:
		text += ", at kind " + string(at.Kind)
	case at.Total == 0: // it was interrupted at its end, or the database is empty
		text = "no rows are left to write"
	}
	if !p.bar {
		fmt.Fprintln(p.w, text)
	} else {
		filled := progressBar
		if at.Total > 0 {
			filled = int(progressBar * min(at.Written, at.Total) / at.Total)
		}
		fmt.Fprintf(p.w, "\r\x1b[K[%s%s] %s", strings.Repeat("#", filled), strings.Repeat(".", progressBar-filled), text)
		if done {
			fmt.Fprintln(p.w)
		}
	}
	if done {
		fmt.Fprintln(p.w, "comparing both sides")
	}
}
