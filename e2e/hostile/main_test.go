// Package hostile tests a whole Reprise against people who wish it ill: what no
// client of a library can be made to send goes over bare connections, and a server
// whose every secret is known to the tests must not let any of them be seen.
//
// It needs ffmpeg and an S3 server ("make test" installs them).
package hostile

import (
	"testing"

	"go.uber.org/goleak"

	"reprise/internal/pgtest"
	"reprise/internal/s3test"
	"reprise/processing/sandbox"
)

// tusd keeps a goroutine of each request for as long as a broken request may
// still commit.
func TestMain(m *testing.M) {
	sandbox.Main()
	pgtest.Main(s3test.With(m), goleak.IgnoreAnyFunction("github.com/tus/tusd/v2/pkg/handler.newDelayedContext.func1"))
}
