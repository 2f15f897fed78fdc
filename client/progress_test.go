package client

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reprise/recording"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a text with a file of testdata. Escape is written as ␛.
func golden(t *testing.T, name, got string) {
	t.Helper()
	got = strings.ReplaceAll(got, "\x1b", "␛")
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestRender(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	moving := meter{samples: []sample{{now.Add(-2 * time.Second), 0}, {now, 800_000}}}
	states := []status{
		{name: "speech.wav", phase: phaseChecking, size: 1_900_000},
		{name: "speech.wav", phase: phaseSending, size: 1_900_000},
		{name: "speech.wav", phase: phaseSending, size: 1_900_000, offset: 800_000, rate: moving},
		{name: "speech.wav", phase: phaseSending, size: 1_900_000, offset: 1_900_000, rate: moving},
		{name: "speech.wav", phase: phaseRetrying, size: 1_900_000, offset: 800_000, failure: "connection reset by peer", retryAt: now.Add(1500 * time.Millisecond)},
		{name: "speech.wav", phase: phaseProcessing, size: 1_900_000},
		{name: "speech.wav", phase: phaseProcessing, stage: recording.StageTranscode, percent: 55, speed: 41.4, remaining: 3 * time.Second},
		{name: "Ein sehr langer Name mit Umlauten äöü.m4a", phase: phaseSending, size: 12_345_678_901, offset: 999_999, rate: moving},
		{name: "会議の録音 2026年5月1日 東京.m4a", phase: phaseSending, size: 10, offset: 5},
		{name: "evil\x1b[2J\r.wav", phase: phaseSending, size: 10, offset: 9},
	}
	var out strings.Builder
	for _, columns := range []int{100, 60, 10} {
		fmt.Fprintf(&out, "%d columns\n", columns)
		for _, s := range states {
			line := s.render(columns, now)
			out.WriteString(line + "\n")
			bare := strings.NewReplacer(cyan, "", yellow, "", green, "", faint, "", plain, "").Replace(line)
			if n := textColumns(bare); n > max(columns, minWidth) {
				t.Errorf("%d columns, want at most %d: %s", n, columns, bare)
			}
		}
	}
	golden(t, "render.golden", out.String())
}

// tell goes through an upload's life.
func tell(d *display) {
	l := d.add("speech.wav")
	l.checking(1_900_000)
	l.begin(0, "http://127.0.0.1:8080")
	l.sent(500_000)
	l.sent(760_000)
	l.retrying(errCut, 400*time.Millisecond)
	l.sent(761_000) // late
	l.acknowledged(758_000)
	l.resumed(758_000)
	l.sent(1_900_000)
	l.retrying(&Problem{Status: 503, Detail: "Busy."}, time.Second)
	l.retrying(&Problem{Status: 503, Detail: "Busy."}, 2*time.Second)
	l.recovered()
	l.acknowledged(1_900_000)
	l.received(false)
	l.event(recording.NewEvent([16]byte{}, [16]byte{}, recording.EventProcessingProgress, time.Time{}, map[string]any{"stage": "transcode", "percent": 30}))
	l.retrying(errors.New("connection refused"), time.Second)
	l.recovered()
	e := recording.NewEvent([16]byte{}, [16]byte{}, recording.EventRecordingReady, time.Time{}, map[string]any{"durationMs": 61234})
	e.Seq = 9
	l.event(e)
	l.finish()
}

// ticking is a clock that goes on by 300 ms each time it is asked.
func ticking() func() time.Time {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	return func() time.Time {
		now = now.Add(300 * time.Millisecond)
		return now
	}
}

func TestPlainLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	d := newDisplay(&out, false)
	d.now = ticking()
	tell(d)
	golden(t, "plain.golden", out.String())
}

func TestBars(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	d := &display{w: &out, bars: true, width: func() int { return 80 }, now: ticking()}
	tell(d)
	d.redraw()
	d.aside(func() { out.WriteString("result\n") })
	golden(t, "bars.golden", out.String())
}

func TestTerminalWidth(t *testing.T) {
	t.Parallel()
	for columns, want := range map[int]int{0: 80, -1: 80, 1: 1, 132: 132} {
		if got := usable(columns, nil); got != want {
			t.Errorf("%d columns: %d, want %d", columns, got, want)
		}
	}
	if got := usable(132, errors.New("no terminal")); got != 80 {
		t.Errorf("no terminal: %d", got)
	}
}

func TestTexts(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 99_900: "99.9 kB", 99_960: "100 kB", 999_600: "1.0 MB", 12_345_678_901: "12.3 GB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d bytes: %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0:00", 100 * time.Millisecond: "0:01", 61 * time.Second: "1:01", 3725 * time.Second: "1:02:05", 1000 * time.Hour: "days"} {
		if got := clock(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if got := seconds(61234 * time.Millisecond); got != "1:01.2" {
		t.Errorf("duration: %q", got)
	}
	if got := loudnessText(recording.Loudness{}); got != "none: it is silent" {
		t.Errorf("loudness of silence: %q", got)
	}
}

func TestMeter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var m meter
	for i := range int64(1000) { // 100 s at 10 kB/s, then 20 s at 50 kB/s
		m.add(now.Add(time.Duration(i)*100*time.Millisecond), i*1000)
	}
	if got := m.perSecond(now.Add(100 * time.Second)); got < 9_500 || got > 10_500 {
		t.Errorf("rate %f, want about 10000", got)
	}
	for i := range int64(200) {
		m.add(now.Add(100*time.Second+time.Duration(i)*100*time.Millisecond), 1_000_000+i*5000)
	}
	if got := m.perSecond(now.Add(120 * time.Second)); got < 47_500 || got > 52_500 {
		t.Errorf("rate %f, want about 50000", got)
	}
	if len(m.samples) > 100 {
		t.Errorf("%d samples are kept", len(m.samples))
	}
}
