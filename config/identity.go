package config

import (
	"encoding/hex"
	"os"
	"regexp"
	"strings"
)

func (c *Config) checkIdentity(p *Problems) {
	switch c.Auth {
	case "dev":
		if !c.DevTokensAnywhere && !isLoopback(c.Addr) {
			p.add("REPRISE_AUTH", "dev lets whoever has the key be anybody, and REPRISE_ADDR (%s) can be reached from other machines; use a loopback address such as 127.0.0.1:8080, or say REPRISE_DEV_TOKENS_ANYWHERE=true", c.Addr)
		}
	case "firebase":
		c.checkFirebase(p)
	default:
		p.add("REPRISE_AUTH", "%q is not an identity provider; use firebase or dev", c.Auth)
	}
	c.checkEmulator(p)
}

func (c *Config) checkFirebase(p *Problems) {
	ok, _ := regexp.MatchString(`^[a-z][a-z0-9-]{4,28}[a-z0-9]$`, c.FirebaseProject) // as Google Cloud has them
	switch {
	case c.FirebaseProject == "":
		p.add("REPRISE_FIREBASE_PROJECT", "needed with REPRISE_AUTH=firebase: the id of the Firebase project, such as example-12345")
	case !ok:
		p.add("REPRISE_FIREBASE_PROJECT", "%q is not the id of a project: 6 to 30 lower-case letters, digits and hyphens", c.FirebaseProject)
	}
	if c.FirebaseStale < 0 {
		p.add("REPRISE_FIREBASE_STALE", "it must not be negative")
	}
	if c.FirebaseCredentialsFile != "" && c.FirebaseDefaultCredentials {
		p.add("REPRISE_FIREBASE_CREDENTIALS_FILE", "it and REPRISE_FIREBASE_DEFAULT_CREDENTIALS are both set; set one")
	}
	if c.FirebaseCredentialsFile != "" {
		c.checkCredentialsFile(p)
	}
}

func (c *Config) checkCredentialsFile(p *Problems) {
	if strings.Contains(c.FirebaseCredentialsFile, "{") { // not to be quoted
		p.add("REPRISE_FIREBASE_CREDENTIALS_FILE", "it is the name of a file, and never the key itself: whatever reads the environment would have it")
		return
	}
	if _, err := os.Stat(c.FirebaseCredentialsFile); err != nil {
		p.add("REPRISE_FIREBASE_CREDENTIALS_FILE", "%v", err)
	}
}

// checkEmulator keeps the emulator's tokens, which anybody can make, away from
// everything that is not a developer's machine.
func (c *Config) checkEmulator(p *Problems) {
	if c.FirebaseEmulator == "" {
		return
	}
	const setting = "REPRISE_FIREBASE_EMULATOR"
	checkAddr(p, setting, c.FirebaseEmulator)
	if !isLoopback(c.Addr) {
		p.add(setting, "it, or FIREBASE_AUTH_EMULATOR_HOST, is set, so that anybody could be anybody, and REPRISE_ADDR (%s) can be reached from other machines: unset it, or use a loopback address such as 127.0.0.1:8080", c.Addr)
	}
	if c.Auth == "firebase" && !strings.HasPrefix(c.FirebaseProject, "demo-") {
		p.add(setting, "it, or FIREBASE_AUTH_EMULATOR_HOST, is set, so that anybody could be anybody, and REPRISE_FIREBASE_PROJECT (%s) may be a real one: unset it, or use a project whose id begins with demo-", c.FirebaseProject)
	}
	if c.FirebaseCredentialsFile != "" || c.FirebaseDefaultCredentials {
		p.add(setting, "it, or FIREBASE_AUTH_EMULATOR_HOST, is set together with a service account, which the emulator needs none of; unset one")
	}
}

func (d *DevKeys) check(p *Problems, needed bool) {
	secretFromFile(p, "REPRISE_DEV_KEY", &d.DevKey, &d.DevKeyFile)
	if d.DevKey == "" {
		if needed {
			p.require("REPRISE_DEV_KEY", "needed with REPRISE_AUTH=dev: 64 hex digits, as \"openssl rand -hex 32\" makes them, or REPRISE_DEV_KEY_FILE")
		}
		return
	}
	if d.DevKeyBytes() == nil {
		p.add("REPRISE_DEV_KEY", "not 64 hex digits, as \"openssl rand -hex 32\" makes them")
	}
}

// DevKeyBytes returns the 32 bytes of the key, nil if there is no valid one.
func (d DevKeys) DevKeyBytes() []byte {
	key, err := hex.DecodeString(string(d.DevKey))
	if err != nil || len(key) != 32 {
		return nil
	}
	return key
}
