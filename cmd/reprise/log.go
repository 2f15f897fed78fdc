package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unicode"

	"reprise/config"
)

// logger returns the process's log. Whatever is said in there by others (a storage, a
// database, a library) can't steer a terminal or turn a line around.
func logger(l config.Log, w io.Writer) *slog.Logger {
	if l.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l.Level()}))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l.Level(), ReplaceAttr: escapeControls}))
}

// escapeControls writes as \u…… what slog's JSON passes on as it is: DEL, the C1 control
// characters, with which terminals take commands too, and marks of direction. (Its text
// form quotes all of these.)
func escapeControls(_ []string, a slog.Attr) slog.Attr {
	text := ""
	switch v := a.Value.Any().(type) {
	case string:
		text = v
	case error:
		text = v.Error()
	default:
		return a
	}
	hidden := func(c rune) bool { return c >= 0x7f && (unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c)) }
	if !strings.ContainsFunc(text, hidden) {
		return a
	}
	var out strings.Builder
	for _, c := range text {
		if hidden(c) {
			fmt.Fprintf(&out, "\\u%04x", c)
		} else {
			out.WriteRune(c)
		}
	}
	return slog.String(a.Key, out.String())
}
