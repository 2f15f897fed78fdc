package main

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"unicode"

	"reprise/config"
)

func TestLogEscapesControls(t *testing.T) {
	t.Parallel()
	const hostile = "a\r\nb\x00c\x1b[2Jd\u009be\u202ef\x7fg\u2067h"
	for _, format := range []string{"json", "text"} {
		var out strings.Builder
		log := logger(config.Log{LogLevel: "debug", LogFormat: format}, &out)
		log.With(slog.String("with", hostile)).Info(hostile, slog.String("text", hostile), slog.Any("error", errors.New(hostile)),
			slog.Group("group", slog.String("in", hostile)))
		line, ended := strings.CutSuffix(out.String(), "\n")
		if !ended || strings.ContainsFunc(line, func(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) }) {
			t.Errorf("%s: %q", format, out.String())
		}
	}
}
