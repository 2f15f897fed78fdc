package config_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"reprise/config"
)

// load parses flags as a command does, and checks the result.
func load(t *testing.T, environ []string, args ...string) (config.Config, error) {
	t.Helper()
	var cli struct {
		Config config.File   `name:"config"`
		Server config.Config `embed:""`
	}
	sources := config.NewSources(environ)
	parser, err := kong.New(&cli, sources.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		return config.Config{}, err
	}
	return cli.Server, sources.Check(cli.Server.Check)
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var hexKey = strings.Repeat("0a", 32)

// needed are the settings that have no default.
func needed(more ...string) []string {
	return append([]string{
		"REPRISE_DATABASE_URL=postgres://u:hunter2@db/reprise",
		"REPRISE_STORAGE_URL=file:///var/lib/reprise",
		"REPRISE_DEV_KEY=" + hexKey,
	}, more...)
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	got, err := load(t, needed())
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		Server: config.Server{
			Addr: "127.0.0.1:8080", AdminAddr: "127.0.0.1:9090", PublicURL: "http://127.0.0.1:8080", ShutdownTimeout: 30 * time.Second,
		},
		Database: config.Database{DatabaseURL: "postgres://u:hunter2@db/reprise"},
		Storage: config.Storage{
			StorageURL: "file:///var/lib/reprise", UploadMemory: 256 << 20, InlineBytes: 1 << 20, InlineRate: 64 << 20, Reads: "direct",
		},
		Identity: config.Identity{Auth: "dev", Firebase: config.Firebase{FirebaseStale: time.Hour}, DevKeys: config.DevKeys{DevKey: config.Secret(hexKey)}},
		Limits: config.Limits{
			MaxUploadBytes: 4 << 30, MaxDuration: 6 * time.Hour, MinDuration: 100 * time.Millisecond,
			UploadExpiry: 7 * 24 * time.Hour, DeletedRetention: 30 * 24 * time.Hour,
		},
		Quotas: config.Quotas{
			MaxConnections: 10_000, AddressConnections: 500, AddressRate: 500, AddressBurst: 5000,
			UserRate: 100, UserBurst: 1000, UserUploadsAtOnce: 50, UserOpenUploads: 1000,
			UserBytesPerDay: 20 << 30, UserStoredBytes: 200 << 30, UserDecodedPerDay: 48 * time.Hour,
			UserTranscribedPerDay: 24 * time.Hour, UserTokensPerDay: 2_000_000,
			UserSockets: 20, MaxSockets: 5000,
		},
		Processing: config.Processing{Workers: runtime.GOMAXPROCS(0), Sandbox: "best-effort"},
		Insights:   config.Insights{AITranscription: "local", AIAnalysis: "local", AIPieces: max(1, runtime.GOMAXPROCS(0)/2)},
		Graph:      config.Graph{Neo4j: config.Neo4j{Neo4jUser: "neo4j"}, GraphTimeout: 3 * time.Second},
		Log:        config.Log{LogLevel: "info", LogFormat: "json"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults differ (-want +got):\n%s", diff)
	}
	if got.StorageFolder() != "/var/lib/reprise" || len(got.DevKeyBytes()) != 32 || got.Level() != slog.LevelInfo {
		t.Errorf("folder %q, key %x, level %v", got.StorageFolder(), got.DevKeyBytes(), got.Level())
	}
	again := got
	if err := again.Check(); err != nil || !cmp.Equal(again, got) {
		t.Errorf("a second Check: %v, %v", err, cmp.Diff(got, again))
	}
}

func TestOrderOfSources(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "# a comment\n\nREPRISE_MAX_DURATION=1h\nREPRISE_MIN_DURATION=1s\nREPRISE_WORKERS=3\r\nREPRISE_LOG_LEVEL=\nPOSTGRES_PASSWORD=\"x\"\n")
	got, err := load(t, needed("REPRISE_MAX_DURATION=2h", "REPRISE_MIN_DURATION=2s", "REPRISE_WORKERS="),
		"--config", file, "--max-duration=3h")
	if err != nil {
		t.Fatal(err)
	}
	if got.MaxDuration != 3*time.Hour || got.MinDuration != 2*time.Second || got.Workers != 3 || got.LogLevel != "info" {
		t.Errorf("max %v (want the flag's 3h), min %v (want the environment's 2s), workers %d (want the file's 3), level %q (want the default)",
			got.MaxDuration, got.MinDuration, got.Workers, got.LogLevel)
	}
}

func TestAFlagHidesABrokenVariable(t *testing.T) {
	t.Parallel()
	if _, err := load(t, needed("REPRISE_MAX_DURATION=soon"), "--max-duration=3h"); err != nil {
		t.Error(err)
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	_, err := load(t, []string{
		"REPRISE_ADDR=8080",
		"REPRISE_ADMIN_ADDR=localhost:http",
		"REPRISE_PUBLIC_URL=https://example.com/audio",
		"REPRISE_ALLOWED_ORIGINS=https://a.example.com, *,https://b.example.com/",
		"REPRISE_SHUTDOWN_TIMEOUT=0s",
		"REPRISE_DATABASE_URL=mysql://u:hunter2@db/reprise",
		"REPRISE_STORAGE_URL=s3:///bucket",
		"REPRISE_UPLOAD_MEMORY=31MiB",
		"REPRISE_INLINE_BYTES=9MiB",
		"REPRISE_INLINE_RATE=0",
		"REPRISE_READS=fast",
		"REPRISE_WORK_DIR=work",
		"REPRISE_AUTH=firebase",
		"REPRISE_FIREBASE_PROJECT=Hunter",
		"REPRISE_FIREBASE_STALE=-1h",
		"REPRISE_DEV_KEY=hunter2",
		"REPRISE_DEV_TOKENS_ANYWHERE=perhaps",
		"REPRISE_MAX_UPLOAD_BYTES=4GB",
		"REPRISE_MAX_DURATION=6",
		"REPRISE_MIN_DURATION=-1s",
		"REPRISE_UPLOAD_EXPIRY=0h",
		"REPRISE_DELETED_RETENTION=-1h",
		"REPRISE_WORKERS=many",
		"REPRISE_LOG_LEVEL=loud",
		"REPRISE_LOG_FORMAT=xml",
	})
	want := `the configuration has 25 problems:
  REPRISE_DEV_TOKENS_ANYWHERE: "perhaps" is not true or false
  REPRISE_MAX_UPLOAD_BYTES: "4GB" is not a size: use bytes, or a whole number with KiB, MiB, GiB or TiB
  REPRISE_MAX_DURATION: "6" is not a duration: use a number and a unit, such as 500ms, 90s, 15m or 6h
  REPRISE_WORKERS: "many" is not a whole number
  REPRISE_ADDR: "8080" is not HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080
  REPRISE_ADMIN_ADDR: "localhost:http" is not HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080
  REPRISE_PUBLIC_URL: "https://example.com/audio" is not http:// or https:// with a host and nothing more
  REPRISE_ALLOWED_ORIGINS: " *" is not an origin as a browser sends it: https:// and a host in lower case, and nothing more
  REPRISE_ALLOWED_ORIGINS: "https://b.example.com/" is not an origin as a browser sends it: https:// and a host in lower case, and nothing more
  REPRISE_SHUTDOWN_TIMEOUT: it must be more than 0
  REPRISE_DATABASE_URL: not a postgres:// URL; are special characters of the password percent-encoded?
  REPRISE_STORAGE_URL: neither file:/// with an absolute folder, such as file:///var/lib/reprise, nor s3:// with a bucket, such as s3://recordings/reprise?region=eu-central-1
  REPRISE_UPLOAD_MEMORY: it must be at least 32MiB: a few parts of uploads
  REPRISE_INLINE_BYTES: it must be at most 8MiB
  REPRISE_INLINE_RATE: it must be more than 0; REPRISE_INLINE_BYTES=0 keeps nothing in the database
  REPRISE_READS: "fast" is not direct or server
  REPRISE_WORK_DIR: "work" is not an absolute folder, such as /var/lib/reprise/work
  REPRISE_FIREBASE_PROJECT: "Hunter" is not the id of a project: 6 to 30 lower-case letters, digits and hyphens
  REPRISE_FIREBASE_STALE: it must not be negative
  REPRISE_DEV_KEY: not 64 hex digits, as "openssl rand -hex 32" makes them
  REPRISE_MIN_DURATION: it must be more than 0
  REPRISE_UPLOAD_EXPIRY: it must be more than 0
  REPRISE_DELETED_RETENTION: it must not be negative
  REPRISE_LOG_LEVEL: "loud" is not debug, info, warn or error
  REPRISE_LOG_FORMAT: "xml" is not json or text`
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("error differs (-want +got):\n%s", diff)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	empty := writeFile(t, "\n")
	tests := map[string]struct {
		environ []string
		want    string // "" means none
	}{
		"the secrets that are needed": {[]string{"REPRISE_STORAGE_URL=file:///x", "REPRISE_DEV_KEY_FILE=" + empty}, "2 problems"},
		"one address for both":        {needed("REPRISE_ADMIN_ADDR=127.0.0.1:8080"), "REPRISE_ADMIN_ADDR: it is REPRISE_ADDR's"},
		"free ports for both":         {needed("REPRISE_ADDR=127.0.0.1:0", "REPRISE_ADMIN_ADDR=127.0.0.1:0"), ""},
		"every address":               {needed("REPRISE_ADDR=:8080", "REPRISE_DEV_TOKENS_ANYWHERE=true"), "REPRISE_PUBLIC_URL: needed, because"},
		"every address and a URL":     {needed("REPRISE_ADDR=0.0.0.0:8080", "REPRISE_DEV_TOKENS_ANYWHERE=true", "REPRISE_PUBLIC_URL=https://a.example/"), ""},
		"dev for everybody":           {needed("REPRISE_ADDR=192.168.1.2:8080"), "REPRISE_AUTH: dev lets whoever"},
		"dev for a name":              {needed("REPRISE_ADDR=laptop:8080"), "REPRISE_AUTH: dev lets whoever"},
		"dev on localhost":            {needed("REPRISE_ADDR=localhost:8080"), ""},
		"dev on ::1":                  {needed("REPRISE_ADDR=[::1]:8080"), ""},
		"dev on mapped loopback":      {needed("REPRISE_ADDR=[::ffff:127.0.0.1]:8080"), ""},
		"another provider":            {needed("REPRISE_AUTH=ldap"), `REPRISE_AUTH: "ldap" is not`},
		"port too high":               {needed("REPRISE_ADDR=127.0.0.1:70000"), "REPRISE_ADDR: "},
		"relative storage":            {needed("REPRISE_STORAGE_URL=file://folder"), "REPRISE_STORAGE_URL: neither file:///"},
		"storage at the root":         {needed("REPRISE_STORAGE_URL=file:///"), "REPRISE_STORAGE_URL: neither file:///"},
		"S3":                          {needed("REPRISE_STORAGE_URL=s3://bucket/prefix?endpoint=http://127.0.0.1:9000&path-style=true"), ""},
		"S3 with credentials":         {needed("REPRISE_STORAGE_URL=s3://key:hunter2@bucket"), "REPRISE_STORAGE_URL: credentials don't belong"},
		"S3 with a broken password":   {needed("REPRISE_STORAGE_URL=s3://key:hunter2/%zz@bucket"), "REPRISE_STORAGE_URL: neither"},
		"nothing in the database":     {needed("REPRISE_INLINE_BYTES=0"), ""},
		"max below min":               {needed("REPRISE_MAX_DURATION=50ms"), "REPRISE_MAX_DURATION: 50ms is not more than"},
		"size zero":                   {needed("REPRISE_MAX_UPLOAD_BYTES=0"), "REPRISE_MAX_UPLOAD_BYTES: it must"},
		"too many workers":            {needed("REPRISE_WORKERS=1001"), "REPRISE_WORKERS: it must"},
		"no retention":                {needed("REPRISE_DELETED_RETENTION=0"), ""},
		"password with a slash":       {needed("REPRISE_DATABASE_URL=postgres://u:hunter2/%zz@db/x"), "percent-encoded?"},
		"both URL and file":           {needed("REPRISE_DATABASE_URL_FILE=/x"), "REPRISE_DATABASE_URL: it and REPRISE_DATABASE_URL_FILE are both set"},
		"another program's variable":  {needed("REPRISE_PORT_8080_TCP=tcp://10.0.0.1"), ""}, // Kubernetes sets such for a service called reprise
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

func TestSecretsFromFiles(t *testing.T) {
	t.Parallel()
	got, err := load(t, []string{
		"REPRISE_STORAGE_URL=file:///x",
		"REPRISE_DATABASE_URL_FILE=" + writeFile(t, "postgres://u:p@db/x\n"),
		"REPRISE_DEV_KEY_FILE=" + writeFile(t, hexKey+"\r\n"),
	})
	if err != nil || got.DatabaseURL != "postgres://u:p@db/x" || string(got.DevKey) != hexKey {
		t.Errorf("URL %q, key %q, %v", string(got.DatabaseURL), string(got.DevKey), err)
	}
	if err := got.Check(); err != nil {
		t.Errorf("a second Check: %v", err)
	}
	_, err = load(t, needed("REPRISE_DATABASE_URL=", "REPRISE_DATABASE_URL_FILE=/does/not/exist"))
	if want := "REPRISE_DATABASE_URL_FILE: open /does/not/exist: no such file or directory"; fmt.Sprint(err) != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	tests := map[string]string{ // a line to what is wrong with it
		"REPRISE_MAX_DURATON=1h":                   ":2: there is no setting REPRISE_MAX_DURATON; did you mean REPRISE_MAX_DURATION?",
		"REPRISE_COLOUR=blue":                      ":2: there is no setting REPRISE_COLOUR",
		"REPRISE_WORKERS=2\nREPRISE_WORKERS=3":     ":3: REPRISE_WORKERS is set a second time",
		"REPRISE_WORKERS = 2":                      ":2: not KEY=VALUE",
		"hunter2":                                  ":2: not KEY=VALUE",
		`REPRISE_LOG_LEVEL="info"`:                 `:2: REPRISE_LOG_LEVEL: " is read differently`,
		"REPRISE_DATABASE_URL=postgres://$hunter2": ":2: REPRISE_DATABASE_URL: $ is read differently",
		"REPRISE_WORKERS=2 # two":                  ":2: REPRISE_WORKERS: a # after a space is read differently",
		"REPRISE_WORKERS= 2":                       ":2: REPRISE_WORKERS: a space after = is read differently",
		"REPRISE_MAX_DURATION=soon":                "REPRISE_MAX_DURATION: \"soon\" is not a duration",
	}
	for line, want := range tests {
		t.Run("", func(t *testing.T) { // a name would get into the file's path
			t.Parallel()
			_, err := load(t, needed(), "--config", writeFile(t, "# first\n"+line+"\n"))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error is %v, want %q", line, err, want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
	if _, err := load(t, needed(), "--config", "/does/not/exist"); err == nil || !strings.Contains(err.Error(), "--config: open /does/not/exist") {
		t.Errorf("error is %v", err)
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	c, err := load(t, needed())
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "config", c, "url", c.DatabaseURL, "database", c.Database)
	for name, text := range map[string]string{
		"%v": fmt.Sprintf("%v", c), "%+v": fmt.Sprintf("%+v", c), "%#v": fmt.Sprintf("%#v", c),
		"pointer": fmt.Sprintf("%+v", &c), "log": log.String(), "%q": fmt.Sprintf("%q", c.DatabaseURL),
	} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, hexKey) {
			t.Errorf("%s tells a secret: %s", name, text)
		}
	}
	if !strings.Contains(c.String(), "REPRISE_DATABASE_URL=(secret)\n") || !strings.Contains(c.String(), "REPRISE_MAX_UPLOAD_BYTES=4GiB\n") {
		t.Errorf("String is\n%s", c)
	}
}

func TestBytes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.Bytes{
		"0": 0, "1": 1, "1023": 1023, "1KiB": 1024, "5 MiB": 5 << 20, "4GiB": 4 << 30, "8191TiB": 8191 << 40,
	} {
		var got config.Bytes
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s is read as %d (%v), want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "1.5GiB", "1GB", "1kib", "GiB", "9223372036854775808", "8388608TiB", "+1", "0x10"} {
		var got config.Bytes
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %d, want an error", text, got)
		}
	}
	for _, b := range []config.Bytes{0, 1, 1000, 1024, 1 << 20, 3 << 30, 1<<40 + 1} {
		var got config.Bytes
		if err := got.UnmarshalText([]byte(b.String())); err != nil || got != b {
			t.Errorf("%d is written as %s and read as %d (%v)", b, b, got, err)
		}
	}
}
