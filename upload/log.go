package upload

import (
	"context"
	"log/slog"

	tuslog "golang.org/x/exp/slog"
)

// bridgeLog gives tusd a logger of the kind it wants, golang.org/x/exp/slog,
// that writes to ours. Only warnings and errors pass: tusd tells several lines
// about every request, and the access log has that.
func bridgeLog(log *slog.Logger) *tuslog.Logger {
	return tuslog.New(logBridge{log.With(slog.String("from", "tusd"))})
}

type logBridge struct{ log *slog.Logger }

func (b logBridge) Enabled(_ context.Context, level tuslog.Level) bool {
	return level >= tuslog.LevelWarn
}

func (b logBridge) Handle(ctx context.Context, r tuslog.Record) error {
	attrs := make([]slog.Attr, 0, r.NumAttrs())
	r.Attrs(func(a tuslog.Attr) bool {
		attrs = append(attrs, bridgeAttr(a))
		return true
	})
	level := slog.Level(r.Level)
	if r.Message == "BodyReadError" { // a phone has lost its network: the daily business
		level = slog.LevelDebug
	}
	b.log.LogAttrs(ctx, level, r.Message, attrs...)
	return nil
}

func (b logBridge) WithAttrs(attrs []tuslog.Attr) tuslog.Handler {
	log := b.log
	for _, a := range attrs {
		log = log.With(bridgeAttr(a))
	}
	return logBridge{log}
}

func (b logBridge) WithGroup(name string) tuslog.Handler { return logBridge{b.log.WithGroup(name)} }

func bridgeAttr(a tuslog.Attr) slog.Attr { return slog.Any(a.Key, a.Value.Any()) }
