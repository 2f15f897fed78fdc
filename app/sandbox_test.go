package app

import (
	"context"
	"testing"
)

func TestCheckSandbox(t *testing.T) {
	t.Parallel()
	missing := []string{"landlock: operation not supported", "user namespace: operation not permitted"}
	if err := checkSandbox("best-effort", missing); err != nil {
		t.Error(err)
	}
	if err := checkSandbox("required", nil); err != nil {
		t.Error(err)
	}
	const want = "REPRISE_SANDBOX is required, and this system does not give: landlock: operation not supported; user namespace: operation not permitted"
	if err := checkSandbox("required", missing); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// What the sandbox lacks is shown and makes nothing unready.
func TestReadinessNotes(t *testing.T) {
	t.Parallel()
	r := &readiness{}
	r.add("database", func(context.Context) error { return nil })
	r.note("sandbox", "incomplete: landlock: operation not supported")
	ready, said := r.run(t.Context())
	if !ready || said["database"] != "ok" || said["sandbox"] != "incomplete: landlock: operation not supported" {
		t.Errorf("ready %v, %v", ready, said)
	}
}
