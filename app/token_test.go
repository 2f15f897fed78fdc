package app_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reprise/app"
	"reprise/auth"
)

func TestToken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	token, err := app.Token(app.TokenOptions{User: "alice", TTL: time.Hour, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	key, err := auth.LoadOrCreateDevKey(filepath.Join(dir, "dev.key"))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.NewDevVerifier(key, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := verifier.Verify(context.Background(), token); err != nil || got.Subject != "dev:alice" {
		t.Errorf("Verify = %v, %v; want dev:alice", got, err)
	}
	if _, err := app.Token(app.TokenOptions{User: "alice", TTL: time.Hour, Dir: filepath.Join(dir, "none")}); err == nil || !strings.Contains(err.Error(), "start that first") {
		t.Errorf("without the folder: %v", err)
	}
	if _, err := app.Token(app.TokenOptions{User: "alice", TTL: time.Hour, Key: key, Dir: filepath.Join(dir, "none")}); err != nil {
		t.Errorf("with a key: %v", err)
	}
}
