package upload_test

import (
	"testing"

	"go.uber.org/goleak"

	"reprise/internal/pgtest"
)

// tusd keeps two goroutines of each request for as long as a broken request may
// go on committing (its GracefulRequestCompletionTimeout); they end by themselves.
func TestMain(m *testing.M) {
	pgtest.Main(m,
		goleak.IgnoreAnyFunction("github.com/tus/tusd/v2/pkg/handler.newDelayedContext.func1"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}
