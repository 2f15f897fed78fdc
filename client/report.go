package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"reprise/recording"
)

// report tells what became of a file: on Stdout what there is now, on Stderr
// what went wrong.
func (u *uploader) report(r result) {
	u.ui.aside(func() {
		if u.o.JSON {
			writeLine(u.o.Stdout, r.json())
			return
		}
		if r.err == nil {
			writeLine(u.o.Stdout, r.text())
			return
		}
		if !errors.Is(r.err, context.Canceled) {
			writeLine(u.o.Stderr, r.failure(u.o.Token != ""))
		}
	})
}

func writeLine(w io.Writer, s string) {
	_, _ = io.WriteString(w, s+"\n") // a reader who has gone is no failure of the upload
}

// failure says what went wrong and, if there is something to be done, what.
func (r result) failure(token bool) string {
	text := printable(filepath.Base(r.path)) + ": " + r.err.Error()
	if exitCodeOfOne(r.err) == ExitUnauthorized && !token {
		text += "\nGive a token with --token, REPRISE_TOKEN or REPRISE_TOKEN_FILE."
	}
	return text
}

// text is a result for people.
func (r result) text() string {
	v := r.recording
	if v == nil { // another tus server
		return printable(filepath.Base(r.path)) + "  uploaded"
	}
	rows := [][2]string{
		{"recording", v.ID},
		{"state", string(v.State)},
	}
	if v.DurationMs != nil && v.State == recording.StateReady {
		rows = append(rows, [2]string{"duration", seconds(time.Duration(*v.DurationMs) * time.Millisecond)})
	}
	if l := v.Loudness; l != nil {
		rows = append(rows, [2]string{"loudness", loudnessText(*l)})
	}
	for _, a := range v.Artifacts {
		rows = append(rows, [2]string{string(a.Kind), a.URL})
	}
	if len(v.Artifacts) == 0 {
		rows = append(rows, [2]string{"url", v.Links.Self})
	}
	var out strings.Builder
	out.WriteString(printable(filepath.Base(r.path)))
	for _, row := range rows {
		fmt.Fprintf(&out, "\n  %-10s  %s", printable(row[0]), printable(row[1]))
	}
	return out.String()
}

func loudnessText(l recording.Loudness) string {
	if l.IntegratedLUFS == nil {
		return "none: it is silent"
	}
	text := fmt.Sprintf("%.1f LUFS", *l.IntegratedLUFS)
	if l.RangeLU != nil {
		text += fmt.Sprintf(", range %.1f LU", *l.RangeLU)
	}
	if l.TruePeakDBTP != nil {
		text += fmt.Sprintf(", true peak %.1f dBTP", *l.TruePeakDBTP)
	}
	return text
}

// seconds writes a duration with tenths: "1:01.2".
func seconds(d time.Duration) string {
	tenths := d.Round(100*time.Millisecond).Milliseconds() / 100
	return fmt.Sprintf("%d:%02d.%d", tenths/600, tenths/10%60, tenths%10)
}

// jsonResult is a result for scripts.
type jsonResult struct {
	File            string          `json:"file"`
	RecordingID     string          `json:"recordingId,omitempty"`
	SizeBytes       int64           `json:"sizeBytes"`
	ResumedFrom     int64           `json:"resumedFromBytes"`
	AlreadyComplete bool            `json:"alreadyComplete"`
	Recording       json.RawMessage `json:"recording,omitempty"` // as the API tells it
	Error           *jsonError      `json:"error,omitempty"`
}

type jsonError struct {
	ExitCode int    `json:"exitCode"`
	Code     string `json:"code,omitempty"` // the server's error code, or the recording's reason
	Message  string `json:"message"`
}

// json is a result on one line.
func (r result) json() string {
	out := jsonResult{
		File: r.path, RecordingID: r.recordingID, SizeBytes: r.sizeBytes,
		ResumedFrom: r.resumedFrom, AlreadyComplete: r.complete,
	}
	if r.recording != nil {
		out.Recording = r.recording.raw
	}
	if r.err != nil {
		out.Error = &jsonError{ExitCode: exitCodeOfOne(r.err), Message: r.err.Error()}
		var problem *Problem
		var outcome *OutcomeError
		switch {
		case errors.As(r.err, &problem):
			out.Error.Code = string(problem.Code)
		case errors.As(r.err, &outcome):
			out.Error.Code = string(outcome.Reason)
		}
	}
	line, err := json.Marshal(out)
	if err != nil { // raw is JSON, it has been read as such: can't happen
		panic("client: result: " + err.Error())
	}
	return string(line)
}
