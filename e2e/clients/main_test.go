// Package clients tests the whole of Reprise from the outside, as those who use
// it see it: tus-js-client in Node uploads over lines that break, real speech in
// every format goes through the pipeline, every documented route is walked by
// its owner and by a stranger, and "reprise dev" is run as a person would.
//
// The servers are the whole app, in this process (so that the race detector and
// the coverage see them), each with a database and a folder of its own. Nothing
// in here knows more of Reprise than its public contract: answers are read into
// types of the tests' own. Only the ownership walk also looks at what the server did.
//
// It needs ffmpeg, the Firebase emulator, Neo4j, Node.js and the packages of e2e/package.json ("make test"
// installs them). REPRISE_SOAK=1 repeats what is random many times over.
package clients

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"reprise/internal/firebasetest"
	"reprise/internal/neo4jtest"
	"reprise/internal/pgtest"
	"reprise/internal/s3test"
	"reprise/processing/sandbox"
)

// tusd keeps a goroutine of each request for as long as a broken request may
// still commit.
func TestMain(m *testing.M) {
	sandbox.Main()
	pgtest.Main(neo4jtest.With(firebasetest.With(s3test.With(m))), goleak.IgnoreAnyFunction("github.com/tus/tusd/v2/pkg/handler.newDelayedContext.func1"))
}

// rounds is how often something random is repeated.
func rounds(usual, soak int) int {
	if os.Getenv("REPRISE_SOAK") != "" {
		return soak
	}
	return usual
}
