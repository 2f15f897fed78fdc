package config_test

import (
	"strings"
	"testing"
)

// What the server refuses to start with, and what it takes, of who its users are.
func TestIdentity(t *testing.T) {
	t.Parallel()
	firebase := func(more ...string) []string {
		return append([]string{
			"REPRISE_DATABASE_URL=postgres://u:hunter2@db/reprise", "REPRISE_STORAGE_URL=file:///var/lib/reprise",
			"REPRISE_AUTH=firebase", "REPRISE_FIREBASE_PROJECT=example-12345",
		}, more...)
	}
	const public, emulator = "REPRISE_ADDR=192.168.1.2:8080", "FIREBASE_AUTH_EMULATOR_HOST=127.0.0.1:9099"
	key := writeFile(t, "{}")
	tests := map[string]struct {
		environ []string
		want    string // "" means that it starts
	}{
		"a project":                  {firebase(), ""},
		"a project, for everybody":   {firebase(public), ""},
		"no project":                 {firebase("REPRISE_FIREBASE_PROJECT="), "REPRISE_FIREBASE_PROJECT: needed"},
		"a service account":          {firebase("REPRISE_FIREBASE_CREDENTIALS_FILE=" + key), ""},
		"one that is not there":      {firebase("REPRISE_FIREBASE_CREDENTIALS_FILE=/does/not/exist"), "REPRISE_FIREBASE_CREDENTIALS_FILE: stat"},
		"the key instead of a file":  {firebase(`REPRISE_FIREBASE_CREDENTIALS_FILE={"private_key":"hunter2"}`), "never the key itself"},
		"two service accounts":       {firebase("REPRISE_FIREBASE_CREDENTIALS_FILE="+key, "REPRISE_FIREBASE_DEFAULT_CREDENTIALS=true"), "both set"},
		"the environment's account":  {firebase("REPRISE_FIREBASE_DEFAULT_CREDENTIALS=true"), ""},
		"no old answers":             {firebase("REPRISE_FIREBASE_STALE=0"), ""},
		"the emulator":               {firebase(emulator, "REPRISE_FIREBASE_PROJECT=demo-x1"), ""},
		"the emulator, by our name":  {firebase("REPRISE_FIREBASE_EMULATOR=127.0.0.1:9099", "REPRISE_FIREBASE_PROJECT=demo-x1"), ""},
		"of a real project":          {firebase(emulator), "REPRISE_FIREBASE_EMULATOR: it, or FIREBASE_AUTH_EMULATOR_HOST, is set"},
		"for everybody":              {firebase(emulator, public, "REPRISE_FIREBASE_PROJECT=demo-x1"), "REPRISE_FIREBASE_EMULATOR: it, or FIREBASE_AUTH_EMULATOR_HOST, is set"},
		"with a service account":     {firebase(emulator, "REPRISE_FIREBASE_PROJECT=demo-x1", "REPRISE_FIREBASE_CREDENTIALS_FILE="+key), "together with a service account"},
		"no address":                 {firebase("REPRISE_FIREBASE_EMULATOR=9099", "REPRISE_FIREBASE_PROJECT=demo-x1"), "REPRISE_FIREBASE_EMULATOR:"},
		"beside development tokens":  {needed(emulator), ""},
		"beside them, for everybody": {needed(emulator, public, "REPRISE_DEV_TOKENS_ANYWHERE=true"), "FIREBASE_AUTH_EMULATOR_HOST, is set"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, tt.environ)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error is %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}
