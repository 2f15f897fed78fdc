// Package s3_test proves uploads into S3 as a whole: the upload server over the
// ledger in Postgres and real S3 servers, with a proxy between that counts requests
// and breaks them.
package s3_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"reprise/internal/pgtest"
	"reprise/internal/s3test"
	"reprise/processing/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	// tusd keeps goroutines of each request for as long as a broken one may go on
	// committing; they end by themselves.
	pgtest.Main(s3test.With(m), goleak.IgnoreAnyFunction("github.com/tus/tusd/v2/pkg/handler.newDelayedContext.func1"))
}

// rounds returns how often to do something: fewer times where every change waits
// for the tests than where somebody has hours.
func rounds(few, many int) int {
	if os.Getenv("REPRISE_SOAK") == "1" {
		return many
	}
	return few
}
