// Package model drives real upload servers, on a real database and a real
// storage, with random operations and troubles, and compares them after every
// step with a small model of what a client of an upload may believe:
//
//   - the offset never goes down, and the bytes before it are those that the
//     clients were told of (I1);
//   - a complete upload becomes an object of exactly these bytes (I2);
//   - it makes one recording and one chain of jobs (I3);
//   - after the janitor nothing is stored that nobody owns (I4).
//
// The servers are replicas inside this process, each behind a gate through which
// every call to the database and the storage goes. There a replica fails, stands
// still, or dies: see gate. What a replica does between two calls is not cut
// short; package crash kills real processes there.
//
// A run is a seed. Each step draws from the seed and its own number only, so a
// run goes the same way again, as far as concurrency lets it, and a failing one is
// made shorter by leaving steps out. A failure prints its history and what
// repeats it: REPRISE_SEED, and REPRISE_STEPS for the steps that are left.
// REPRISE_SOAK=1 makes many more runs.
package model

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"reprise/internal/pgtest"
	"reprise/internal/s3test"
	"reprise/processing/sandbox"
)

// tusd keeps two goroutines of each request for as long as a broken request may
// go on committing (its GracefulRequestCompletionTimeout); they end by themselves.
func TestMain(m *testing.M) {
	sandbox.Main()
	pgtest.Main(s3test.With(m), goleak.IgnoreAnyFunction("github.com/tus/tusd/v2/pkg/handler.newDelayedContext.func1"))
}

// rounds is how often something random is repeated.
func rounds(usual, full int) int {
	if os.Getenv("REPRISE_SOAK") != "" {
		return full
	}
	return usual
}
