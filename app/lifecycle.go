package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// lifecycle knows how to take down what was put up: in the opposite order, one
// by one, each within a bounded time.
type lifecycle struct {
	log     *slog.Logger
	timeout time.Duration // of one step
	steps   []step
}

type step struct {
	name string
	stop func(context.Context) error
}

// onStop registers the teardown of what was just constructed.
func (l *lifecycle) onStop(name string, stop func(context.Context) error) {
	l.steps = append(l.steps, step{name, stop})
}

// stop runs every teardown, also after one failed, and joins their errors.
func (l *lifecycle) stop() error {
	var errs []error
	for i := len(l.steps) - 1; i >= 0; i-- {
		s := l.steps[i]
		// The context that ended the program must not end its teardown.
		ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
		start := time.Now()
		err := s.stop(ctx)
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", s.name, err))
		}
		l.log.Debug("stopped", slog.String("what", s.name), slog.Duration("took", time.Since(start)))
	}
	l.steps = nil
	return errors.Join(errs...)
}
