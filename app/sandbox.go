package app

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"reprise/processing/sandbox"
)

// openSandbox finds out what ffmpeg can be fenced in with, and tells the operator.
func (s *server) openSandbox(ctx context.Context) (*sandbox.Fence, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	fence, err := sandbox.New(ctx)
	if err != nil {
		return nil, err
	}
	missing := fence.Missing()
	if err := checkSandbox(s.o.Config.Sandbox, missing); err != nil {
		return nil, err
	}
	level := slog.LevelInfo
	if missing != nil {
		level = slog.LevelWarn
	}
	s.o.Log.Log(ctx, level, "sandbox", slog.Any("layers", fence.Present()), slog.Any("missing", missing))
	s.ready.note("sandbox", fence.String())
	return fence, nil
}

func checkSandbox(setting string, missing []string) error {
	if setting == "required" && missing != nil {
		return fmt.Errorf("REPRISE_SANDBOX is required, and this system does not give: %s", strings.Join(missing, "; "))
	}
	return nil
}
