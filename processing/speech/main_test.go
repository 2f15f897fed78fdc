package speech

import (
	"testing"

	"go.uber.org/goleak"

	"reprise/processing/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	goleak.VerifyTestMain(m)
}
